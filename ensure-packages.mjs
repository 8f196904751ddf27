// Installs the packages when the lockfile is newer than what is installed. Plain JavaScript: any Node from 20 on runs
// it. Everything npm says goes to stderr, so that scripts can print JSON on stdout.
import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const major = Number(process.versions.node.split(".")[0]);
if (major < 20) {
  process.stderr.write(`Node ${process.versions.node} is too old: install Node 20 or newer.\n`);
  process.exit(1);
}
// npm would empty what a link leads to, and that may be the packages of another checkout.
if (lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
  process.stderr.write("node_modules is a symbolic link: remove it, and the packages are installed here.\n");
  process.exit(1);
}
const installed = join(root, "node_modules", ".package-lock.json");
const lock = join(root, "package-lock.json");
if (!existsSync(installed) || statSync(lock).mtimeMs > statSync(installed).mtimeMs) {
  process.stderr.write("Installing packages (npm ci) ...\n");
  try {
    execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: root,
      stdio: ["ignore", process.stderr, process.stderr],
      timeout: 600_000,
    });
  } catch {
    process.stderr.write(
      "npm ci failed: see above; the packages come from the npm registry, which must be reachable.\n",
    );
    process.exit(1);
  }
}

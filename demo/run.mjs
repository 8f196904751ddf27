// The demo's entry, in plain JavaScript because any Node from 20 on must be able to read it: it sees to the packages and
// the coordinator's bundle, and hands over to the packaged Node, which runs TypeScript as it stands.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const BUILD_TIMEOUT_MS = 120_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(root, "node_modules", "node", "bin", "node");

function refuse(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

if (process.platform !== "linux") {
  refuse(`The demo runs on Linux; this is ${process.platform}: use a Linux machine, a container or WSL 2.`);
}
await import("../ensure-packages.mjs");
if (!existsSync(node)) {
  refuse(`${node} is missing: remove node_modules and run npm ci again, with install scripts allowed.`);
}
const build = spawnSync(node, [join(root, "worker", "build.mjs")], {
  cwd: root,
  stdio: ["ignore", 2, 2],
  timeout: BUILD_TIMEOUT_MS,
});
if (build.status !== 0) refuse("The coordinator could not be built: see above.");

const demo = spawn(node, [join(root, "demo", "main.ts"), ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends Ctrl-C to the whole group: the demo clears up and ends, and only then do we.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => demo.kill(signal));
demo.on("error", (error) => refuse(`${node} could not be started: ${error.message}`));
demo.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));

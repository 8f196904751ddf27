/** What the demo's agents run as `clone_command`: `clone.mjs`, by this very Node, where the servers' account can read both. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Account } from "./postgres.ts";
import { isTraversable } from "./binaries.ts";

const SCRIPT = fileURLToPath(new URL("clone.mjs", import.meta.url));
/** The one package that the script imports. */
const PACKAGE = "pg";
const COPY_TIMEOUT_MS = 30_000;
const run = promisify(execFile);

/** The command, as a shell reads it. Copies what it needs into the workshop when another account could not come near it. */
export async function prepareCloneCommand(workshop: string, account: Account): Promise<string> {
  const isWithinReach = [SCRIPT, process.execPath].every((path) => isTraversable(dirname(path)));
  if (account === null || isWithinReach) return commandOf(process.execPath, SCRIPT);
  const directory = join(workshop, "clone");
  mkdirSync(join(directory, "node_modules"), { recursive: true, mode: 0o755 });
  const packages = packagesOf(PACKAGE, dirname(SCRIPT), new Map());
  for (const [name, source] of packages) await copy(source, join(directory, "node_modules", name));
  await copy(SCRIPT, join(directory, "clone.mjs"));
  await copy(process.execPath, join(directory, "node"));
  await run("chmod", ["-R", "a+rX", directory], { timeout: COPY_TIMEOUT_MS });
  return commandOf(join(directory, "node"), join(directory, "clone.mjs"));
}

function commandOf(node: string, script: string): string {
  return `${quoted(node)} ${quoted(script)}`;
}

function quoted(path: string): string {
  return `'${path.replaceAll("'", String.raw`'\''`)}'`;
}

async function copy(from: string, to: string): Promise<void> {
  await run("cp", ["-RL", "--reflink=auto", from, to], { timeout: COPY_TIMEOUT_MS });
}

/** A package with all that it depends upon, each with its directory. */
function packagesOf(name: string, from: string, found: Map<string, string>): Map<string, string> {
  if (found.has(name)) return found;
  const directory = packageDirectory(name, from);
  found.set(name, directory);
  const { dependencies = {} } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  for (const dependency of Object.keys(dependencies)) packagesOf(dependency, directory, found);
  return found;
}

/** Where an import from `from` finds a package. */
function packageDirectory(name: string, from: string): string {
  const candidate = join(from, "node_modules", name);
  if (existsSync(candidate)) return candidate;
  const parent = dirname(from);
  if (parent === from) throw new Error(`the package ${name} is not installed: run npm ci`);
  return packageDirectory(name, parent);
}

#!/usr/bin/env node
/**
 * The entry of `rex`, in plain JavaScript because any Node back to 20 must be able to read it: it finds a Node that can
 * run the console, or says what to install.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { constants, homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const here = dirname(fileURLToPath(import.meta.url));
const runningMajor = Number(process.versions.node.split(".")[0]);

if (runningMajor >= NEEDED_MAJOR) {
  // Most of a short command's time goes into compiling. The cache holds code, so it lies where only its user can write.
  module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "rex"));
  // Node strips types only outside node_modules, so the published console is a bundle.
  const bundle = join(here, "main.js");
  const { main } = await import(existsSync(bundle) ? bundle : join(here, "main.ts"));
  process.exitCode = await main(process.argv.slice(2));
} else {
  const newer = findNode(here);
  if (newer) runWith(newer);
  else {
    process.stderr.write(
      `rex needs Node ${NEEDED_MAJOR} or newer; this is Node ${process.versions.node}.\n` +
        `Install the dependencies beside it (npm install), or put a newer node first on the PATH.\n`,
    );
    process.exitCode = 1;
  }
}

/** The binary of the npm package `node`, in the nearest node_modules upwards; null where there is none. */
function findNode(folder) {
  const candidate = join(folder, "node_modules", "node", "bin", "node");
  if (existsSync(candidate)) return candidate;
  const parent = dirname(folder);
  return parent === folder ? null : findNode(parent);
}

/** Runs this file again with `binary`: signals go to the child, its exit status becomes ours. */
function runWith(binary) {
  const child = spawn(binary, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    process.stderr.write(
      `rex could not start ${binary}: ${error.message}\nReinstall the dependencies (npm install).\n`,
    );
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exit(code ?? 128 + (signal ? constants.signals[signal] : 0));
  });
}

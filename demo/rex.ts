/** The real console as a process, run to its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const REX = join(dirname(dirname(fileURLToPath(import.meta.url))), "cli", "rex.mjs");

const TIMEOUT_MS = 30_000;

export interface Ended {
  /** Null when it was killed. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Added to this process's own. */
  environment?: Record<string, string>;
  /** What it reads; without it, its input is empty. */
  stdin?: string;
  timeoutMs?: number;
}

/** Runs `rex` with these words. */
export function runRex(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return runToEnd(process.execPath, [REX, ...words], options);
}

/** Runs a program to its end; one that takes too long is killed, and has no status then. */
export async function runToEnd(
  program: string,
  words: readonly string[],
  { environment = {}, stdin = "", timeoutMs = TIMEOUT_MS }: RunOptions = {},
): Promise<Ended> {
  const child = spawn(program, words, {
    env: { ...process.env, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const told = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].setEncoding("utf8").on("data", (text: string) => (told[stream] += text));
  // A program that ends without reading all of its input is no failure of ours.
  child.stdin.on("error", () => {});
  child.stdin.end(stdin);
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...told };
}

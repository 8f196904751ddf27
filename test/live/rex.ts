/** The real console as a process, run to its end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { REX } from "../../demo/coordinator.ts";

const TIMEOUT_MS = 30_000;

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `rex` with these words. */
export function runRex(words: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  return runToEnd(process.execPath, [REX, ...words], environment);
}

/** Runs a program to its end; one that takes too long is killed, and has no status then. */
export async function runToEnd(
  program: string,
  words: readonly string[],
  environment: Record<string, string> = {},
): Promise<Ended> {
  const child = spawn(program, words, {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  const told = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].setEncoding("utf8").on("data", (text: string) => (told[stream] += text));
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...told };
}

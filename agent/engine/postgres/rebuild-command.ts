/** Runs a program of the server's, or a command of the operator's, to its end or to a deadline. */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { stepBack } from "../../priority.ts";
import type { Deadline } from "./deadline.ts";
import type { PostgresOptions } from "./options.ts";

export interface Program {
  path: string;
  args: readonly string[];
  /** Who runs it; null for the agent's own account. */
  account: PostgresOptions["runAs"];
  workingDirectory: string;
  /** Besides the few variables that every program gets. */
  environment?: Record<string, string>;
  /** An open file that its stdout goes to; without one it is captured. */
  stdout?: number;
  deadline: Deadline;
}

export interface ProgramEnd {
  /** Whether it ended by itself with status 0. */
  ok: boolean;
  /** In words: `exit status 1`, `SIGKILL`, `not ended in time`, `could not be started (ENOENT)`. */
  how: string;
  /** The end of what it said on stdout and stderr. */
  output: string;
}

const KEPT_OUTPUT_CHARS = 65_536;
const TOLD_LINES = 5;
const OUTPUT_GRACE_MS = 1_000;
/** Of the agent's environment a program gets only this; messages in English, because some of them are looked for. */
const INHERITED_VARIABLES = ["PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH"];

/** Never rejects. Whatever is left of the program's process group when it ends, or at the deadline, is killed. */
export function runProgram(program: Program): Promise<ProgramEnd> {
  let output = "";
  let child: ChildProcess;
  try {
    child = start(program);
  } catch (error) {
    return Promise.resolve({ ok: false, how: howNotStarted(error), output });
  }
  const take = (text: string) => {
    output = (output + text).slice(-KEPT_OUTPUT_CHARS);
  };
  child.stdout?.setEncoding("utf8").on("data", take);
  child.stderr?.setEncoding("utf8").on("data", take);
  return new Promise((resolve) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      killGroup(child);
    }, program.deadline.remainingMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      resolve({ ok: false, how: howNotStarted(error), output });
    });
    // The program's own end counts. What it has left behind is ended, or no longer listened to where it got away.
    child.once("exit", () => {
      killGroup(child);
      setTimeout(() => [child.stdout, child.stderr].forEach((stream) => stream?.destroy()), OUTPUT_GRACE_MS).unref();
    });
    child.once("close", (status, signal) => {
      clearTimeout(timer);
      const how = isLate ? "not ended in time" : (signal ?? `exit status ${status}`);
      resolve({ ok: status === 0 && !isLate, how, output });
    });
  });
}

/** How a program ended and its last words, on one line. */
export function lastWords({ how, output }: ProgramEnd): string {
  const lines = output.split(/[\r\n]+/).flatMap((line) => (line.trim() === "" ? [] : [line.trim()]));
  return [how, ...lines.slice(-TOLD_LINES)].join(" | ");
}

function start({ path, args, account, workingDirectory, environment, stdout }: Program): ChildProcess {
  const inherited = INHERITED_VARIABLES.flatMap((name) =>
    process.env[name] === undefined ? [] : [[name, process.env[name]] as const],
  );
  const stdio: StdioOptions = ["ignore", stdout ?? "pipe", "pipe"];
  const child = spawn(path, args, {
    cwd: workingDirectory,
    env: { ...Object.fromEntries(inherited), LC_ALL: "C", ...environment },
    // A process group of its own, which can be ended as a whole.
    detached: true,
    stdio,
    ...account,
  });
  stepBack(child.pid);
  return child;
}

function howNotStarted(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return `could not be started (${code ?? message})`;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

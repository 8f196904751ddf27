/** A child process with an owner: it writes to a log file, and it can be ended for certain. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

export interface ChildOptions {
  /** Named in errors. */
  name: string;
  command: string;
  args: string[];
  /** Where it works: whatever it leaves behind is recognised by this. */
  cwd: string;
  env?: NodeJS.ProcessEnv;
  /** Its stdout and stderr are appended here. */
  logFile: string;
}

const LOG_TAIL_LINES = 8;

export class OwnedChild {
  readonly name: string;
  readonly pid: number;
  /** Settles when the process has ended, with how: an exit status or a signal. */
  readonly ended: Promise<string>;
  readonly #process: ChildProcess;
  readonly #logFile: string;

  private constructor(options: ChildOptions, child: ChildProcess, pid: number) {
    this.name = options.name;
    this.pid = pid;
    this.#process = child;
    this.#logFile = options.logFile;
    this.ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => resolve(signal ?? `exit status ${code}`));
    });
  }

  /** Starts it in a process group of its own: a Ctrl-C at the terminal is ours to hand on. Throws when it cannot start. */
  static async start(options: ChildOptions): Promise<OwnedChild> {
    const log = openSync(options.logFile, "a", 0o600);
    try {
      const child = spawn(options.command, options.args, {
        cwd: options.cwd,
        // Temporary files of a child that is killed must not outlive the directory it works in.
        env: { ...(options.env ?? process.env), TMPDIR: options.cwd },
        detached: true,
        stdio: ["ignore", log, log],
      });
      await new Promise<void>((resolve, reject) => {
        child.once("spawn", resolve);
        child.once("error", (error) => reject(new Error(`${options.name} could not be started: ${error.message}`)));
      });
      if (child.pid === undefined) throw new Error(`${options.name} could not be started`);
      return new OwnedChild(options, child, child.pid);
    } finally {
      closeSync(log);
    }
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** SIGKILL, now, to the process alone; its end is told by `ended`. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }

  /** Asks it to end; after `graceMs` its whole group is killed. */
  async end(graceMs: number): Promise<void> {
    if (!this.isRunning) return;
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.killGroup(), graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** SIGKILL to it and to every process of its group. */
  killGroup(): void {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  /** The end of its log, for the error that says why it is not there any more. */
  logTail(): string {
    return readFileSync(this.#logFile, "utf8").trimEnd().split("\n").slice(-LOG_TAIL_LINES).join("\n");
  }
}

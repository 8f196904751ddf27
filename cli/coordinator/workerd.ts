/** workerd as a child process that holds the data folder's lock for as long as it lives. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setPriority } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { CannotStart } from "./cannot-start.ts";

/** What flock answers when another process holds the lock. */
const LOCK_HELD = 75;
const STOP_MS = 5_000;

/** The real binary: the package's own launcher would put a process between the lock and its holder. */
export function workerdBinary(): string {
  const cpu = process.arch === "x64" ? "64" : process.arch;
  const name = `@cloudflare/workerd-${process.platform}-${cpu}/bin/workerd`;
  try {
    const fromWorkerd = createRequire(createRequire(import.meta.url).resolve("workerd/package.json"));
    return fromWorkerd.resolve(name);
  } catch {
    throw new CannotStart(`the package of ${name} is not installed: run npm ci on this machine`);
  }
}

/** Whether some process holds the lock; asking changes nothing. */
export function isLocked(lock: string): boolean {
  const { status, error } = spawnSync(
    "flock",
    ["--nonblock", "--conflict-exit-code", String(LOCK_HELD), lock, "true"],
    {
      timeout: 5_000,
    },
  );
  if (error) throw new CannotStart(`flock cannot be run (${error.message}): install util-linux`);
  return status === LOCK_HELD;
}

/** Where the agents put themselves, too. */
const AHEAD = -10;

export interface Serving {
  child: ChildProcess;
  /** The port that workerd listens on. */
  port: number;
}

/**
 * Starts workerd under the lock and waits until it listens. `--no-fork` makes flock become workerd, which so inherits
 * the lock: it is free again only when workerd itself is gone, whatever happens to us. Throws `CannotStart`.
 */
export async function serve(
  config: string,
  lock: string,
  options: { secrets: NodeJS.ProcessEnv; deadlineMs: number },
): Promise<Serving> {
  const args = ["--no-fork", "--nonblock", "--conflict-exit-code", String(LOCK_HELD), lock];
  const child = spawn("flock", [...args, workerdBinary(), "serve", "--control-fd=3", config], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { ...process.env, ...options.secrets },
  });
  goAhead(child);
  const deadline = AbortSignal.timeout(options.deadlineMs);
  try {
    return { child, port: await listeningPort(child, deadline) };
  } catch (error) {
    await stop(child);
    if (error instanceof CannotStart) throw error;
    throw new CannotStart(`workerd did not listen within ${options.deadlineMs} ms: its own words are above`);
  }
}

/**
 * Puts the coordinator before the other processes of its host, as far as the account may: every member waits for it.
 * Where the kernel shares the processor out by session, it is the session's place that counts.
 */
function goAhead({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, AHEAD);
    writeFileSync(`/proc/${pid}/autogroup`, String(AHEAD));
  } catch {
    // It may not, or this kernel shares otherwise: the ordinary place does, too.
  }
}

/** Ends workerd, softly and then for certain. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  await ended;
  clearTimeout(force);
}

async function listeningPort(child: ChildProcess, deadline: AbortSignal): Promise<number> {
  const control = createInterface({ input: child.stdio[3] as Readable });
  const gone = once(child, "exit", { signal: deadline }).then(([code]) => {
    throw new CannotStart(
      code === LOCK_HELD
        ? "another coordinator took the lock just now"
        : `workerd ended at once (exit ${code}): its own words are above`,
    );
  });
  const listening = once(control, "line", { signal: deadline }).then(
    ([line]) => (JSON.parse(String(line)) as { port: number }).port,
  );
  // The loser of the race would otherwise be an unhandled rejection later.
  gone.catch(() => {});
  listening.catch(() => {});
  try {
    return await Promise.race([listening, gone]);
  } finally {
    control.close();
  }
}

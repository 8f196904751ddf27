/** Sees to the end of a server's former life, and leaves its next one alone. */
import { setTimeout as pause } from "node:timers/promises";
import type { EngineOutcome } from "../engine.ts";
import type { Deadline } from "./deadline.ts";
import { hasStandbySignal } from "./durable-file.ts";
import {
  CannotSeeProcesses,
  hasTitle,
  livingPostmaster,
  parentOf,
  serverProcesses,
  signal,
  type LockFile,
} from "./processes.ts";

const LOOK_EVERY_MS = 5;

export interface SettleContext {
  dataDirectory: string;
  deadline: Deadline;
  /** Asks the server over a connection of its own: one from its former life might be answered by an orphan. */
  isInRecovery: () => Promise<boolean>;
}

/** Who is left of a server: every process is in one of the three places. */
export interface Remains {
  /** The postmaster that its own lock file names, and whoever descends from it. */
  postmaster: LockFile | null;
  /** Made by a postmaster that is dead. */
  orphans: number[];
  /** Neither: a postmaster about to write its lock file, or one without. */
  strangers: number[];
}

/**
 * ok when two looks in a row find nobody, or nobody but the tree of a postmaster that was found to be in recovery between
 * them. Fails with `writable`, `not-in-time`, `cannot-see-processes`.
 */
export async function settleServer(context: SettleContext): Promise<EngineOutcome> {
  const { dataDirectory, deadline } = context;
  /** Whom the look before found alone there, harmless. */
  let found: number | "nobody" | null = null;
  do {
    const remains = remainsOf(dataDirectory);
    if (remains instanceof CannotSeeProcesses) {
      return { ok: false, code: "cannot-see-processes", detail: remains.message };
    }
    const { postmaster, orphans, strangers } = remains;
    for (const pid of orphans) signal(pid, "SIGKILL");
    if (orphans.length > 0 || strangers.length > 0) found = null;
    else if (found !== null && found === (postmaster?.pid ?? "nobody")) return { ok: true };
    else if (postmaster === null) found = "nobody";
    else {
      const nature = await natureOf(postmaster, context);
      if (nature === "writable") {
        return { ok: false, code: "writable", detail: `the server of postmaster ${postmaster.pid} is no standby` };
      }
      found = nature === "read-only" ? postmaster.pid : null;
    }
    await pause(LOOK_EVERY_MS);
  } while (!deadline.isOver);
  return {
    ok: false,
    code: "not-in-time",
    detail: "the server's former life has not ended, or its next one not begun",
  };
}

/** Whom a living postmaster has made is its own; the parent of an orphan is none of this server. */
export function remainsOf(dataDirectory: string): Remains | CannotSeeProcesses {
  try {
    const pids = new Set(serverProcesses(dataDirectory));
    const postmaster = livingPostmaster(dataDirectory);
    const others = [...pids].filter((pid) => postmaster === null || !descends(pid, { from: postmaster.pid, pids }));
    const orphans = others.filter((pid) => hasTitle(pid) && !pids.has(parentOf(pid) ?? 0));
    return { postmaster, orphans, strangers: others.filter((pid) => !orphans.includes(pid)) };
  } catch (error) {
    if (error instanceof CannotSeeProcesses) return error;
    throw error;
  }
}

function descends(pid: number, { from, pids }: { from: number; pids: Set<number> }): boolean {
  if (pid === from) return true;
  const parent = parentOf(pid);
  return parent !== null && (parent === from || pids.has(parent)) && descends(parent, { from, pids });
}

/** A start is waited for, unless it will end in a server that writes. */
async function natureOf(
  { status }: LockFile,
  { dataDirectory, isInRecovery }: SettleContext,
): Promise<"read-only" | "writable" | "unknown"> {
  if (status === "stopping") return "unknown";
  if (!hasStandbySignal(dataDirectory)) return "writable";
  if (status !== "ready") return "unknown";
  try {
    return (await isInRecovery()) ? "read-only" : "writable";
  } catch {
    return "unknown";
  }
}

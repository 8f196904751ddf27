/** Turns on the processor when it counts: a busy host's other work waits meanwhile. */
import { readFileSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

const { PRIORITY_HIGHEST, PRIORITY_NORMAL } = constants.priority;
/** Before a busy database, behind the kernel's own and the guardian's. */
const AHEAD = -10;

/**
 * Puts a process before all others, as far as the account may. Throws when it may not, or when the process has ended.
 * Where the kernel shares the processor out by session, a priority counts only within one, and a session has its own.
 */
export function hurry(pid: number): void {
  raise(pid, PRIORITY_HIGHEST);
}

/**
 * Puts this process before the database's: a lease is renewed, and a failover made, at the very times at which the host
 * is busiest. Returns whether the account may.
 */
export function goAhead(): boolean {
  try {
    raise(process.pid, AHEAD);
    return true;
  } catch {
    return false;
  }
}

/** Gives a process that this one has just started its ordinary place: what it starts inherits that. */
export function stepBack(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, PRIORITY_NORMAL);
  } catch {
    // It has ended, or never had another place.
  }
}

function raise(pid: number, priority: number): void {
  setPriority(pid, priority);
  // Somebody else's session is left as it is: it goes on when this process has ended.
  if (sessionOf(pid) === pid) raiseSession(pid, priority);
}

function sessionOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name in parentheses may itself hold spaces and parentheses.
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
}

function raiseSession(leader: number, priority: number): void {
  try {
    writeFileSync(`/proc/${leader}/autogroup`, `${priority}`);
  } catch (error) {
    // A kernel that does not share by session has no such file.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

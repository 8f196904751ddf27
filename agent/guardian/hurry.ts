/** Turns on the processor when it counts: a busy host's other work waits meanwhile. */
import { readFileSync, writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

/**
 * Puts a process before all others, as far as the account may. Throws when it may not, or when the process has ended.
 * Where the kernel shares the processor out by session, a priority counts only within one, and a session has its own.
 */
export function hurry(pid: number): void {
  setPriority(pid, constants.priority.PRIORITY_HIGHEST);
  // Somebody else's session is left as it is: it goes on when this process has ended.
  if (sessionOf(pid) === pid) raiseSession(pid);
}

function sessionOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The name in parentheses may itself hold spaces and parentheses.
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[3]);
}

function raiseSession(leader: number): void {
  try {
    writeFileSync(`/proc/${leader}/autogroup`, `${constants.priority.PRIORITY_HIGHEST}`);
  } catch (error) {
    // A kernel that does not share by session has no such file.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

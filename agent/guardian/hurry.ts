/** Turns on the processor when it counts: a busy host's other work waits meanwhile. */
import { writeFileSync } from "node:fs";
import { constants, setPriority } from "node:os";

/**
 * Puts a process before all others, as far as the account may. Throws when it may not, or when the process has ended.
 * Where the kernel shares the processor out by session, a priority counts only within one, and a session has its own.
 */
export function hurry(pid: number): void {
  setPriority(pid, constants.priority.PRIORITY_HIGHEST);
  try {
    writeFileSync(`/proc/${pid}/autogroup`, `${constants.priority.PRIORITY_HIGHEST}`);
  } catch (error) {
    // A kernel that does not share by session has no such file.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

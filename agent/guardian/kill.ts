/** How the guardian ends a server: SIGKILL to all of it, at once. */
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import { postmasterSeen, serverProcesses, signal } from "../engine/postgres/processes.ts";
import { hurry } from "../priority.ts";

const LOOK_EVERY_MS = 2;

/**
 * Kills until two scans in a row find nothing, and returns how many processes were killed. Before each kill `mayGoOn` is
 * asked, after everything that was said up to the scan has been heard: a server that was started since its predecessor
 * was vouched for is left alone. Null when it was called off.
 */
export async function killAll(dataDirectory: string, mayGoOn: () => boolean): Promise<number | null> {
  const killed = new Set<number>();
  // One scan of the process table is no snapshot: a child may be born behind it while its parent dies before it.
  for (let emptyScans = 0; emptyScans < 2;) {
    const pids = serverProcesses(dataDirectory);
    const postmaster = postmasterSeen(dataDirectory)?.pid ?? null;
    // What is on the socket is read within a turn of the event loop; the first may have been under way.
    await turn();
    await turn();
    if (!mayGoOn()) return null;
    emptyScans = pids.length === 0 ? emptyScans + 1 : 0;
    if (pids.length === 0) continue;
    killThese(pids, postmaster);
    for (const pid of pids) killed.add(pid);
    await pause(LOOK_EVERY_MS);
  }
  return killed.size;
}

/** A postmaster that is stopped first bears no more children. */
function killThese(pids: number[], postmaster: number | null): void {
  const isKnown = postmaster !== null && pids.includes(postmaster);
  if (isKnown) signal(postmaster, "SIGSTOP");
  for (const pid of pids) if (pid !== postmaster) signal(pid, "SIGKILL");
  if (isKnown) signal(postmaster, "SIGKILL");
  for (const pid of pids) hurryAlong(pid);
}

/** What is killed must have its turn on the processor to end. */
function hurryAlong(pid: number): void {
  try {
    hurry(pid);
  } catch {
    // It has ended already, or the guardian's account may not.
  }
}

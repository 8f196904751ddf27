/**
 * The processes of a server, found by what nothing can fake away: their working directory is the data directory.
 * Parentage is no guide, because the children of a dead postmaster belong to init and may still acknowledge writes.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** One letter of `/proc/PID/stat`: Z is dead and not reaped, T is stopped. */
export type ProcessState = string;

/** The state of a process; null when there is none. */
export function processState(pid: number): ProcessState | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may itself hold spaces and parentheses.
    return stat.charAt(stat.lastIndexOf(")") + 2);
  } catch {
    return null;
  }
}

/** Whether a process runs (or is stopped, but could run again): a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = processState(pid);
  return state !== null && state !== "Z" && state !== "X";
}

/** The pids of the server of `dataDirectory`; zombies do not count, and nothing but server processes does. */
export function serverProcesses(dataDirectory: string): number[] {
  const directory = identify(dataDirectory);
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && pid !== process.pid && isServerProcess(pid, directory));
}

/** Whether `pid` is a living process of the server of `dataDirectory`. */
export function isServerOf(pid: number, dataDirectory: string): boolean {
  return isServerProcess(pid, identify(dataDirectory));
}

interface DirectoryIdentity {
  path: string;
  /** `device:inode`, which a rename or a bind mount does not change; null when the directory is gone. */
  node: string | null;
}

function identify(directory: string): DirectoryIdentity {
  try {
    const { dev, ino } = statSync(directory);
    return { path: realpathSync(directory), node: `${dev}:${ino}` };
  } catch {
    return { path: directory, node: null };
  }
}

function isServerProcess(pid: number, directory: DirectoryIdentity): boolean {
  return worksIn(pid, directory) && isAlive(pid) && runsServerProgram(pid);
}

function worksIn(pid: number, directory: DirectoryIdentity): boolean {
  const link = `/proc/${pid}/cwd`;
  try {
    if (directory.node !== null) {
      // Kernel threads have no working directory, and most processes here are none of ours: no exception for each.
      const stat = statSync(link, { throwIfNoEntry: false });
      return stat !== undefined && `${stat.dev}:${stat.ino}` === directory.node;
    }
    return readlinkSync(link) === `${directory.path} (deleted)`;
  } catch {
    return false;
  }
}

/** Somebody's shell may stand in the data directory too. What cannot be told counts as the server. */
function runsServerProgram(pid: number): boolean {
  try {
    return /^(postgres|postmaster|edb-postgres)\b/.test(basename(readlinkSync(`/proc/${pid}/exe`)));
  } catch {
    return isAlive(pid);
  }
}

/** What the server writes into `postmaster.pid`, as far as it got. */
export interface LockFile {
  pid: number;
  /** "starting", "stopping", "ready" or "standby"; empty before the server has said so. */
  status: string;
}

/** Reads `postmaster.pid`; null when there is none. It is never deleted here: the server alone may. */
export function readLockFile(dataDirectory: string): LockFile | null {
  try {
    const lines = readFileSync(join(dataDirectory, "postmaster.pid"), "utf8").split("\n");
    const pid = Math.abs(Number(lines[0]));
    return Number.isInteger(pid) && pid > 0 ? { pid, status: (lines[7] ?? "").trim() } : null;
  } catch {
    return null;
  }
}

/** The postmaster that lives in `dataDirectory`; null when none does, whatever its lock file says. */
export function livingPostmaster(dataDirectory: string): LockFile | null {
  const lock = readLockFile(dataDirectory);
  return lock && isServerOf(lock.pid, dataDirectory) ? lock : null;
}

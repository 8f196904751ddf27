/**
 * The processes of a server, found by what nothing can fake away: their working directory is the data directory.
 * Parentage is no guide, because the children of a dead postmaster belong to init and may still acknowledge writes.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** One letter of `/proc/PID/stat`: Z is dead and not reaped, T is stopped. */
export type ProcessState = string;

/** The state of a process; null when there is none. Throws when it cannot be told: that is no sign of its end. */
export function processState(pid: number): ProcessState | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may itself hold spaces and parentheses.
    return stat.charAt(stat.lastIndexOf(")") + 2);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** Whether an error of /proc says that the process does not exist; every other says only that it may not be seen. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ESRCH" || code === "ENOTDIR";
}

/** The parent of a process; null when there is no such process. Throws when it cannot be told. */
export function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/**
 * Whether a server process is one that a postmaster has made for some purpose, and that says so in its title. A postmaster
 * has no title, nor has what is about to become one, or a child that was made this moment.
 */
export function hasTitle(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith("postgres: ");
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Signals a process; one that has ended meanwhile is what was wanted. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Whether a process runs (or is stopped, but could run again): a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = processState(pid);
  return state !== null && state !== "Z" && state !== "X";
}

/**
 * The pids of the server of `dataDirectory`; zombies do not count, and nothing but server processes does. Throws
 * CannotSeeProcesses rather than leaving one out.
 */
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

const SERVER_PROGRAM = /^(postgres|postmaster|edb-postgres)\b/;

interface DirectoryIdentity {
  /** Whose it is; null when the directory is gone. */
  owner: number | null;
  path: string;
  /** `device:inode`, which a rename or a bind mount does not change; null when the directory is gone. */
  node: string | null;
}

function identify(directory: string): DirectoryIdentity {
  try {
    const { dev, ino, uid } = statSync(directory);
    return { path: realpathSync(directory), node: `${dev}:${ino}`, owner: uid };
  } catch (error) {
    if (isGone(error)) return { path: directory, node: null, owner: null };
    const { code } = error as NodeJS.ErrnoException;
    throw new CannotSeeProcesses(
      `data directory ${directory} cannot be looked at (${code}), nor whose the processes are`,
    );
  }
}

/**
 * A process of the server's account and program may not be looked at: it may be the server's. Whoever cannot see may
 * vouch for nothing. (An agent that runs as root in a container without CAP_SYS_PTRACE is in this case.)
 */
export class CannotSeeProcesses extends Error {
  /** The process that cannot be looked at; null when it is the data directory. */
  readonly pid: number | null;

  constructor(message: string, pid: number | null = null) {
    super(message);
    this.pid = pid;
  }
}

function cannotSee(pid: number): CannotSeeProcesses {
  const remedy = "run the agent as the server's account, or give it CAP_SYS_PTRACE";
  return new CannotSeeProcesses(`process ${pid} may be of this server and cannot be looked at: ${remedy}`, pid);
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
  } catch (error) {
    if (!isGone(error) && looksLikeServer(pid, directory)) throw cannotSee(pid);
    return false;
  }
}

/** By what everybody may see: the account that owns the data directory, and the name of the program. */
function looksLikeServer(pid: number, { owner }: DirectoryIdentity): boolean {
  try {
    if (owner !== null && statSync(`/proc/${pid}`).uid !== owner) return false;
    return isAlive(pid) && SERVER_PROGRAM.test(readFileSync(`/proc/${pid}/comm`, "latin1").trim());
  } catch (error) {
    return !isGone(error);
  }
}

/** Somebody's shell may stand in the data directory too. What cannot be told counts as the server. */
function runsServerProgram(pid: number): boolean {
  try {
    return SERVER_PROGRAM.test(basename(readlinkSync(`/proc/${pid}/exe`)));
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

/**
 * Reads `postmaster.pid`; null when there is none, or the server has not written itself into it yet. Throws when it cannot
 * be read: that is no sign that no server lives. It is never deleted here: the server alone may.
 */
export function readLockFile(dataDirectory: string): LockFile | null {
  try {
    const lines = readFileSync(join(dataDirectory, "postmaster.pid"), "utf8").split("\n");
    const pid = Math.abs(Number(lines[0]));
    return Number.isInteger(pid) && pid > 0 ? { pid, status: (lines[7] ?? "").trim() } : null;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** The postmaster that lives in `dataDirectory`; null when none does, whatever its lock file says. Throws when it cannot be told. */
export function livingPostmaster(dataDirectory: string): LockFile | null {
  const lock = readLockFile(dataDirectory);
  if (!lock) return null;
  try {
    return isServerOf(lock.pid, dataDirectory) ? lock : null;
  } catch (error) {
    // The server's own file names it, and it runs the server's program: it lives, though it may not be looked at.
    if (error instanceof CannotSeeProcesses && error.pid === lock.pid) return lock;
    throw error;
  }
}

/** The same, for whoever goes on without it: null also when it cannot be told. */
export function postmasterSeen(dataDirectory: string): LockFile | null {
  try {
    return livingPostmaster(dataDirectory);
  } catch {
    return null;
  }
}

/**
 * One agent, and one guardian, per state directory, and one agent per data directory. The lock is the kernel's, on something
 * that only whoever may enter the directory can open: a file in the state directory, the data directory itself (a file in
 * there would be copied to other servers). It counts in every namespace of the host, and the kernel gives it up with the
 * process that holds it, whatever ended that process: no stale lock ever needs a hand.
 *
 * Node cannot lock, but what it has open it can lend: `flock` locks the open file that it inherits, which stays locked as
 * long as it is open here. Nothing else that is started inherits it.
 */
import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";

const HELD = 75;
const PATIENCE_MS = 5_000;
/** Where a program finds the first file that it is lent. */
const LENT = 3;

const REMEDY = "make it accessible to the agent, and to nobody else";
const REMEDIES: Record<string, string> = {
  ENOENT: "name the directory that is there",
  ENOTDIR: "name the directory that is there",
  ENOSPC: "free some space on its disk",
};

/** It cannot be said whether the lock is held; the message says why, and what to do. */
export class LockError extends Error {}

/** Takes the lock of a state directory; false when another process holds it. Held until this process ends. */
export function lockState(directory: string, role: "agent" | "guardian"): boolean {
  const { O_CREAT, O_NOFOLLOW, O_RDWR } = constants;
  return lock(join(directory, `${role}.lock`), O_CREAT | O_NOFOLLOW | O_RDWR);
}

/** The same for a data directory. One that takes its place is another one. */
export function lockData(directory: string): boolean {
  return lock(directory, constants.O_DIRECTORY | constants.O_RDONLY);
}

/** What is locked stays open: nobody has the number of it, and nobody closes it. */
function lock(path: string, flags: number): boolean {
  const file = open(path, flags);
  const { status, error, stderr } = spawnSync(
    "flock",
    ["--exclusive", "--nonblock", "--conflict-exit-code", String(HELD), String(LENT)],
    { stdio: ["ignore", "ignore", "pipe", file], encoding: "utf8", timeout: PATIENCE_MS },
  );
  if (status === 0) return true;
  closeSync(file);
  if (status === HELD) return false;
  if (error) throw new LockError(`flock cannot be run (${error.message}): install util-linux`);
  throw new LockError(`${path} cannot be locked (${stderr.trim()}): move its directory to a local disk`);
}

function open(path: string, flags: number): number {
  try {
    return openSync(path, flags, 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new LockError(`${path} cannot be locked (${code}): ${REMEDIES[code ?? ""] ?? REMEDY}`);
  }
}

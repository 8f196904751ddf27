/** Files of the data directory that are there, whole, after any crash. */
import { existsSync, fchmodSync, fchownSync, fsyncSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { replaceWhole, syncDirectory } from "../../whole-file.ts";

/** Replaces `path` by `content`: temporary file, fsync, rename, fsync of the directory. Throws the system's error. */
export function writeDurably(path: string, content: string): void {
  const directory = dirname(path);
  const finish = (file: number) => {
    handToOwner(file, directory);
    fchmodSync(file, 0o600);
    fsyncSync(file);
  };
  replaceWhole(path, { temporary: `${path}.interrex`, content, finish });
  syncDirectory(directory);
}

/** What a file holds; null when it does not exist. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** While this file is there, every start of the server is a start as a read-only standby. */
export function ensureStandbySignal(dataDirectory: string): void {
  const path = join(dataDirectory, "standby.signal");
  if (!existsSync(path)) writeDurably(path, "");
}

export function hasStandbySignal(dataDirectory: string): boolean {
  return existsSync(join(dataDirectory, "standby.signal"));
}

/** An agent that runs as root must leave files that the server's account can read and replace. */
export function handToOwner(fd: number, directory: string): void {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = statSync(directory);
  fchownSync(fd, uid, gid);
}

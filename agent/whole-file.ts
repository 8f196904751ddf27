/** Files that are there whole or not at all, whatever is left of the disk. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";

interface Replacement {
  /** The content until it takes the place of `path`, in the same directory. */
  temporary: string;
  content: string;
  /** Called with the open file, when all of it has been written: to give it an owner, to flush it. */
  finish?: (file: number) => void;
}

/** Replaces `path`. Throws the system's error; `path` is what it was then, and no temporary file is left. */
export function replaceWhole(path: string, { temporary, content, finish }: Replacement): void {
  const file = openSync(temporary, "w", 0o600);
  try {
    try {
      writeAll(file, Buffer.from(content));
      finish?.(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    // On a full disk it would take the very room that the next try needs.
    rmSync(temporary, { force: true });
    throw error;
  }
}

/**
 * Writes all of `bytes`, from `position` on where one is given. A disk that is nearly full takes the first part of a write
 * and reports no error: that comes only with the write after it.
 */
export function writeAll(file: number, bytes: Uint8Array, position: number | null = null): void {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(file, bytes, done, bytes.length - done, position === null ? null : position + done);
  }
}

/** Makes the entries of a directory survive a crash. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** Files of the data folder that are there whole or not at all: the next start must be able to read what this one has left. */
import { closeSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { CannotStart } from "./cannot-start.ts";

/** Writes `path`, for its owner alone; with `isNew` only where there is no such file. Throws `CannotStart`. */
export function writeWhole(path: string, content: string, { isNew }: { isNew: boolean }): void {
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, content, { mode: 0o600, flush: true });
    if (isNew) linkSync(temporary, path);
    else renameSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new CannotStart(`${path} cannot be written (${code}): ${remedyOf(code)}`);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function remedyOf(code: string): string {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return "free some space on its disk";
    case "EEXIST":
      return "another coordinator may be starting there just now";
    default:
      return "make its folder one that this account may write into";
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, "r");
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/**
 * What tells a data directory that pg_rewind has begun to change and not finished. It is worth nothing to a server, to
 * pg_rewind or to anybody who looks for a log in it, and looks like any other.
 *
 * The word of it lies beside the kept log, because pg_rewind removes from the data directory what its source has not. It
 * names the very control file, which pg_rewind writes in place: a data directory that somebody has put there since has another.
 */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { readIfThere, writeDurably } from "./durable-file.ts";
import { syncDirectory } from "../../whole-file.ts";

const MARK = "rewind-begun";

/** From here on the data directory counts as damaged. */
export function markBegun(kept: string, dataDirectory: string): void {
  writeDurably(join(kept, MARK), identityOf(dataDirectory));
}

/** The rewind has ended well. */
export function markEnded(kept: string): void {
  rmSync(join(kept, MARK), { force: true });
  syncDirectory(kept);
}

/** The kept log of the rewind that has left the data directory half done; null when none has. */
export function unfinishedRewind(keepDirectory: string, dataDirectory: string): string | null {
  if (!existsSync(keepDirectory)) return null;
  const identity = identityOf(dataDirectory);
  const kept = readdirSync(keepDirectory).map((name) => join(keepDirectory, name));
  return kept.find((path) => isDirectory(path) && readIfThere(join(path, MARK)) === identity) ?? null;
}

/** Whoever looks after the kept logs may have left a file of his own beside them, or a link to where he has put one. */
function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function identityOf(dataDirectory: string): string {
  const { dev, ino, birthtimeNs } = statSync(join(dataDirectory, "global", "pg_control"), { bigint: true });
  return `${dev} ${ino} ${birthtimeNs}\n`;
}

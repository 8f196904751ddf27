/**
 * Which PostgreSQL a test on real servers runs: npm's and, where it is installed, Debian's; or, where the environment names
 * one, that one alone (`demo/binaries.ts`).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { namedBinaries, PACKAGED_MAJOR } from "../../demo/binaries.ts";
import { preparePostgres } from "../../demo/postgres.ts";

const DEBIAN = { major: 15, binDirectory: "/usr/lib/postgresql/15/bin" };

export interface TestedServer {
  major: number;
  /** Where its programs lie, for tests that need more than the server; null for npm's, which has no others. */
  programs: string | null;
  /** The directory to run it from; what must be copied for that goes into `directory`. */
  prepare: (directory: string) => Promise<string>;
}

const named = namedBinaries();

/** Whether the environment names the server: then a test that this one has no programs for is skipped in so many words. */
export const isNamed = named !== null;

/** The server that nearly every test runs on. */
export const server: TestedServer = {
  major: named?.major ?? PACKAGED_MAJOR,
  programs: named?.binDirectory ?? null,
  prepare: async (directory) => (await preparePostgres(directory)).binDirectory,
};

/** What reads a server's files is tried on two versions. */
export const servers: TestedServer[] = named || !existsSync(DEBIAN.binDirectory) ? [server] : [server, installed()];

/** The server whose own programs are there as well: `pg_rewind`, `pg_basebackup`, `pg_checksums`, `pg_waldump`. */
export const withPrograms: TestedServer = named ? server : installed();

/** The path of one of a server's programs; null where it is not installed. */
export function programOf({ programs }: TestedServer, program: string): string | null {
  const path = programs && join(programs, program);
  return path && existsSync(path) ? path : null;
}

function installed(): TestedServer {
  const { major, binDirectory } = DEBIAN;
  return { major, programs: binDirectory, prepare: async () => binDirectory };
}

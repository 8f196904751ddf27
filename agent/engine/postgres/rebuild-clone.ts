/**
 * Lays a data directory out anew by a command of the operator's, which copies the primary into a fresh directory beside it.
 * The old one stays what it is until the copy is whole, and is kept under another name after that.
 */
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync, statSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Endpoint } from "#shared/domain/messages.ts";
import { lockData } from "../../lock.ts";
import { codeOf } from "./connection.ts";
import { readControlFile } from "./control-file.ts";
import { lastWords, runProgram } from "./rebuild-command.ts";
import { copyConfiguration, likeDirectory } from "./rebuild-files.ts";
import { configurationOf } from "./rebuild-log.ts";
import { beforeTrial, stopServer, tryOut } from "./rebuild-trial.ts";
import { Refusal, type Control } from "./steering.ts";
import { syncDirectory } from "../../whole-file.ts";

const FAILED = "clone-failed";
const STUCK = "clone-stuck";

export interface Clone extends Control {
  upstream: Endpoint;
  onExit: () => void;
  /** Run by `/bin/sh -c`. */
  command: string;
}

/** The directories of one clone, all of one parent: a rename is all that is needed then. */
interface Places {
  parent: string;
  data: string;
  fresh: string;
  old: string;
}

/** Whether the data directory can be exchanged at all. Throws a Refusal `clone-failed`. */
export function mayClone({ options }: Clone): void {
  const data = realpathSync(options.dataDirectory);
  if (statSync(data).dev === statSync(dirname(data)).dev) return;
  throw new Refusal(
    FAILED,
    `${data} is a mount point and cannot be exchanged: move the cluster into a directory below it, and name that`,
  );
}

/**
 * Runs the command, looks at what it has left, stops the server and exchanges the directories. Throws a Refusal
 * `clone-failed` or `called-off`: then the old data directory is in its place as it was, and the fresh one is gone. Or
 * `clone-stuck`, when it could not be brought back there.
 */
export async function clone(control: Clone, kept: string): Promise<string> {
  const places = placesBeside(realpathSync(control.options.dataDirectory));
  try {
    await removeForsaken(places);
    await mkdir(places.fresh, { mode: 0o700 });
    likeDirectory(places.fresh, places.data);
    await runCommand(control, places);
    mustBeTheSame(places);
    await prepare(control, places, kept);
    if (control.isCalledOff()) throw new Refusal("called-off", "the server is being fenced");
    await stopServer(control, FAILED);
    await exchange(places);
    await tryOutOrReturn(control, places);
  } catch (error) {
    // What cannot be removed now is by the next clone.
    await rm(places.fresh, { recursive: true, force: true }).catch(() => {});
    if (error instanceof Refusal) throw error;
    throw new Refusal(FAILED, `${(error as Error).message}: ${remedyOf(error, places)}`);
  }
  return `clone_command; the data directory before it is ${places.old}`;
}

function placesBeside(data: string): Places {
  const moment = new Date().toISOString().replaceAll(/[-:.]/g, "");
  return { parent: dirname(data), data, fresh: `${data}.clone-${moment}`, old: `${data}.diverged-${moment}` };
}

/** An agent that was killed may have left the copy that it was having made. */
async function removeForsaken({ parent, data }: Places): Promise<void> {
  const prefix = `${basename(data)}.clone-`;
  const forsaken = readdirSync(parent).filter((name) => name.startsWith(prefix) && /-\d{8}T\d{9}Z$/.test(name));
  for (const name of forsaken) await rm(join(parent, name), { recursive: true, force: true });
}

async function runCommand({ options, upstream, command, deadline }: Clone, { fresh }: Places): Promise<void> {
  const { binDirectory, replicationUser, passwordFile, runAs } = options;
  const ended = await runProgram({
    path: "/bin/sh",
    args: ["-c", command],
    account: runAs,
    workingDirectory: fresh,
    environment: {
      INTERREX_TARGET_DIRECTORY: fresh,
      INTERREX_SOURCE_HOST: upstream.host,
      INTERREX_SOURCE_PORT: String(upstream.port),
      INTERREX_SOURCE_USER: replicationUser,
      INTERREX_BIN_DIRECTORY: binDirectory,
      ...(passwordFile !== null && { PGPASSFILE: passwordFile }),
    },
    deadline: beforeTrial(deadline),
  });
  if (!ended.ok) throw new Refusal(FAILED, `clone_command: ${lastWords(ended)}`);
}

/** A copy of the right cluster, and of the version that the server's program can read. */
function mustBeTheSame({ data, fresh }: Places): void {
  const versionOf = (directory: string) => readFileSync(join(directory, "PG_VERSION"), "utf8").trim();
  if (!existsSync(join(fresh, "PG_VERSION")) || !existsSync(join(fresh, "global", "pg_control"))) {
    throw new Refusal(
      FAILED,
      `clone_command ended well and left no data directory in $INTERREX_TARGET_DIRECTORY: have it copied there`,
    );
  }
  if (versionOf(fresh) !== versionOf(data)) {
    throw new Refusal(FAILED, `the clone is of version ${versionOf(fresh)}, the server of ${versionOf(data)}`);
  }
  const [found, wanted] = [readControlFile(fresh)?.systemId, readControlFile(data)?.systemId];
  if (found !== undefined && found === wanted) return;
  throw new Refusal(
    FAILED,
    `the clone has the system identifier ${found ?? "of no sound pg_control"}, the server ${wanted ?? "none that can be read"}: clone the primary of this dataservice`,
  );
}

/** This host's configuration, nothing of the source's processes, and all of it on the disk. */
async function prepare({ options, deadline }: Clone, { fresh, data }: Places, kept: string): Promise<void> {
  likeDirectory(fresh, data);
  for (const name of ["postmaster.pid", "postmaster.opts", "recovery.signal"])
    rmSync(join(fresh, name), { force: true });
  await copyConfiguration(configurationOf(kept), fresh);
  const synced = await runProgram({
    path: join(options.binDirectory, "initdb"),
    args: ["--sync-only", "-D", fresh],
    account: options.runAs,
    workingDirectory: fresh,
    deadline,
  });
  if (!synced.ok) throw new Refusal(FAILED, `the clone could not be brought to the disk: ${lastWords(synced)}`);
}

/** A crash between the two renames leaves both directories under their telling names, and none in the place. */
async function exchange({ parent, data, fresh, old }: Places): Promise<void> {
  // Another agent must find the new one taken as it found the old one.
  if (!lockData(fresh)) throw new Refusal(FAILED, `another agent uses ${fresh}: end that one`);
  await rename(data, old);
  try {
    await rename(fresh, data);
  } catch (error) {
    await orStuck({ data, old }, () => rename(old, data));
    throw error;
  } finally {
    syncDirectory(parent);
  }
}

/** A copy in which the server does not start is none. */
async function tryOutOrReturn(control: Clone, places: Places): Promise<void> {
  try {
    await tryOut({ ...control, code: FAILED });
  } catch (error) {
    await orStuck(places, async () => {
      await stopServer(control, STUCK);
      await rename(places.data, places.fresh);
      await rename(places.old, places.data);
      syncDirectory(places.parent);
    });
    throw error;
  }
}

/** The way back is barred, too: what lies in the place of the data directory is not to be trusted. */
async function orStuck({ data, old }: Pick<Places, "data" | "old">, goBack: () => Promise<void>): Promise<void> {
  try {
    await goBack();
  } catch (error) {
    throw new Refusal(STUCK, `${(error as Error).message}: stop the server and rename ${old} to ${data} by hand`);
  }
}

function remedyOf(error: unknown, { parent, data }: Places): string {
  const apart = `${data} is a mount point: move the cluster into a directory below it, and name that`;
  const rights = `let the agent's account create and rename directories in ${parent}`;
  const remedies: Record<string, string> = {
    EACCES: rights,
    EPERM: rights,
    EBUSY: apart,
    EXDEV: apart,
    ENOSPC: `there must be room for a second copy of the cluster in ${parent}`,
  };
  return remedies[codeOf(error)] ?? "the data directory is as it was";
}

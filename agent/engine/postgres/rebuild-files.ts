/** Files that a rebuild carries over: each is there, whole, after any crash. */
import { chmodSync, chownSync, lstatSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync } from "node:fs";
import { copyFile, constants, mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../../whole-file.ts";

/** What in a data directory belongs to this host and not to the cluster: who listens where, and who may come in. */
const CONFIGURATION = /\.(conf|crt|key|pem|crl)$/;

/** Copies a file under another name and mode-true; its directory is for the caller to sync. Rejects with the system's error. */
export async function copyDurably(from: string, to: string): Promise<void> {
  const temporary = `${to}.interrex`;
  await copyFile(from, temporary, constants.COPYFILE_FICLONE);
  const file = await open(temporary, "r+");
  try {
    const { mode } = statSync(from);
    await file.chmod(mode & 0o777);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, to);
}

/** Makes a directory that only its owner can look into. Rejects when it is there already. */
export async function makePrivate(directory: string): Promise<void> {
  await mkdir(directory, { recursive: false, mode: 0o700 });
}

/** Copies the configuration that lies in one directory, links too, into another; what is there by those names is replaced. */
export async function copyConfiguration(from: string, to: string): Promise<void> {
  for (const name of readdirSync(from).filter((each) => CONFIGURATION.test(each))) {
    const path = join(from, name);
    const stat = lstatSync(path);
    if (stat.isFile()) await copyDurably(path, join(to, name));
    else if (stat.isSymbolicLink()) replaceLink(readlinkSync(path), join(to, name));
  }
  const owner = statSync(to);
  handOver(to, owner);
  syncDirectory(to);
}

function replaceLink(target: string, path: string): void {
  rmSync(path, { force: true });
  symlinkSync(target, path);
}

/** An agent that runs as root must leave files that the server's account can read and replace. */
function handOver(directory: string, { uid, gid }: { uid: number; gid: number }): void {
  if (process.getuid?.() !== 0) return;
  for (const name of readdirSync(directory).filter((each) => CONFIGURATION.test(each))) {
    const path = join(directory, name);
    if (lstatSync(path).isFile()) chownSync(path, uid, gid);
  }
}

/** Gives a directory the owner and the mode of another. */
export function likeDirectory(directory: string, model: string): void {
  const { uid, gid, mode } = statSync(model);
  if (process.getuid?.() === 0) chownSync(directory, uid, gid);
  chmodSync(directory, mode & 0o777);
}

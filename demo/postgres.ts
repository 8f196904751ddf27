/**
 * Real PostgreSQL clusters for the demo and the tests, from the binaries that npm brings or from installed ones. Only
 * `initdb` and `postgres` are needed: replicas are cold copies of the first member, which initdb leaves cleanly stopped.
 */
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import {
  appendFile,
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { serverProcesses } from "../agent/engine/postgres/processes.ts";
import { BIN_VARIABLE, BinariesError, isPackage, isTraversable, namedBinaries, packagedDirectory } from "./binaries.ts";

const run = promisify(execFile);
const COPY_TIMEOUT_MS = 30_000;
const INITDB_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 20_000;

/** Who the servers run as; null for the account that asks. */
export type Account = { uid: number; gid: number } | null;

export interface DemoMember {
  name: string;
  host: string;
  port: number;
  dataDirectory: string;
  /** Private to the account. */
  socketDirectory: string;
  logFile: string;
}

/** PostgreSQL refuses to run as root, so root lends it `nobody`; anybody else runs it as himself. */
export async function demoAccount(): Promise<Account> {
  if (process.getuid?.() !== 0) return null;
  const id = async (flag: string) =>
    Number((await run("id", [flag, "nobody"], { timeout: COMMAND_TIMEOUT_MS })).stdout);
  return { uid: await id("-u"), gid: await id("-g") };
}

/** A new directory under the system's temporary one that every account may pass through. */
export async function demoDirectory(prefix: string): Promise<string> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), prefix)));
  await chmod(directory, 0o711);
  return directory;
}

/**
 * The `bin` directory to run PostgreSQL from: the one that the environment names, or npm's, which is copied into
 * `directory`, where an unprivileged account can read it (60 MB). Throws when the one that is named will not do, and when
 * npm has none for this platform.
 */
export async function preparePostgres(directory: string): Promise<{ binDirectory: string }> {
  const named = namedBinaries();
  if (!named) return copyPackage(packagedDirectory(), directory);
  const { binDirectory } = named;
  if (process.getuid?.() !== 0 || isTraversable(binDirectory)) return { binDirectory };
  if (isPackage(dirname(binDirectory))) return copyPackage(dirname(binDirectory), directory);
  throw new BinariesError(
    `${BIN_VARIABLE} = "${binDirectory}": other accounts, which the servers run as, cannot enter it: name another`,
  );
}

async function copyPackage(native: string, directory: string): Promise<{ binDirectory: string }> {
  const target = join(directory, "postgresql");
  await mkdir(target, { mode: 0o755 });
  const parts = ["bin", "lib", "share"].map((part) => join(native, part));
  await run("cp", ["-a", "--reflink=auto", "--no-preserve=ownership", ...parts, target], { timeout: COPY_TIMEOUT_MS });
  await run("chmod", ["-R", "a+rX", target], { timeout: COMMAND_TIMEOUT_MS });
  await restoreLinks(native, target);
  return { binDirectory: join(target, "bin") };
}

/** npm packages hold no symbolic links; where its install script was blocked, the libraries lack theirs. */
export async function restoreLinks(native: string, target: string): Promise<void> {
  const links = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8")) as {
    source: string;
    target: string;
  }[];
  for (const link of links) {
    const path = join(target, link.target.replace(/^native\//, ""));
    if (!existsSync(path)) await symlink(basename(link.source), path);
  }
}

/** Below what the kernel gives to outgoing connections: one of those may take a port while its server is down. */
const LOWEST_PORT = 10_000;
const PORT_TRIES = 100;
const FIRST_OUTGOING_PORT = firstOutgoingPort();

/** Ports of the loopback interface at which nobody listens, and which the kernel gives to no connection by itself. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, listenSomewhere));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function listenSomewhere(): Promise<ReturnType<typeof createServer>> {
  for (let tries = 0; tries < PORT_TRIES; tries += 1) {
    try {
      return await listenAt(randomInt(LOWEST_PORT, FIRST_OUTGOING_PORT));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
  throw new Error(`no free port found between ${LOWEST_PORT} and ${FIRST_OUTGOING_PORT}`);
}

function listenAt(port: number): Promise<ReturnType<typeof createServer>> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

function firstOutgoingPort(): number {
  const first = Number.parseInt(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "ascii"), 10);
  return first > LOWEST_PORT + 1_000 ? first : 32_768;
}

export interface ClusterPlan {
  binDirectory: string;
  /** Where the members' directories are made; every account must be able to pass through. */
  directory: string;
  members: { name: string; port: number }[];
  account: Account;
}

/** Makes a cluster of stopped, read-only members with one system identifier, superuser `postgres`. Starts nothing. */
export async function createCluster(plan: ClusterPlan): Promise<DemoMember[]> {
  const members = plan.members.map(({ name, port }) => describe(plan.directory, name, port));
  for (const member of members) await makeHome(member, plan.account);
  const [first, ...others] = members;
  if (!first) return [];
  await initialise(first, plan);
  for (const other of others) {
    await run("cp", ["-a", "--reflink=auto", first.dataDirectory, other.dataDirectory], { timeout: COPY_TIMEOUT_MS });
  }
  for (const member of members) await configure(member);
  return members;
}

function describe(directory: string, name: string, port: number): DemoMember {
  const home = join(directory, name);
  return {
    name,
    host: "127.0.0.1",
    port,
    dataDirectory: join(home, "data"),
    socketDirectory: join(home, "socket"),
    logFile: join(home, "postgres.log"),
  };
}

async function makeHome(member: DemoMember, account: Account): Promise<void> {
  for (const directory of [dirname(member.dataDirectory), member.socketDirectory]) {
    await mkdir(directory, { mode: 0o700, recursive: true });
    if (account) await chown(directory, account.uid, account.gid);
  }
}

async function initialise(member: DemoMember, { binDirectory, account }: ClusterPlan): Promise<void> {
  const dialect = ["--encoding=UTF8", "--locale=C", "--username=postgres"];
  const speed = ["--no-sync", "--data-checksums"];
  await run(join(binDirectory, "initdb"), ["-D", member.dataDirectory, "--auth=trust", ...dialect, ...speed], {
    timeout: INITDB_TIMEOUT_MS,
    cwd: dirname(member.dataDirectory),
    ...account,
  });
}

/** Small, and able to replicate either way. Appended: the last word in the file wins. */
async function configure(member: DemoMember): Promise<void> {
  const settings = [
    `listen_addresses = '${member.host}'`,
    `port = ${member.port}`,
    `unix_socket_directories = '${member.socketDirectory}'`,
    "shared_buffers = '16MB'",
    // Not fewer than initdb's own server had: a standby refuses to start with less than its log knows of.
    "max_connections = 100",
    "wal_level = replica",
    "hot_standby = on",
    "max_wal_senders = 10",
    "wal_keep_size = '256MB'",
    "min_wal_size = '32MB'",
    "max_wal_size = '128MB'",
    "logging_collector = off",
  ];
  await appendFile(join(member.dataDirectory, "postgresql.conf"), `\n${settings.join("\n")}\n`);
  await writeFile(join(member.dataDirectory, "standby.signal"), "", { mode: 0o644 });
}

/** Shared memory that outlives a server which was killed. */
export interface SharedMemory {
  /** Paths under `/dev/shm`. */
  files: string[];
  /** Identifiers of System V segments. */
  segments: number[];
}

/** What the running server of `dataDirectory` holds: to be asked before it is killed. */
export function sharedMemoryOf(dataDirectory: string): SharedMemory {
  const files = new Set<string>();
  for (const pid of serverProcesses(dataDirectory)) {
    for (const [path] of readOrEmpty(`/proc/${pid}/maps`).matchAll(/\/dev\/shm\/PostgreSQL\.\d+/g)) files.add(path);
  }
  // Line 7 of the lock file: key and identifier of the segment that guards the data directory.
  const segment = Number(readOrEmpty(join(dataDirectory, "postmaster.pid")).split("\n")[6]?.trim().split(/\s+/)[1]);
  return { files: [...files], segments: Number.isInteger(segment) ? [segment] : [] };
}

/** Removes what killed servers have left; what is gone already is fine. */
export async function removeLeftovers({ files, segments }: SharedMemory): Promise<void> {
  for (const file of files) await unlink(file).catch(ignoreMissing);
  const present = readOrEmpty("/proc/sysvipc/shm");
  for (const segment of segments) {
    if (new RegExp(`^\\s*-?\\d+\\s+${segment}\\s`, "m").test(present)) {
      await run("ipcrm", ["-m", String(segment)], { timeout: COMMAND_TIMEOUT_MS });
    }
  }
}

/** Removes a demo's directory. Throws while a server still lives in it. */
export async function removeDirectory(directory: string): Promise<void> {
  const homes = readdirSync(directory).map((name) => join(directory, name, "data"));
  const busy = homes.find((home) => existsSync(home) && serverProcesses(home).length > 0);
  if (busy) throw new Error(`${busy}: a server still runs there: end it first`);
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/** Whose processes a server's are, and what is said where that cannot be told: real processes under a server's name. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fenceServer } from "../../agent/engine/postgres/fence.ts";
import { Probe } from "../../agent/engine/postgres/probe.ts";
import {
  CannotSeeProcesses,
  isAlive,
  livingPostmaster,
  postmasterSeen,
  readLockFile,
  serverProcesses,
} from "../../agent/engine/postgres/processes.ts";
import { killAll } from "../../agent/guardian/kill.ts";

const FENCE = { fastMs: 100, killMs: 200, deadlineMs: 20_000 };

let directory: string;
let dataDirectory: string;
let server: ChildProcess;
let pid: number;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "interrex-processes-"));
  dataDirectory = join(directory, "data");
  mkdirSync(dataDirectory);
  copyFileSync("/bin/sleep", join(directory, "postgres"));
  server = spawn(join(directory, "postgres"), ["60"], { cwd: dataDirectory, stdio: "ignore" });
  await once(server, "spawn");
  pid = server.pid ?? 0;
});

afterEach(async () => {
  if (server.exitCode === null && server.signalCode === null) {
    server.kill("SIGKILL");
    await once(server, "exit");
  }
  rmSync(directory, { recursive: true, force: true });
});

function lock(): void {
  writeFileSync(join(dataDirectory, "postmaster.pid"), `${pid}\n${dataDirectory}\n`);
}

/** A lock file that is there and cannot be read, by root neither. */
function spoilLock(): void {
  rmSync(join(dataDirectory, "postmaster.pid"), { force: true });
  mkdirSync(join(dataDirectory, "postmaster.pid"));
}

/** A data directory that leads nowhere: what its path stands for cannot be told. */
function spoilDirectory(): void {
  renameSync(dataDirectory, join(directory, "elsewhere"));
  symlinkSync(dataDirectory, dataDirectory);
}

/** A probe whose server nobody reaches. */
function probe(): Probe {
  const place = { host: directory, port: 5_432, user: "nobody", database: "none" };
  const target = { ...place, passwordFile: null, applicationName: "probe" };
  return new Probe({ dataDirectory, target, timeoutMs: 500, onLost: () => {} });
}

test("a lock file that is not there names nobody; one that cannot be read is an error", () => {
  expect(readLockFile(dataDirectory)).toBeNull();
  lock();
  expect(livingPostmaster(dataDirectory)?.pid).toBe(pid);
  spoilLock();
  expect(() => livingPostmaster(dataDirectory)).toThrow(/EISDIR/);
  expect(postmasterSeen(dataDirectory)).toBeNull();
});

test("a server whose lock file cannot be read is unresponsive, not stopped", async () => {
  spoilLock();
  const blind = probe();
  expect((await blind.observe()).report).toEqual({ state: "unresponsive" });
  blind.close();
});

test("a data directory that is gone has no processes but those that were left in it", () => {
  expect(serverProcesses(dataDirectory)).toEqual([pid]);
  rmSync(dataDirectory, { recursive: true });
  expect(serverProcesses(dataDirectory)).toEqual([pid]);
  expect(serverProcesses(join(dataDirectory, "below"))).toEqual([]);
});

test("nobody vouches for the server of a data directory that cannot be looked at", async () => {
  lock();
  spoilDirectory();
  expect(() => serverProcesses(dataDirectory)).toThrow(CannotSeeProcesses);
  expect(await fenceServer(dataDirectory, FENCE)).toMatchObject({ ok: false, code: "cannot-see-processes" });
  await expect(killAll(dataDirectory, () => true)).rejects.toThrow(/cannot be looked at \(ELOOP\)/);
  expect(isAlive(pid)).toBe(true);
});

test("whoever must end a server does so without its lock file too", async () => {
  spoilLock();
  expect(await fenceServer(dataDirectory, FENCE)).toEqual({ ok: true });
  expect(isAlive(pid)).toBe(false);
});

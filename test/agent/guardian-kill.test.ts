/** How the guardian ends a server: real processes that it must take for one's. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isAlive, livingPostmaster } from "../../agent/engine/postgres/processes.ts";
import { killAll } from "../../agent/guardian/kill.ts";

let directory: string;
let dataDirectory: string;
const started: ChildProcess[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-kill-"));
  dataDirectory = join(directory, "data");
  mkdirSync(dataDirectory);
  copyFileSync("/bin/sleep", join(directory, "postgres"));
});

afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(directory, { recursive: true, force: true });
});

/** A process of the server; it can be seen as soon as this returns. */
function start(): number {
  const child = spawn(join(directory, "postgres"), ["60"], { cwd: dataDirectory, stdio: "ignore" });
  started.push(child);
  if (child.pid === undefined) throw new Error("it was not started");
  return child.pid;
}

function isMaster(pid: number): void {
  writeFileSync(join(dataDirectory, "postmaster.pid"), `${pid}\n${dataDirectory}\n`);
  expect(livingPostmaster(dataDirectory)?.pid).toBe(pid);
}

const living = (pids: number[]): number[] => pids.filter((pid) => isAlive(pid));
const always = (): boolean => true;

test("all of the tree is killed, the postmaster's children with it", async () => {
  const pids = [start(), start(), start()];
  isMaster(pids[1] ?? 0);
  expect(await killAll(dataDirectory, always)).toBe(3);
  expect(living(pids)).toEqual([]);
});

test("what a dead postmaster has left is killed: it may acknowledge yet", async () => {
  const pids = [start(), start()];
  expect(await killAll(dataDirectory, always)).toBe(2);
  expect(living(pids)).toEqual([]);
});

test("other servers are left alone", async () => {
  const other = join(directory, "other");
  mkdirSync(other);
  const child = spawn(join(directory, "postgres"), ["60"], { cwd: other, stdio: "ignore" });
  started.push(child);
  const pid = start();
  expect(await killAll(dataDirectory, always)).toBe(1);
  expect(living([pid])).toEqual([]);
  expect(isAlive(child.pid ?? 0)).toBe(true);
});

test("a kill that is called off between the look and the deed kills nobody", async () => {
  const pids = [start(), start()];
  expect(await killAll(dataDirectory, () => false)).toBeNull();
  expect(living(pids)).toEqual(pids);
});

test("one look that finds nothing is not believed: a child may have been born behind it", async () => {
  const first = start();
  const born: number[] = [];
  const mayGoOn = (): boolean => {
    if (!isAlive(first) && born.length === 0) born.push(start());
    return true;
  };
  expect(await killAll(dataDirectory, mayGoOn)).toBe(2);
  expect(born).toHaveLength(1);
  expect(living([first, ...born])).toEqual([]);
});

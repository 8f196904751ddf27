/** The guardian as a process, and the agent's link to it. What it is to end is any process that it must take for a server. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshDurable, type MemberDurable, type MemberPhase } from "#shared/core/member/state.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
import { isAlive } from "../../agent/engine/postgres/processes.ts";
import { SILENCE_MS } from "../../agent/guardian/held.ts";
import { GuardianLink } from "../../agent/guardian/link.ts";
import { connectGuardian } from "../../agent/guardian/socket.ts";
import { StateFile } from "../../agent/state-file.ts";

const FENCE_MS = 1_000;
/** A fence bound whose share is far beyond all lateness. */
const LONG_FENCE_MS = 40_000;
const TTL_MS = 1_500;
/**
 * On a busy machine what is on time by its own clock is seen much later: that the end comes, and not before its time, is
 * tested here; how many milliseconds an agent is given, by `judge` alone; how late a kill is, by the benchmark.
 */
const LATENESS_MS = 10_000;
const DEADLINE_MS = 20_000;

let directory: string;
let stateDirectory: string;
let dataDirectory: string;
let server: ChildProcess;
let looks: number;
const links: GuardianLink[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "interrex-guardian-"));
  stateDirectory = join(directory, "state");
  dataDirectory = join(directory, "data");
  mkdirSync(stateDirectory);
  mkdirSync(dataDirectory);
  copyFileSync("/bin/sleep", join(directory, "postgres"));
  await startServer();
  looks = 0;
});

async function startServer(): Promise<void> {
  server = spawn(join(directory, "postgres"), ["60"], { cwd: dataDirectory, stdio: "ignore" });
  await once(server, "spawn");
}

afterEach(async () => {
  for (const link of links.splice(0)) link.stop();
  const pid = guardianPid();
  if (pid !== null && isAlive(pid)) kill(pid);
  if (server.exitCode === null && server.signalCode === null) {
    server.kill("SIGKILL");
    await once(server, "exit");
  }
  rmSync(directory, { recursive: true, force: true });
});

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function guardianPid(): number | null {
  try {
    return Number(readFileSync(join(stateDirectory, "guardian.pid"), "utf8"));
  } catch {
    return null;
  }
}

async function meet({ fenceMs = FENCE_MS } = {}): Promise<GuardianLink> {
  const onLook = () => (looks += 1);
  const log = pino({ level: "silent" });
  const link = new GuardianLink({ stateDirectory, dataDirectory, fenceMs, onLook, log });
  links.push(link);
  expect(await link.met(DEADLINE_MS)).toBe(true);
  return link;
}

/** An opened member whose lease begins now. */
function opened(patch: Partial<MemberDurable> = {}): MemberDurable {
  const lease = { epoch: 1, ttlMs: TTL_MS, base: readClocks(), bootId: readBootId(), hasLeaseDoor: false };
  const fresh = freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation");
  return { ...fresh, founded: true, epochSeen: 1, attempted: 1, lease, ...patch };
}

const OPEN: MemberPhase = { kind: "open", epoch: 1, running: null, shut: null };
const FENCING: MemberPhase = {
  kind: "fencing",
  releases: 1,
  cause: "lease-lost",
  running: { id: 1, kind: "fence", command: null },
  restart: true,
  isGentle: false,
};

/** When the server ended, counted from the lease's end. */
async function deathAfter({ lease }: MemberDurable): Promise<number> {
  if (!lease) throw new Error("no lease");
  await once(server, "exit", { signal: AbortSignal.timeout(DEADLINE_MS) });
  return readClocks().monoMs - lease.base.monoMs - lease.ttlMs;
}

/** A guardian that has killed looks on until it has seen twice that nothing is left, and says so. */
async function untilDone(): Promise<void> {
  const endMs = performance.now() + DEADLINE_MS;
  while (!readFileSync(join(stateDirectory, "guardian.log"), "utf8").includes('"event":"killed"')) {
    expect(performance.now()).toBeLessThan(endMs);
    await pause(5);
  }
}

/** Named in a failure beside the value that was not. */
function between(least: number, most: number): (value: number) => boolean {
  return (value) => value >= least && value < most;
}

test("an agent that is gone: the server ends with the lease that was told last, though it could not be written", async () => {
  const link = await meet();
  const first = opened();
  new StateFile(stateDirectory).write(first, true);
  link.tell({ durable: first, phase: OPEN });
  await pause(TTL_MS / 2);
  const renewed = opened();
  link.tell({ durable: renewed, phase: OPEN });
  await pause(20);
  link.stop();
  expect(await deathAfter(renewed)).toSatisfy(between(-10, LATENESS_MS));
});

test("an agent that had no time to tell what it kept: the file counts", async () => {
  const link = await meet();
  const first = opened();
  link.tell({ durable: first, phase: OPEN });
  await pause(TTL_MS / 2);
  const renewed = opened();
  new StateFile(stateDirectory).write(renewed, true);
  link.stop();
  expect(await deathAfter(renewed)).toSatisfy(between(-10, LATENESS_MS));
});

test("a silent agent is woken at the lease's end, and given no more time than that takes", async () => {
  const link = await meet();
  const durable = opened();
  link.tell({ durable, phase: OPEN });
  expect(await deathAfter(durable)).toSatisfy(between(SILENCE_MS - 10, SILENCE_MS + LATENESS_MS));
  expect(looks).toBe(1);
});

test("an agent that is fencing has a part of its fence bound", async () => {
  const link = await meet();
  const durable = opened();
  link.tell({ durable, phase: FENCING });
  expect(await deathAfter(durable)).toSatisfy(between(FENCE_MS * 0.6 - 10, FENCE_MS * 0.6 + LATENESS_MS));
});

test("an agent that ended while it was fencing is waited for no longer", async () => {
  const link = await meet({ fenceMs: LONG_FENCE_MS });
  const durable = opened();
  link.tell({ durable, phase: FENCING });
  await pause(20);
  link.stop();
  expect(await deathAfter(durable)).toSatisfy(between(-10, LATENESS_MS));
});

test("what is released, and what has no end, is left alone", async () => {
  const link = await meet();
  link.tell({ durable: opened(), phase: FENCING });
  link.tell({ durable: opened({ released: 1 }), phase: { kind: "closed", running: null, queued: null } });
  await pause(TTL_MS * 2);
  link.tell({ durable: opened({ policy: "maintenance", policyVersion: 1 }), phase: OPEN });
  await pause(20);
  link.stop();
  await pause(TTL_MS * 2);
  expect(server.exitCode).toBeNull();
  expect(server.signalCode).toBeNull();
});

test("the next agent meets the same guardian; one that is killed is replaced, and knows what was told", async () => {
  const link = await meet();
  const first = guardianPid();
  link.stop();
  const next = await meet();
  expect(guardianPid()).toBe(first);
  const durable = opened({ lease: { ...opened().lease!, ttlMs: 3_000 } });
  next.tell({ durable, phase: OPEN });
  kill(first!);
  const lostMs = performance.now();
  while (guardianPid() === first || !(await next.met(DEADLINE_MS))) {
    expect(performance.now() - lostMs).toBeLessThan(DEADLINE_MS);
    await pause(10);
  }
  next.stop();
  expect(await deathAfter(durable)).toSatisfy(between(-10, LATENESS_MS));
});

test("an agent that has lost its state does not end a reign; one that begins to count anew is guarded like any other", async () => {
  const link = await meet();
  const durable = opened({ attempted: 7, lease: { ...opened().lease!, epoch: 7 } });
  link.tell({ durable, phase: { ...OPEN, epoch: 7 } });
  const observing: MemberPhase = { kind: "observing" };
  link.tell({ durable: opened({ attempted: 0, lease: null }), phase: observing });
  expect(await deathAfter(durable)).toSatisfy(between(SILENCE_MS - 10, SILENCE_MS + LATENESS_MS));
  await untilDone();
  await startServer();
  const next = opened();
  link.tell({ durable: next, phase: OPEN });
  expect(await deathAfter(next)).toSatisfy(between(SILENCE_MS - 10, SILENCE_MS + LATENESS_MS));
});

test("an epoch that no lease covers is ended at once, also right after another", async () => {
  const link = await meet();
  const first = opened();
  link.tell({ durable: first, phase: OPEN });
  await deathAfter(first);
  await untilDone();
  await startServer();
  link.tell({ durable: opened({ epochSeen: 2, attempted: 2, lease: null }), phase: { ...OPEN, epoch: 2 } });
  await once(server, "exit", { signal: AbortSignal.timeout(DEADLINE_MS) });
  expect(server.signalCode).toBe("SIGKILL");
});

test("an older build's guardian goes when the newer one stands, and hands over what it knows", async () => {
  const lease = { epoch: 1, ttlMs: 3_000, base: readClocks(), bootId: readBootId(), hasLeaseDoor: false };
  const held = { attempted: 1, released: 0, policy: "automatic", policyVersion: 0, lease };
  const known = JSON.stringify({ kind: "told", dataDirectory, fenceMs: FENCE_MS, held, isFencing: false });
  const older = spawn(process.execPath, ["--input-type=module", "-e", olderGuardian(known)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await once(older.stdout, "data");
    const ended = once(older, "exit");
    const link = await meet();
    await ended;
    while (guardianPid() === null) await pause(10);
    expect(isAlive(guardianPid()!)).toBe(true);
    link.stop();
    expect(await deathAfter(opened({ lease }))).toSatisfy(between(-10, LATENESS_MS));
  } finally {
    older.kill("SIGKILL");
  }
});

/** A guardian of version 0: all that a newer one asks of it. */
function olderGuardian(known: string): string {
  const module = (name: string) => JSON.stringify(new URL(`../../agent/${name}`, import.meta.url).href);
  return `
    import { createServer } from "node:net";
    import { lockState } from ${module("lock.ts")};
    import { listenAsGuardian } from ${module("guardian/socket.ts")};
    const state = ${JSON.stringify(stateDirectory)};
    if (!lockState(state, "guardian")) throw new Error("locked");
    const server = createServer((socket) => {
      socket.write('{"kind":"hello","version":0,"pid":1}\\n');
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        if (String(chunk).includes("yield")) socket.end(${JSON.stringify(`${known}\n`)}, () => process.exit(0));
      });
    });
    server.on("listening", () => console.log("ready"));
    listenAsGuardian(server, state);
  `;
}

test("what is said in no known words ends the conversation, not the guardian", async () => {
  await meet();
  const pid = guardianPid();
  for (const words of ["junk\n", '{"kind":"told","held":{}}\n', "x".repeat(70_000)]) {
    const socket = connectGuardian(stateDirectory);
    socket.on("error", () => {}).resume();
    socket.write(words);
    await once(socket, "close", { signal: AbortSignal.timeout(DEADLINE_MS) });
  }
  expect(isAlive(pid!)).toBe(true);
});

test("it ends with its state directory", async () => {
  const link = await meet();
  const pid = guardianPid();
  link.stop();
  rmSync(stateDirectory, { recursive: true });
  const endMs = performance.now() + DEADLINE_MS;
  while (isAlive(pid!) && performance.now() < endMs) await pause(50);
  expect(isAlive(pid!)).toBe(false);
});

/** The PostgreSQL engine against three real servers: each test begins where the one before has left them. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { comparePositions, type Position } from "#shared/domain/position.ts";
import type { EngineHint, Observation } from "../../agent/engine/engine.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import type { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { livingPostmaster, serverProcesses } from "../../agent/engine/postgres/processes.ts";
import {
  createCluster,
  demoAccount,
  demoDirectory,
  freePorts,
  removeDirectory,
  removeLeftovers,
  sharedMemoryOf,
  type Account,
  type DemoMember,
  type SharedMemory,
} from "../../demo/postgres.ts";
import { engineOf } from "../../demo/server.ts";
import { server } from "./servers.ts";

const PROBE_TIMEOUT_MS = 500;
const STEP_MS = 30_000;
/** Numbers are left out on purpose: those who follow must get over the gap, and a restart too. */
const FIRST_TIMELINE = 5;
const FENCE = { fastMs: 500, killMs: 1_000, deadlineMs: 20_000 };

interface Node {
  member: DemoMember;
  engine: PostgresEngine;
  hints: { hint: EngineHint; atMs: number }[];
}

let account: Account;
let directory: string;
let binDirectory: string;
let nodes: Node[] = [];
const leftovers: SharedMemory[] = [];
const figures: Record<string, number> = {};

beforeAll(async () => {
  account = await demoAccount();
  directory = await demoDirectory("interrex-engine-");
  binDirectory = await server.prepare(directory);
  const ports = await freePorts(3);
  const members = await createCluster({
    binDirectory,
    directory,
    account,
    members: ports.map((port, index) => ({ name: `db${index + 1}`, port })),
  });
  nodes = members.map(makeNode);
});

afterAll(async () => {
  for (const { engine, member } of nodes) {
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    await engine.fence(FENCE);
    await engine.close();
  }
  for (const memory of leftovers) await removeLeftovers(memory);
  if (directory) await removeDirectory(directory);
  const shown = Object.entries(figures).map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`);
  process.stdout.write(`engine: ${shown.join(", ")}\n`);
});

function makeNode(member: DemoMember): Node {
  const engine = engineOf(member, { binDirectory, account }, PROBE_TIMEOUT_MS);
  const hints: Node["hints"] = [];
  engine.onHint((hint) => hints.push({ hint, atMs: performance.now() }));
  return { member, engine, hints };
}

function node(index: number): Node {
  const found = nodes[index];
  if (!found) throw new Error(`no member ${index}`);
  return found;
}

/** Throws when there is none: a signal to "nobody" would go to the test's own process group. */
function postmasterOf({ name, dataDirectory }: DemoMember): number {
  const postmaster = livingPostmaster(dataDirectory);
  if (!postmaster) throw new Error(`${name} has no living postmaster`);
  return postmaster.pid;
}

async function connect({ member }: Node): Promise<Client> {
  const client = new Client({ host: member.host, port: member.port, user: "postgres", database: "postgres" });
  // A server that is killed ends its clients: their own queries tell.
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Takes replication connections until the server has none left. */
async function takeWalSenders({ host, port }: DemoMember): Promise<Client[]> {
  const taken: Client[] = [];
  for (;;) {
    const target = { host, port, user: "postgres", replication: "true" };
    const client = new Client(target);
    client.on("error", () => {});
    try {
      await client.connect();
      taken.push(client);
    } catch (error) {
      if ((error as { code?: string }).code === "53300") return taken;
      throw error;
    }
  }
}

async function withClient<T>(of: Node, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(of);
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function eventually<T>(
  awaited: string,
  look: () => Promise<T | null> | T | null,
  withinMs = STEP_MS,
): Promise<T> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${awaited}`);
    await pause(5);
  }
}

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  const result = await work();
  figures[name] = performance.now() - beganMs;
  return result;
}

async function positionOf({ engine }: Node): Promise<Position> {
  const { position } = await engine.observe();
  if (!position) throw new Error("no position");
  return position;
}

async function untilCaughtUp(replica: Node, primary: Node): Promise<Observation> {
  return eventually(`${replica.member.name} has all of ${primary.member.name}`, async () => {
    const goal = await positionOf(primary);
    const seen = await replica.engine.observe();
    return seen.receiver.streaming && seen.position && comparePositions(seen.position, goal) === "equal" ? seen : null;
  });
}

/** Writes one row after the other until the server goes away; returns the ids that were acknowledged. */
function load(of: Node): { acknowledged: number[]; ended: Promise<void> } {
  const acknowledged: number[] = [];
  const ended = (async () => {
    const client = await connect(of);
    try {
      for (;;) {
        const { rows } = await client.query<{ id: number }>("INSERT INTO kept DEFAULT VALUES RETURNING id");
        if (rows[0]) acknowledged.push(rows[0].id);
      }
    } catch {
      await client.end().catch(() => {});
    }
  })();
  return { acknowledged, ended };
}

async function count(of: Node): Promise<Set<number>> {
  return withClient(of, async (client) => {
    const { rows } = await client.query<{ id: number }>("SELECT id FROM kept");
    return new Set(rows.map(({ id }) => id));
  });
}

function hintAfter({ hints }: Node, hint: EngineHint, sinceMs: number): number | null {
  return hints.find((entry) => entry.hint === hint && entry.atMs >= sinceMs)?.atMs ?? null;
}

describe("a cluster of three", () => {
  test("starts read-only, everybody at the same position", async () => {
    for (const { engine } of nodes) expect(await timed("start", () => engine.start(STEP_MS))).toEqual({ ok: true });
    const seen = await Promise.all(nodes.map(({ engine }) => engine.observe()));
    for (const { report } of seen) expect(report).toEqual({ state: "running", inRecovery: true, writable: false });
    const [first, ...others] = await Promise.all(nodes.map(positionOf));
    for (const other of others) expect(comparePositions(first as Position, other)).toBe("equal");
    await withClient(node(0), (client) =>
      expect(client.query("CREATE TABLE refused ()")).rejects.toMatchObject({ code: "25006" }),
    );
    expect(await node(0).engine.start(STEP_MS)).toEqual({ ok: true });
  });

  test("promotes one, on the timeline it is given, which would start read-only again", async () => {
    const { engine, member } = node(0);
    const client = await connect(node(0));
    const beganMs = performance.now();
    const opened = eventually("a write is accepted", () =>
      client.query("CREATE TABLE kept (id serial PRIMARY KEY)").then(
        () => performance.now() - beganMs,
        () => null,
      ),
    );
    expect(await timed("promote", () => engine.promote(FIRST_TIMELINE, STEP_MS))).toEqual({ ok: true });
    figures["promote to first write"] = await opened;
    await client.end();
    expect(existsSync(join(member.dataDirectory, "standby.signal"))).toBe(true);
    const { report, position, receiver } = await engine.observe();
    expect(report).toEqual({ state: "running", inRecovery: false, writable: true });
    expect(receiver).toEqual({ streaming: false, configured: null });
    expect(position).toMatchObject({ timeline: FIRST_TIMELINE, history: [{ timeline: 1 }] });
    expect(await engine.promote(FIRST_TIMELINE + 1, STEP_MS)).toMatchObject({ ok: false, code: "not-in-recovery" });
    expect(await engine.follow(node(1).engine.endpoint, STEP_MS)).toMatchObject({ ok: false, code: "not-in-recovery" });
  });

  test("the others follow onto the new timeline and hold the same", async () => {
    const primary = node(0);
    expect(comparePositions(await positionOf(primary), await positionOf(node(1)))).toBe("covers");
    for (const replica of [node(1), node(2)]) {
      expect(await timed("follow", () => replica.engine.follow(primary.engine.endpoint, STEP_MS))).toEqual({
        ok: true,
      });
    }
    await withClient(primary, (client) => client.query("INSERT INTO kept SELECT FROM generate_series(1, 100)"));
    for (const replica of [node(1), node(2)]) {
      const seen = await untilCaughtUp(replica, primary);
      expect(seen.receiver).toEqual({ streaming: true, configured: primary.engine.endpoint });
      expect(seen.position?.timeline).toBe(FIRST_TIMELINE);
      await eventually("all is applied", async () => (await replica.engine.observe()).latencyMs === 0);
      expect((await count(replica)).size).toBe(100);
    }
  });

  test("a new agent sees the same where no replication connection is free", async () => {
    for (const { member, engine } of [node(0), node(1)]) {
      const taken = await takeWalSenders(member);
      const other = makeNode(member).engine;
      const { report, position, receiver } = await other.observe();
      const known = await engine.observe();
      await other.close();
      await Promise.all(taken.map((client) => client.end()));
      expect({ report, position, receiver }).toEqual({
        report: known.report,
        position: known.position,
        receiver: known.receiver,
      });
    }
  });

  test("a frozen replica stays frozen across a restart", async () => {
    const [primary, , frozen] = [node(0), node(1), node(2)];
    expect(await timed("freeze", () => frozen.engine.freeze(STEP_MS))).toEqual({ ok: true });
    const before = await positionOf(frozen);
    await withClient(primary, (client) => client.query("INSERT INTO kept DEFAULT VALUES"));
    await untilCaughtUp(node(1), primary);
    expect(await positionOf(frozen)).toEqual(before);
    expect(await timed("fast stop", () => frozen.engine.fence(FENCE))).toEqual({ ok: true });
    expect((await frozen.engine.observe()).report).toEqual({ state: "stopped" });
    expect(await frozen.engine.start(STEP_MS)).toEqual({ ok: true });
    // Longer than the server's own retry, after which an unfrozen one would be streaming again.
    await pause(700);
    const after = await frozen.engine.observe();
    expect(after.receiver).toEqual({ streaming: false, configured: null });
    expect(comparePositions(after.position as Position, before)).toBe("equal");
    expect(await frozen.engine.follow(primary.engine.endpoint, STEP_MS)).toEqual({ ok: true });
    await untilCaughtUp(frozen, primary);
  });

  test("a primary that hangs is unresponsive, and is asked only once", async () => {
    const { engine, member } = node(0);
    const pids = serverProcesses(member.dataDirectory);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      for (let round = 0; round < 2; round += 1) {
        const beganMs = performance.now();
        expect((await engine.observe()).report).toEqual({ state: "unresponsive" });
        expect(performance.now() - beganMs).toBeLessThan(PROBE_TIMEOUT_MS * 10);
      }
      expect(serverProcesses(member.dataDirectory)).toEqual(pids);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    await eventually("the thawed server answers", async () => (await engine.observe()).report.state === "running");
  });
  test("a replica that starts names no position before it has read its own log to the end", async () => {
    const [primary, replica] = [node(0), node(1)];
    const { engine, member } = replica;
    await untilCaughtUp(replica, primary);
    await withClient(replica, (client) => client.query("SELECT pg_wal_replay_pause()"));
    await withClient(primary, (client) =>
      client.query("CREATE TABLE bulk AS SELECT g, repeat('x', 400) FROM generate_series(1, 100000) g"),
    );
    await untilCaughtUp(replica, primary);
    expect(await timed("freeze with the replay paused", () => engine.freeze(STEP_MS))).toEqual({ ok: true });
    const before = await positionOf(replica);
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    killServer(member.dataDirectory);
    await eventually("it is dead", () => serverProcesses(member.dataDirectory).length === 0);
    const start = engine.start(STEP_MS);
    const named: Position[] = [];
    const unnamed: Observation[] = [];
    const endMs = performance.now() + STEP_MS;
    while (named.length < 10 && performance.now() < endMs) {
      const seen = await engine.observe();
      if (seen.position && seen.report.state === "running") named.push(seen.position);
      else if (seen.report.state === "running") unnamed.push(seen);
      await pause(1);
    }
    expect(await start).toEqual({ ok: true });
    expect(named.length).toBe(10);
    expect(named.filter((position) => comparePositions(position, before) !== "equal")).toEqual([]);
    expect(unnamed.length).toBeGreaterThan(0);
    expect(await engine.follow(primary.engine.endpoint, STEP_MS)).toEqual({ ok: true });
    await untilCaughtUp(replica, primary);
  });
});

describe("a killed primary", () => {
  test("is noticed by its own agent and by its replicas', at once", async () => {
    const [primary, ...replicas] = nodes as [Node, Node, Node];
    for (const replica of replicas) await untilCaughtUp(replica, primary);
    // The watches on the upstream are back since the freeze and the hang: they are what is measured.
    await eventually("both replicas watch", () =>
      withClient(primary, async (client) => {
        const { rows } = await client.query("SELECT FROM pg_stat_replication WHERE application_name LIKE '%-watch'");
        return rows.length === 2;
      }),
    );
    const writing = load(primary);
    await eventually("some rows", () => writing.acknowledged.length > 50);
    leftovers.push(sharedMemoryOf(primary.member.dataDirectory));
    const killedMs = performance.now();
    killServer(primary.member.dataDirectory);
    // Tens of milliseconds at rest; what a failover takes as a whole the benchmark measures.
    const lostMs = await eventually("server-lost", () => hintAfter(primary, "server-lost", killedMs));
    figures["server-lost after SIGKILL"] = lostMs - killedMs;
    for (const replica of replicas) {
      const upstreamMs = await eventually("upstream-lost", () => hintAfter(replica, "upstream-lost", killedMs));
      figures["upstream-lost after SIGKILL"] = upstreamMs - killedMs;
      const final = await replica.engine.observe();
      expect(final.receiver.streaming).toBe(false);
    }
    await writing.ended;
    expect(await timed("fence of a dead tree", () => primary.engine.fence(FENCE))).toEqual({ ok: true });
    expect((await primary.engine.observe()).report).toEqual({ state: "stopped" });
    expect(await timed("start after a crash", () => primary.engine.start(STEP_MS))).toEqual({ ok: true });
    expect((await primary.engine.observe()).report).toEqual({ state: "running", inRecovery: true, writable: false });
    const kept = await count(primary);
    expect(writing.acknowledged.filter((id) => !kept.has(id))).toEqual([]);
    for (const replica of replicas) {
      expect(["equal", "covers"]).toContain(comparePositions(await positionOf(primary), await positionOf(replica)));
    }
  });

  test("whose postmaster alone is dead starts again once its orphans are gone", async () => {
    const { engine, member } = node(0);
    const client = await connect(node(0));
    // A backend that is computing does not notice the death of its postmaster.
    const busy = client
      .query("SELECT count(*) AS busy FROM generate_series(1, 1000000) a WHERE md5(a::text) = ''")
      .then(
        () => "answered",
        () => "cut off",
      );
    await withClient(node(0), (other) =>
      eventually("a busy backend", async () => {
        const { rows } = await other.query(
          "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS busy%' AND pid <> pg_backend_pid()",
        );
        return rows.length === 1;
      }),
    );
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    process.kill(postmasterOf(member), "SIGKILL");
    await eventually("the server counts as stopped", async () => (await engine.observe()).report.state === "stopped");
    expect(serverProcesses(member.dataDirectory).length).toBeGreaterThan(0);
    expect(await timed("start after orphans", () => engine.start(STEP_MS))).toEqual({ ok: true });
    expect(["answered", "cut off"]).toContain(await busy);
    await client.end().catch(() => {});
  });
});

describe("a fence", () => {
  test("of a loaded primary leaves no process", async () => {
    const { engine, member } = node(0);
    expect(await engine.promote(FIRST_TIMELINE + 1, STEP_MS)).toEqual({ ok: true });
    const writers = Array.from({ length: 4 }, () => load(node(0)));
    await eventually("all of them write", () => writers.every(({ acknowledged }) => acknowledged.length > 10));
    const signal = join(member.dataDirectory, "standby.signal");
    rmSync(signal);
    expect(await timed("fence of a loaded primary", () => engine.fence(FENCE))).toEqual({ ok: true });
    expect(serverProcesses(member.dataDirectory)).toEqual([]);
    // Whoever starts it by hand starts it read-only, also where it was never adopted.
    expect(existsSync(signal)).toBe(true);
    await Promise.all(writers.map(({ ended }) => ended));
    expect(await engine.start(STEP_MS)).toEqual({ ok: true });
    const kept = await count(node(0));
    expect(writers.flatMap(({ acknowledged }) => acknowledged).filter((id) => !kept.has(id))).toEqual([]);
  });

  test("succeeds although the postmaster is stopped", async () => {
    const { engine, member } = node(0);
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    process.kill(postmasterOf(member), "SIGSTOP");
    expect(await timed("fence of a stopped postmaster", () => engine.fence(FENCE))).toEqual({ ok: true });
    expect(serverProcesses(member.dataDirectory)).toEqual([]);
  });

  test("calls off a start that is under way", async () => {
    const { engine, member } = node(0);
    const start = engine.start(STEP_MS);
    expect(await engine.fence(FENCE)).toEqual({ ok: true });
    expect(await start).toMatchObject({ ok: false });
    expect(serverProcesses(member.dataDirectory)).toEqual([]);
  });
});

test("a server of a version that nobody has tried is not started", async () => {
  const { engine, member } = node(0);
  const file = join(member.dataDirectory, "PG_VERSION");
  const version = readFileSync(file);
  writeFileSync(file, "19\n");
  expect(await engine.start(STEP_MS)).toMatchObject({ ok: false, code: "unsupported-version" });
  expect(serverProcesses(member.dataDirectory)).toEqual([]);
  writeFileSync(file, version);
});

describe("a primary that somebody else has started", () => {
  let child: ChildProcess;

  test("is adopted without its sessions noticing, and starts read-only from then on", async () => {
    const { engine, member } = node(0);
    rmSync(join(member.dataDirectory, "standby.signal"), { force: true });
    child = spawn(join(binDirectory, "postgres"), ["-D", member.dataDirectory], {
      stdio: "ignore",
      ...account,
      cwd: member.dataDirectory,
    });
    const gone = once(child, "exit");
    await eventually("it serves", async () => (await engine.observe()).report.state === "running");
    const session = await connect(node(0));
    await session.query("CREATE TEMPORARY TABLE mine AS SELECT 7 AS n");
    expect(await timed("adopt", () => engine.adopt(STEP_MS))).toEqual({ ok: true });
    expect((await session.query("SELECT n FROM mine")).rows).toEqual([{ n: 7 }]);
    expect((await session.query("SHOW restart_after_crash")).rows).toEqual([{ restart_after_crash: "off" }]);
    await session.query("INSERT INTO kept DEFAULT VALUES");
    expect(existsSync(join(member.dataDirectory, "standby.signal"))).toBe(true);
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    killServer(member.dataDirectory);
    await gone;
    await session.end().catch(() => {});
    expect(await engine.start(STEP_MS)).toEqual({ ok: true });
    expect((await engine.observe()).report).toEqual({ state: "running", inRecovery: true, writable: false });
    expect(await engine.adopt(STEP_MS)).toMatchObject({ ok: false, code: "in-recovery" });
  });

  test("passes the checks", async () => {
    const checks = await node(0).engine.check();
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(checks.map(({ name }) => name)).toContain("wal_level");
  });
});

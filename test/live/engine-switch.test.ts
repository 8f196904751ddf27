/** What a planned change of primaries asks of the PostgreSQL engine: the door, the gentle end, the last word of the log. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { comparePositions, lsnBytes } from "#shared/domain/position.ts";
import { fenceLimits } from "../../agent/engine/carry-out.ts";
import { parseControlFile } from "../../agent/engine/postgres/control-file.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { livingPostmaster, serverProcesses } from "../../agent/engine/postgres/processes.ts";
import { remainsOf, type Remains } from "../../agent/engine/postgres/settle.ts";
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
import { server } from "./servers.ts";

const STEP_MS = 30_000;
const FENCE = { fastMs: 500, killMs: 1_000, deadlineMs: 1_500 };
/** Much longer than anything that does not wait for it takes on a busy machine. */
const DRAIN = { drainMs: 30_000, heir: "nobody", deadlineMs: 40_000 };
const BEFORE_DRAIN_MS = 10_000;

interface Node {
  member: DemoMember;
  engine: PostgresEngine;
}

let account: Account;
let directory: string;
let binDirectory: string;
let primary: Node;
let replica: Node;
let timeline = 1;
const leftovers: SharedMemory[] = [];
const figures: Record<string, number> = {};

beforeAll(async () => {
  account = await demoAccount();
  directory = await demoDirectory("interrex-switch-");
  binDirectory = await server.prepare(directory);
  const ports = await freePorts(2);
  const members = await createCluster({
    binDirectory,
    directory,
    account,
    members: ports.map((port, index) => ({ name: `db${index + 1}`, port })),
  });
  [primary, replica] = members.map(makeNode) as [Node, Node];
});

afterAll(async () => {
  for (const { engine, member } of [primary, replica]) {
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    await engine.fence(FENCE);
    await engine.close();
  }
  for (const memory of leftovers) await removeLeftovers(memory);
  if (directory) await removeDirectory(directory);
  const shown = Object.entries(figures).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`);
  process.stdout.write(`engine-switch: ${shown.join(", ")}\n`);
});

function makeNode(member: DemoMember): Node {
  const engine = new PostgresEngine({
    dataDirectory: member.dataDirectory,
    binDirectory,
    socketDirectory: member.socketDirectory,
    listenHost: member.host,
    port: member.port,
    user: "postgres",
    database: "postgres",
    replicationUser: "postgres",
    passwordFile: null,
    applicationName: member.name,
    runAs: account,
    probeTimeoutMs: 500,
    logFile: member.logFile,
    log: pino({ level: "silent" }),
  });
  return { member, engine };
}

async function open({ engine }: Node): Promise<void> {
  timeline += 1;
  expect(await engine.promote(timeline, STEP_MS)).toEqual({ ok: true });
}

/** Makes the primary one that runs and accepts writes, however the test before has left it. */
async function reopened(): Promise<void> {
  await primary.engine.fence(FENCE);
  expect(await primary.engine.start(STEP_MS)).toEqual({ ok: true });
  await open(primary);
  await eventually("the replica streams", async () => (await replica.engine.observe()).receiver.streaming);
}

async function connect({ member }: Node): Promise<Client> {
  const client = new Client({ host: member.host, port: member.port, user: "postgres", database: "postgres" });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function isOpenTo(client: Client): Promise<boolean> {
  return client.query("SELECT 1").then(
    () => true,
    () => false,
  );
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

function postmasterOf({ member }: Node): number {
  const postmaster = livingPostmaster(member.dataDirectory);
  if (!postmaster) throw new Error(`${member.name} has no living postmaster`);
  return postmaster.pid;
}

/** Starts the server as an operator would; it ends with the test. */
function startByHand({ member }: Node): { gone: Promise<unknown> } {
  const child = spawn(join(binDirectory, "postgres"), ["-D", member.dataDirectory], {
    stdio: "ignore",
    cwd: directory,
    ...account,
  });
  return { gone: once(child, "exit") };
}

describe("a fence divides its time", () => {
  test("in thirds, of which the orderly stop gets the patience", () => {
    expect(fenceLimits({ patienceMs: 0, deadlineMs: 1_500 })).toEqual(FENCE);
    expect(fenceLimits({ patienceMs: 300, deadlineMs: 1_500 })).toEqual(FENCE);
    expect(fenceLimits({ patienceMs: 4_000, deadlineMs: 1_500 })).toEqual({
      fastMs: 4_000,
      killMs: 4_500,
      deadlineMs: 5_000,
    });
  });
});

describe("a cluster of two", () => {
  test("comes up, one of them writable and the other streaming from it", async () => {
    for (const { engine } of [primary, replica]) expect(await engine.start(STEP_MS)).toEqual({ ok: true });
    await open(primary);
    expect(await replica.engine.follow(primary.engine.endpoint, STEP_MS)).toEqual({ ok: true });
    await eventually("the replica streams", async () => (await replica.engine.observe()).receiver.streaming);
  });
});

describe("the control file", () => {
  test("of a torn write, another format or another size says nothing", () => {
    const bytes = readFileSync(join(primary.member.dataDirectory, "global", "pg_control"));
    expect(parseControlFile(bytes)).toMatchObject({ state: "other", systemId: expect.stringMatching(/^\d{19}$/) });
    for (const at of [0, 16, 40, 200, 291]) {
      const torn = Buffer.from(bytes);
      torn.writeUInt8(torn.readUInt8(at) ^ 0x40, at);
      expect(parseControlFile(torn)).toBeNull();
    }
    const later = Buffer.from(bytes);
    later.writeUInt32LE(2_500, 8);
    expect(parseControlFile(later)).toBeNull();
    expect(parseControlFile(bytes.subarray(0, 100))).toBeNull();
    expect(parseControlFile(Buffer.alloc(0))).toBeNull();
  });
});

describe("the switch door", () => {
  // What fails in one test must not shut the next one out.
  afterEach(async () => void (await primary.engine.reopen(STEP_MS)));

  test("of a server without clients is shut at once, and opens again", async () => {
    expect(await primary.engine.prepareStop(STEP_MS)).toEqual({ ok: true });
    expect(await timed("shut, idle", () => primary.engine.shut(DRAIN))).toEqual({ ok: true, value: "0" });
    expect(figures["shut, idle"]).toBeLessThan(BEFORE_DRAIN_MS);
    expect(await primary.engine.reopen(STEP_MS)).toEqual({ ok: true });
    const client = await connect(primary);
    await pause(50);
    expect(await isOpenTo(client)).toBe(true);
    await client.end();
  });

  test("ends idle sessions at once and lets the replica go on streaming, which confirms all that there is", async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect(primary)));
    const shut = () => primary.engine.shut({ ...DRAIN, heir: replica.member.name });
    expect(await timed("shut, 20 idle sessions", shut)).toEqual({ ok: true, value: "20 heir-has-all" });
    expect((await Promise.all(clients.map(isOpenTo))).filter(Boolean)).toEqual([]);
    const { receiver } = await replica.engine.observe();
    expect(receiver.streaming).toBe(true);
    const { report } = await primary.engine.observe();
    expect(report).toEqual({ state: "running", inRecovery: false, writable: true });
    // The door stays shut for newcomers.
    const sentHome = async () => {
      const client = await connect(primary).catch(() => null);
      if (client) await eventually("the newcomer is sent home", async () => !(await isOpenTo(client)));
    };
    await Promise.all(Array.from({ length: 5 }, sentHome));
    expect(await timed("reopen", () => primary.engine.reopen(STEP_MS))).toEqual({ ok: true });
    const welcome = await connect(primary);
    expect(await isOpenTo(welcome)).toBe(true);
    await welcome.end();
  });

  test("waits for a transaction, whose commit counts", async () => {
    const client = await connect(primary);
    await client.query("CREATE TABLE IF NOT EXISTS drained (id int)");
    await client.query("BEGIN");
    await client.query("INSERT INTO drained VALUES (1)");
    const shut = primary.engine.shut(DRAIN);
    await pause(100);
    await client.query("INSERT INTO drained VALUES (2)");
    await client.query("COMMIT");
    const beganMs = performance.now();
    expect(await shut).toEqual({ ok: true, value: "1" });
    figures["shut after the last commit"] = performance.now() - beganMs;
    expect(figures["shut after the last commit"]).toBeLessThan(BEFORE_DRAIN_MS);
    expect(await isOpenTo(client)).toBe(false);
    await primary.engine.reopen(STEP_MS);
    const other = await connect(primary);
    expect((await other.query("SELECT id FROM drained ORDER BY id")).rows).toEqual([{ id: 1 }, { id: 2 }]);
    await other.end();
  });

  test("ends a transaction that outlasts the drain, and says so to nobody as a success", async () => {
    const [idle, busy] = [await connect(primary), await connect(primary)];
    await idle.query("BEGIN");
    await idle.query("INSERT INTO drained VALUES (3)");
    const sleeping = busy.query("INSERT INTO drained SELECT 4 FROM pg_sleep(60)").then(
      () => "acknowledged",
      () => "cut off",
    );
    const beganMs = performance.now();
    expect(await primary.engine.shut({ drainMs: 300, heir: "nobody", deadlineMs: STEP_MS })).toEqual({
      ok: true,
      value: "2",
    });
    expect(performance.now() - beganMs).toBeGreaterThan(290);
    expect(await sleeping).toBe("cut off");
    await primary.engine.reopen(STEP_MS);
    const other = await connect(primary);
    expect((await other.query("SELECT FROM drained WHERE id > 2")).rowCount).toBe(0);
    await other.end();
  });

  test("a wait for a synchronous replica is ended, not cancelled into a success", async () => {
    const admin = await connect(primary);
    await admin.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    await admin.query("SELECT pg_reload_conf()");
    const client = await connect(primary);
    await eventually("it is in force", async () => {
      const { rows } = await client.query<{ names: string }>(
        "SELECT current_setting('synchronous_standby_names') AS names",
      );
      return rows[0]?.names === "nobody";
    });
    const waiting = client.query("INSERT INTO drained VALUES (5)").then(
      () => "acknowledged",
      () => "cut off",
    );
    await eventually("it waits", async () => {
      const { rowCount } = await admin.query("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
      return rowCount === 1;
    });
    expect(await primary.engine.shut({ drainMs: 200, heir: "nobody", deadlineMs: STEP_MS })).toMatchObject({
      ok: true,
    });
    expect(await waiting).toBe("cut off");
    await primary.engine.reopen(STEP_MS);
    const other = await connect(primary);
    await other.query("ALTER SYSTEM RESET synchronous_standby_names");
    await other.query("SELECT pg_reload_conf()");
    await other.end();
  });

  test("is shut against a storm of clients that come back at once", async () => {
    const calm = new AbortController();
    let came = 0;
    const storm = Array.from({ length: 4 }, async () => {
      while (!calm.signal.aborted) {
        came += 1;
        const client = await connect(primary).catch(() => null);
        if (client === null) continue;
        while (!calm.signal.aborted && (await isOpenTo(client)));
        await client.end().catch(() => {});
      }
    });
    await eventually("all are in", () => came >= 4);
    const outcome = await timed("shut under a storm", () =>
      primary.engine.shut({ drainMs: 500, heir: "nobody", deadlineMs: STEP_MS }),
    );
    calm.abort();
    await Promise.all(storm);
    await primary.engine.reopen(STEP_MS);
    expect(outcome).toMatchObject({ ok: true });
  });

  test("opens by itself at its deadline", async () => {
    const deadlineMs = 2_000;
    expect(await primary.engine.shut({ drainMs: 100, heir: "nobody", deadlineMs })).toMatchObject({ ok: true });
    await pause(deadlineMs);
    // Who comes while it is shut is sent home a moment later.
    await eventually("somebody may stay", async () => {
      const client = await connect(primary).catch(() => null);
      await pause(200);
      const mayStay = client !== null && (await isOpenTo(client));
      await client?.end().catch(() => {});
      return mayStay;
    });
  });

  test("that cannot be shut in time is open again", async () => {
    const client = await connect(primary);
    await client.query("BEGIN");
    expect(await primary.engine.shut({ drainMs: 5_000, heir: "nobody", deadlineMs: 200 })).toMatchObject({
      ok: false,
      code: "sessions-left",
    });
    const other = await connect(primary);
    await pause(50);
    expect(await isOpenTo(other)).toBe(true);
    await client.query("COMMIT");
    for (const each of [client, other]) await each.end();
  });

  test("obeys the newest word", async () => {
    const client = await connect(primary);
    await client.query("BEGIN");
    const first = primary.engine.shut(DRAIN);
    await pause(20);
    expect(await primary.engine.reopen(STEP_MS)).toEqual({ ok: true });
    expect(await first).toMatchObject({ ok: false, code: "called-off" });
    const second = primary.engine.shut({ drainMs: 0, heir: "nobody", deadlineMs: STEP_MS });
    expect(await second).toMatchObject({ ok: true, value: "1" });
    expect(await primary.engine.reopen(STEP_MS)).toEqual({ ok: true });
    await client.end().catch(() => {});
  });

  test("ends with its server", async () => {
    const client = await connect(primary);
    await client.query("BEGIN");
    const fenced = primary.engine.shut(DRAIN);
    await pause(20);
    expect(await primary.engine.fence(FENCE)).toEqual({ ok: true });
    expect(await fenced).toMatchObject({ ok: false, code: "called-off" });
    expect(await primary.engine.shut(DRAIN)).toMatchObject({ ok: false, code: "stopped" });
    await reopened();
    const other = await connect(primary);
    await other.query("BEGIN");
    const lost = primary.engine.shut(DRAIN);
    await pause(20);
    leftovers.push(sharedMemoryOf(primary.member.dataDirectory));
    killServer(primary.member.dataDirectory);
    expect(await lost).toMatchObject({ ok: false, code: "stopped" });
    await reopened();
    const welcome = await connect(primary);
    await pause(50);
    expect(await isOpenTo(welcome)).toBe(true);
    for (const each of [client, other, welcome]) await each.end().catch(() => {});
  });

  test("lets the agent itself come and go", async () => {
    expect(await primary.engine.shut({ drainMs: 0, heir: "nobody", deadlineMs: STEP_MS })).toMatchObject({ ok: true });
    for (let round = 0; round < 30; round += 1) {
      expect(await primary.engine.prepareStop(STEP_MS)).toEqual({ ok: true });
      await pause(round % 5);
    }
    expect(await primary.engine.reopen(STEP_MS)).toEqual({ ok: true });
  });

  test("goes on after somebody has ended its own connection", async () => {
    expect(await primary.engine.shut(DRAIN)).toMatchObject({ ok: true });
    const admin = await connect(primary).catch(() => null);
    // From the replica's side nobody can reach in: the signal comes from the host.
    await admin?.end().catch(() => {});
    const own = serverProcesses(primary.member.dataDirectory).filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("[local]"),
    );
    for (const pid of own) process.kill(pid, "SIGTERM");
    await pause(100);
    const newcomer = await connect(primary).catch(() => null);
    await pause(50);
    expect(newcomer === null || !(await isOpenTo(newcomer))).toBe(true);
    expect(await primary.engine.reopen(STEP_MS)).toEqual({ ok: true });
  });
});

describe("an upstream is asked", () => {
  test("whether it accepts writes", async () => {
    const { engine } = replica;
    const writable = await timed("ask upstream", () => engine.askUpstream(primary.engine.endpoint, 2_000));
    expect(writable).toEqual({ ok: true, value: "writable" });
    expect(await engine.askUpstream(replica.engine.endpoint, 2_000)).toEqual({ ok: true, value: "read-only" });
  });

  test("and one that hangs, is not there, or only takes connections gives no answer in time", async () => {
    const pids = serverProcesses(primary.member.dataDirectory);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      const beganMs = performance.now();
      expect(await replica.engine.askUpstream(primary.engine.endpoint, 200)).toMatchObject({
        ok: true,
        value: "no-answer",
      });
      expect(performance.now() - beganMs).toBeLessThan(STEP_MS);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    const [port] = (await freePorts(1)) as [number];
    expect(await replica.engine.askUpstream({ host: "127.0.0.1", port }, 200)).toMatchObject({ value: "no-answer" });
    const mute = createServer(() => {}).listen(port, "127.0.0.1");
    await once(mute, "listening");
    expect(await replica.engine.askUpstream({ host: "127.0.0.1", port }, 200)).toMatchObject({ value: "no-answer" });
    mute.close();
  });
});

describe("the last word of a stopped server", () => {
  test("is its shutdown checkpoint, which the replica has", async () => {
    await eventually("the primary answers", async () => (await primary.engine.observe()).report.state === "running");
    expect((await primary.engine.observe()).shutdownLsn).toBeNull();
    expect(await timed("prepare the stop", () => primary.engine.prepareStop(STEP_MS))).toEqual({ ok: true });
    expect(await primary.engine.shut(DRAIN)).toMatchObject({ ok: true });
    const before = await primary.engine.observe();
    const stop = primary.engine.fence(fenceLimits({ patienceMs: 3_000, deadlineMs: 1_500 }));
    expect(await timed("stop after the door", () => stop)).toEqual({ ok: true });
    const stopped = await primary.engine.observe();
    expect(stopped.report).toEqual({ state: "stopped" });
    expect(stopped.shutdownLsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(stopped.position).toMatchObject({ timeline, lsn: stopped.shutdownLsn, history: before.position?.history });
    expect(lsnBytes(stopped.shutdownLsn ?? "0/0")).toBeGreaterThanOrEqual(lsnBytes(before.position?.lsn ?? "F/0"));
    const heir = await eventually("the replica's stream has ended", async () => {
      const seen = await replica.engine.observe();
      return seen.receiver.streaming ? null : seen;
    });
    if (!heir.position || !stopped.position) throw new Error("no position");
    expect(comparePositions(heir.position, stopped.position)).toBe("covers");
  });

  test("is seen by an agent that comes later, and is gone when the server runs", async () => {
    const known = await primary.engine.observe();
    const later = makeNode(primary.member).engine;
    const { position, systemId, shutdownLsn } = await later.observe();
    await later.close();
    expect({ position, systemId, shutdownLsn }).toEqual({
      position: known.position,
      systemId: known.systemId,
      shutdownLsn: known.shutdownLsn,
    });
    expect(await primary.engine.start(STEP_MS)).toEqual({ ok: true });
    expect((await primary.engine.observe()).shutdownLsn).toBeNull();
  });

  test("is not claimed of a standby that was stopped, nor of a crash", async () => {
    const before = await primary.engine.observe();
    expect(await primary.engine.fence(FENCE)).toEqual({ ok: true });
    const stopped = await primary.engine.observe();
    const still = { report: { state: "stopped" }, shutdownLsn: null, tail: null, position: before.position };
    expect(stopped).toMatchObject(still);
    await reopened();
    leftovers.push(sharedMemoryOf(primary.member.dataDirectory));
    killServer(primary.member.dataDirectory);
    await eventually("it is dead", () => serverProcesses(primary.member.dataDirectory).length === 0);
    expect(await primary.engine.observe()).toMatchObject({ report: { state: "stopped" }, shutdownLsn: null });
    await reopened();
  });
});

describe("the gentle end", () => {
  test("of a server whose processes are all gone is nothing to wait for", async () => {
    leftovers.push(sharedMemoryOf(primary.member.dataDirectory));
    killServer(primary.member.dataDirectory);
    expect(await timed("settle, all dead", () => primary.engine.settle(STEP_MS))).toEqual({ ok: true });
    expect(serverProcesses(primary.member.dataDirectory)).toEqual([]);
  });

  test("ends the orphans of a dead postmaster", async () => {
    await reopened();
    const { member, engine } = primary;
    const client = await connect(primary);
    const sql = "SELECT count(*) AS busy FROM generate_series(1, 100000000) a WHERE md5(a::text) = ''";
    const busy = client.query(sql).then(
      () => "answered",
      () => "cut off",
    );
    const other = await connect(primary);
    await eventually("a busy backend", async () => {
      const { rowCount } = await other.query(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS busy%' AND pid <> pg_backend_pid()",
      );
      return rowCount === 1;
    });
    leftovers.push(sharedMemoryOf(member.dataDirectory));
    process.kill(postmasterOf(primary), "SIGKILL");
    await eventually("the postmaster is dead", () => livingPostmaster(member.dataDirectory) === null);
    expect(serverProcesses(member.dataDirectory).length).toBeGreaterThan(0);
    expect(await timed("settle, orphans", () => engine.settle(STEP_MS))).toEqual({ ok: true });
    expect(serverProcesses(member.dataDirectory)).toEqual([]);
    expect(await busy).toBe("cut off");
  });

  test("leaves a server alone that was started again, read-only", async () => {
    const { member, engine } = primary;
    // As an operator's restart leaves no time between.
    const byHand = startByHand(primary);
    expect(await timed("settle, restarted", () => engine.settle(STEP_MS))).toEqual({ ok: true });
    await eventually("it runs", async () => (await engine.observe()).report.state === "running");
    const before = serverProcesses(member.dataDirectory);
    expect(await timed("settle, running", () => engine.settle(STEP_MS))).toEqual({ ok: true });
    const { postmaster, orphans, strangers } = remainsOf(member.dataDirectory) as Remains;
    expect({ orphans, strangers }).toEqual({ orphans: [], strangers: [] });
    expect(before).toContain(postmaster?.pid);
    expect(serverProcesses(member.dataDirectory)).toEqual(expect.arrayContaining([postmaster?.pid]));
    expect((await engine.observe()).report).toMatchObject({ inRecovery: true });
    await engine.fence(FENCE);
    await byHand.gone;
  });

  test("does not vouch for one that was started writable, and does not touch it", async () => {
    const { member, engine } = primary;
    rmSync(join(member.dataDirectory, "standby.signal"), { force: true });
    const byHand = startByHand(primary);
    await eventually("it writes", async () => {
      const { report } = await engine.observe();
      return report.state === "running" && !report.inRecovery;
    });
    const pid = postmasterOf(primary);
    expect(await engine.settle(STEP_MS)).toMatchObject({ ok: false, code: "writable" });
    // The file alone makes no standby of a server that has long been started.
    writeFileSync(join(member.dataDirectory, "standby.signal"), "");
    expect(await engine.settle(STEP_MS)).toMatchObject({ ok: false, code: "writable" });
    expect(postmasterOf(primary)).toBe(pid);
    expect(await engine.fence(FENCE)).toEqual({ ok: true });
    await byHand.gone;
    await reopened();
  });

  test("does not touch a living tree whose lock file is lost", async () => {
    const { member, engine } = primary;
    const path = join(member.dataDirectory, "postmaster.pid");
    const lock = readFileSync(path);
    const { uid, gid } = statSync(path);
    const pid = postmasterOf(primary);
    const client = await connect(primary);
    rmSync(path);
    try {
      expect(await engine.settle(200)).toMatchObject({ ok: false, code: "not-in-time" });
      const { orphans, strangers } = remainsOf(member.dataDirectory) as Remains;
      expect(orphans).toEqual([]);
      expect(strangers).toContain(pid);
    } finally {
      writeFileSync(path, lock, { mode: 0o600 });
      chownSync(path, uid, gid);
    }
    expect(await isOpenTo(client)).toBe(true);
    await client.end();
  });

  test("waits no longer than its deadline for one that hangs", async () => {
    const { member, engine } = primary;
    const pids = serverProcesses(member.dataDirectory);
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    try {
      const beganMs = performance.now();
      expect(await engine.settle(300)).toMatchObject({ ok: false, code: "not-in-time" });
      expect(performance.now() - beganMs).toBeLessThan(STEP_MS);
    } finally {
      for (const pid of pids) process.kill(pid, "SIGCONT");
    }
    expect(serverProcesses(member.dataDirectory)).toEqual(expect.arrayContaining(pids.slice(0, 1)));
  });
});

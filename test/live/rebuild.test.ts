/**
 * A former primary that has gone its own way, laid out anew after the one that reigns: by PostgreSQL's own programs where
 * Debian's version 15 is, by the demo's command on the PostgreSQL from npm.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LogPoint } from "#shared/domain/messages.ts";
import { commonPoint, type Position } from "#shared/domain/position.ts";
import type { EngineOutcome } from "../../agent/engine/engine.ts";
import { fenceServer, killServer } from "../../agent/engine/postgres/fence.ts";
import type { RebuildOptions } from "../../agent/engine/postgres/options.ts";
import { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { serverProcesses } from "../../agent/engine/postgres/processes.ts";
import { rewindersOf } from "../../agent/engine/postgres/rebuild-rewind.ts";
import {
  createCluster,
  demoAccount,
  demoDirectory,
  freePorts,
  preparePostgres,
  removeDirectory,
  removeLeftovers,
  sharedMemoryOf,
  type Account,
  type DemoMember,
  type SharedMemory,
} from "../../demo/postgres.ts";
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";

const DEBIAN = "/usr/lib/postgresql/15/bin";
const CLONE = new URL("../../demo/clone.mjs", import.meta.url).pathname;
const BASEBACKUP = `"$INTERREX_BIN_DIRECTORY/pg_basebackup" -h "$INTERREX_SOURCE_HOST" -p "$INTERREX_SOURCE_PORT" -U "$INTERREX_SOURCE_USER" -D "$INTERREX_TARGET_DIRECTORY" -X stream -c fast`;
const STEP_MS = 30_000;
const REBUILD_MS = 60_000;
const LOOK = { deadlineMs: STEP_MS, everyMs: 5 };
const FENCE = { fastMs: 3_000, killMs: 4_000, deadlineMs: 6_000 };

if (process.env["CI"] && !existsSync(DEBIAN))
  throw new Error(`${DEBIAN} is not there: install postgresql-15, which .ci/run does`);

let account: Account;
let directory: string;
let scene: Scene;

beforeAll(async () => {
  account = await demoAccount();
});

/** Two members whose logs have parted: the former primary holds rows 100 and 101, the one that reigns 200 and 201. */
interface Scene {
  binDirectory: string;
  old: DemoMember;
  reigning: DemoMember;
  keepDirectory: string;
  engines: PostgresEngine[];
  memory: SharedMemory[];
  fork: LogPoint;
}

function engineFor(member: DemoMember, binDirectory: string, rebuild: RebuildOptions | null): PostgresEngine {
  return new PostgresEngine({
    dataDirectory: member.dataDirectory,
    binDirectory,
    socketDirectory: member.socketDirectory,
    listenHost: member.host,
    port: member.port,
    user: "postgres",
    database: "postgres",
    replicationUser: "replicator",
    passwordFile: null,
    applicationName: member.name,
    runAs: account,
    probeTimeoutMs: 1_000,
    logFile: member.logFile,
    log: pino({ level: "silent" }),
    rebuild,
  });
}

function engineOfOld(rebuild: RebuildOptions | null): PostgresEngine {
  const engine = engineFor(scene.old, scene.binDirectory, rebuild);
  scene.engines.push(engine);
  return engine;
}

async function makeScene(binDirectory: string): Promise<Scene> {
  const ports = await freePorts(2);
  const plan = ports.map((port, index) => ({ name: `db${index + 1}`, port }));
  const [old, reigning] = (await createCluster({ binDirectory, directory, account, members: plan })) as [
    DemoMember,
    DemoMember,
  ];
  appendFileSync(join(old.dataDirectory, "postgresql.conf"), "work_mem = '7MB'\n");
  const engines = [old, reigning].map((member) => engineFor(member, binDirectory, null)) as [
    PostgresEngine,
    PostgresEngine,
  ];
  const keepDirectory = join(directory, "kept");
  const made: Scene = {
    binDirectory,
    old,
    reigning,
    keepDirectory,
    engines,
    memory: [],
    fork: { timeline: 0, lsn: "" },
  };
  const [first, second] = engines;
  for (const engine of engines) mustBeOk(await engine.start(STEP_MS));
  mustBeOk(await first.promote(2, STEP_MS));
  await run(old, "CREATE ROLE replicator REPLICATION SUPERUSER LOGIN", "CREATE TABLE kept (id int)");
  await run(old, "INSERT INTO kept VALUES (1), (2)");
  mustBeOk(await second.follow(first.endpoint, STEP_MS));
  await untilCount(reigning, 2);
  mustBeOk(await second.freeze(STEP_MS));
  await run(old, "INSERT INTO kept VALUES (100)", "INSERT INTO kept VALUES (101)");
  mustBeOk(await second.promote(3, STEP_MS));
  await run(reigning, "INSERT INTO kept VALUES (200)", "INSERT INTO kept VALUES (201)");
  const positions = await Promise.all(engines.map(async (engine) => (await engine.observe()).position as Position));
  made.fork = commonPoint(positions[0] as Position, positions[1] as Position) as LogPoint;
  return made;
}

/** The former primary as its agent finds it: down after a crash, or stopped and started read-only since. */
async function bringDown(how: "crashed" | "read-only"): Promise<void> {
  const { old, memory, engines } = scene;
  memory.push(sharedMemoryOf(old.dataDirectory));
  const engine = engines[0] as PostgresEngine;
  if (how === "crashed") {
    killServer(old.dataDirectory);
    await until("its end", LOOK, () => {
      const left = serverProcesses(old.dataDirectory);
      return left.length === 0 ? { found: true } : { missing: left.join(", ") };
    });
  } else {
    mustBeOk(await engine.fence(FENCE));
    mustBeOk(await engine.start(STEP_MS));
  }
}

function mustBeOk(outcome: EngineOutcome): void {
  expect(outcome).toMatchObject({ ok: true });
}

async function run({ port }: DemoMember, ...statements: string[]): Promise<void> {
  await withSession({ port, deadlineMs: STEP_MS }, async (client) => {
    for (const sql of statements) await client.query(sql);
  });
}

function rowsOf({ port }: DemoMember): Promise<number[]> {
  return withSession({ port, deadlineMs: STEP_MS }, async (client) => {
    const { rows } = await client.query<{ id: number }>("SELECT id FROM kept ORDER BY id");
    return rows.map(({ id }) => id);
  });
}

async function untilCount(member: DemoMember, count: number): Promise<void> {
  await until(`${count} rows on ${member.name}`, LOOK, async () => {
    const rows = await rowsOf(member).catch(() => []);
    return rows.length === count ? { found: true } : { missing: `${rows.length}` };
  });
}

/** Every path of the data directory with what is in it; what a start or a stop of the server writes is left out. */
function listing(root: string, under = ""): string[] {
  const left = /^(postmaster\.(pid|opts)|pg_stat_tmp|pg_stat|pg_subtrans|global\/pg_control|pg_logical)$/;
  return readdirSync(join(root, under))
    .toSorted()
    .flatMap((name) => {
      const path = join(under, name);
      if (left.test(path)) return [];
      const stat = lstatSync(join(root, path));
      if (stat.isDirectory()) return [path, ...listing(root, path)];
      return [
        `${path} ${createHash("sha256")
          .update(readFileSync(join(root, path)))
          .digest("hex")}`,
      ];
    });
}

/** It starts read-only, follows, streams, has the rows of the one that reigns, and its own configuration. */
async function expectJoined(engine: PostgresEngine): Promise<void> {
  const { old, reigning } = scene;
  expect((await engine.observe()).report).toEqual({ state: "stopped" });
  expect(existsSync(join(old.dataDirectory, "standby.signal"))).toBe(true);
  mustBeOk(await engine.start(STEP_MS));
  const seen = await engine.observe();
  expect(seen.report).toEqual({ state: "running", inRecovery: true, writable: false });
  expect(seen.receiver).toEqual({ streaming: false, configured: null });
  expect(seen.position).toMatchObject({ timeline: 3 });
  await run(reigning, "INSERT INTO kept VALUES (300)");
  mustBeOk(await engine.follow({ host: reigning.host, port: reigning.port }, STEP_MS));
  await until("the stream", LOOK, async () => {
    const { receiver } = await engine.observe();
    return receiver.streaming ? { found: true } : { missing: "none" };
  });
  await untilCount(old, 5);
  expect(await rowsOf(old)).toEqual([1, 2, 200, 201, 300]);
  const settings = await withSession({ port: old.port, deadlineMs: STEP_MS }, async (client) => {
    const { rows } = await client.query("SELECT current_setting('work_mem') AS memory, inet_server_port() AS port");
    return rows[0] as unknown;
  });
  expect(settings).toEqual({ memory: "7MB", port: old.port });
}

function keptLogs(): string[] {
  const { keepDirectory } = scene;
  return existsSync(keepDirectory) ? readdirSync(keepDirectory).map((name) => join(keepDirectory, name)) : [];
}

function expectKept(): string {
  const [kept = "", ...others] = keptLogs();
  expect(others).toEqual([]);
  const { timeline, lsn } = scene.fork;
  expect(basename(kept)).toMatch(new RegExp(`^\\d{8}T\\d{9}Z-${timeline}-${lsn.replace("/", "-")}$`));
  const told = readFileSync(join(kept, "README"), "utf8");
  expect(told).toContain(`fork               ${lsn} on timeline ${timeline}`);
  expect(readdirSync(join(kept, "wal"))).toContain("00000002.history");
  expect(readdirSync(join(kept, "configuration"))).toContain("postgresql.conf");
  return kept;
}

/** Both transactions that only the former primary had, read from the kept copy alone. */
function expectTransactionsIn(kept: string): void {
  const records = readFileSync(join(kept, "records-of-timeline-2.txt"), "utf8");
  expect(records.match(/desc: INSERT /g)).toHaveLength(2);
  expect(records.match(/desc: COMMIT /g)).toHaveLength(2);
}

async function rebuild(engine: PostgresEngine, deadlineMs = REBUILD_MS): Promise<EngineOutcome> {
  const { host, port } = scene.reigning;
  const beganMs = performance.now();
  const outcome = await engine.rebuild({ host, port }, scene.fork, deadlineMs);
  process.stdout.write(`rebuild: ${(performance.now() - beganMs).toFixed(0)} ms\n`);
  return outcome;
}

async function clearScene(): Promise<void> {
  for (const { dataDirectory } of [scene.old, scene.reigning]) scene.memory.push(sharedMemoryOf(dataDirectory));
  for (const { dataDirectory } of [scene.old, scene.reigning]) mustBeOk(await fenceServer(dataDirectory, FENCE));
  for (const engine of scene.engines) await engine.close();
  for (const memory of scene.memory) await removeLeftovers(memory);
}

describe.skipIf(!existsSync(DEBIAN))(`with PostgreSQL 15 of ${DEBIAN} (skipped where it is not installed)`, () => {
  beforeEach(async () => {
    directory = await demoDirectory("interrex-rebuild-");
    scene = await makeScene(DEBIAN);
  });
  afterEach(async () => {
    await clearScene();
    await removeDirectory(directory);
  });

  const rewinding = (): RebuildOptions => ({ kind: "rewind", keepDirectory: scene.keepDirectory });
  const cloning = (command = BASEBACKUP): RebuildOptions => ({
    kind: "clone",
    keepDirectory: scene.keepDirectory,
    command,
  });

  test.each(["read-only", "crashed"] as const)("a %s former primary is rewound, its log kept aside", async (how) => {
    await bringDown(how);
    const engine = engineOfOld(rewinding());
    const outcome = await rebuild(engine);
    expect(outcome).toMatchObject({ ok: true, detail: expect.stringContaining("pg_rewind") as string });
    const kept = expectKept();
    expectTransactionsIn(kept);
    expect(outcome.detail).toContain(kept);
    expect(readdirSync(kept)).not.toContain("rewind-begun");
    await expectJoined(engine);
  });

  test.each(["read-only", "crashed"] as const)("a %s former primary is cloned, and the old one kept", async (how) => {
    await bringDown(how);
    const engine = engineOfOld(cloning());
    const outcome = await rebuild(engine);
    const home = dirname(scene.old.dataDirectory);
    const diverged = readdirSync(home).filter((name) => name.startsWith("data.diverged-"));
    expect(diverged).toHaveLength(1);
    expect(outcome).toMatchObject({ ok: true, detail: expect.stringContaining(diverged[0] ?? "-") as string });
    expect(readdirSync(home).filter((name) => name.includes(".clone-"))).toEqual([]);
    expectTransactionsIn(expectKept());
    await expectJoined(engine);
  });
});

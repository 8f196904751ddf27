/**
 * A former primary that has gone its own way, laid out anew after the one that reigns: by PostgreSQL's own programs where
 * they are installed, by the demo's command on the PostgreSQL from npm.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, lstatSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { LogPoint } from "#shared/domain/messages.ts";
import { commonPoint, type Position } from "#shared/domain/position.ts";
import type { EngineOutcome } from "../../agent/engine/engine.ts";
import { fenceServer, killServer } from "../../agent/engine/postgres/fence.ts";
import type { RebuildOptions } from "../../agent/engine/postgres/options.ts";
import { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { lockData } from "../../agent/lock.ts";
import { serverProcesses } from "../../agent/engine/postgres/processes.ts";
import { rewindersOf } from "../../agent/engine/postgres/rebuild-rewind.ts";
import {
  HEAD_BYTES,
  isWritten,
  parseHead,
  parseSegment,
  segmentsFrom,
  startOf,
  type Segment,
  type SegmentHead,
} from "../../agent/engine/postgres/rebuild-segments.ts";
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
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";
import { programOf, server, withPrograms } from "./servers.ts";

const CLONE = new URL("../../demo/clone.mjs", import.meta.url).pathname;
const BASEBACKUP = `"$INTERREX_BIN_DIRECTORY/pg_basebackup" -h "$INTERREX_SOURCE_HOST" -p "$INTERREX_SOURCE_PORT" -U "$INTERREX_SOURCE_USER" -D "$INTERREX_TARGET_DIRECTORY" -X stream -c fast`;
const STEP_MS = 30_000;
const REBUILD_MS = 60_000;
const LOOK = { deadlineMs: STEP_MS, everyMs: 5 };
const FENCE = { fastMs: 3_000, killMs: 4_000, deadlineMs: 6_000 };

/** Where pg_rewind and the programs beside it are; null where they are not. */
const programs = programOf(withPrograms, "pg_rewind") && withPrograms.programs;

if (process.env["CI"] && programs === null)
  throw new Error(`${withPrograms.programs} is not there: install postgresql-15, which .ci/run does`);

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

function engineFor(member: DemoMember, binDirectory: string, allowed: RebuildOptions | null): PostgresEngine {
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
    rebuild: allowed,
  });
}

function engineOfOld(allowed: RebuildOptions | null): PostgresEngine {
  const engine = engineFor(scene.old, scene.binDirectory, allowed);
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
  // Up to version 15 pg_rewind goes by the last checkpoint's timeline: without one it misses the reign of `old`.
  await run(old, "CHECKPOINT");
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

/** The former primary as its agent finds it: down after a crash or in good order, or started read-only since. */
async function bringDown(how: "crashed" | "stopped" | "read-only"): Promise<void> {
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
    if (how === "read-only") mustBeOk(await engine.start(STEP_MS));
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

/** Every path of a data directory with what is in it. */
function listing(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((path) => {
      const whole = join(root, path);
      if (!lstatSync(whole).isFile()) return path;
      return `${path} ${createHash("sha256").update(readFileSync(whole)).digest("hex")}`;
    });
}

/** Refused by this code, the data directory as it was, and nothing left beside it or among the kept logs. */
async function expectUntouched(engine: PostgresEngine, code: string, deadlineMs?: number): Promise<string> {
  const { dataDirectory } = scene.old;
  const before = { data: listing(dataDirectory), home: readdirSync(dirname(dataDirectory)) };
  const outcome = await rebuild(engine, deadlineMs);
  expect(outcome).toMatchObject({ ok: false, code });
  expect({ data: listing(dataDirectory), home: readdirSync(dirname(dataDirectory)) }).toEqual(before);
  expect(keptLogs()).toEqual([]);
  return outcome.detail ?? "";
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

/** Writes until it is told to stop; returns how often. */
function writeUntil({ port }: DemoMember, signal: AbortSignal): Promise<number> {
  return withSession({ port, deadlineMs: REBUILD_MS }, async (client) => {
    let count = 0;
    for (; !signal.aborted; count += 1) await client.query("INSERT INTO load VALUES (repeat('y', 5000))");
    return count;
  });
}

/** SIGKILL to the real run, not the dry one, once it has written something. */
async function killRewindAtWork(dataDirectory: string): Promise<void> {
  await until("pg_rewind at work", { deadlineMs: STEP_MS, everyMs: 1 }, () => {
    for (const pid of rewindersOf(dataDirectory)) {
      if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--dry-run")) continue;
      const written = Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);
      if (written < 1_000_000) continue;
      process.kill(pid, "SIGKILL");
      return { found: pid };
    }
    return { missing: "not seen" };
  });
}

async function clearScene(): Promise<void> {
  for (const { dataDirectory } of [scene.old, scene.reigning]) scene.memory.push(sharedMemoryOf(dataDirectory));
  for (const { dataDirectory } of [scene.old, scene.reigning]) mustBeOk(await fenceServer(dataDirectory, FENCE));
  for (const engine of scene.engines) await engine.close();
  for (const memory of scene.memory) await removeLeftovers(memory);
}

describe("which segments hold the log from a fork on", () => {
  const SEGMENT_BYTES = 16 * 1024 * 1024;
  const named = (...files: string[]) => files.map((file) => parseSegment(file, SEGMENT_BYTES) as Segment);
  const filesFrom = (files: string[], lsn: string, end: string | null = null) => {
    const range = { fork: { timeline: 2, lsn }, end, segmentBytes: SEGMENT_BYTES };
    const chosen = segmentsFrom(named(...files), range);
    return "found" in chosen ? chosen.found.map(({ file }) => file) : startOf(missing(chosen.missing), SEGMENT_BYTES);
  };
  const missing = (number: bigint): Segment => ({ file: "", timeline: 2, number });
  const [second, third, fourth] = ["000000020000000000000002", "000000020000000000000003", "000000020000000000000004"];

  test("from the one that holds the fork to the last, and none of an earlier timeline", () => {
    expect(filesFrom([fourth, third, second, "000000010000000000000003"], "0/3000060")).toEqual([third, fourth]);
  });

  test("of every later timeline of its own, a timeline's last piece too", () => {
    const later = ["000000020000000000000003.partial", "000000040000000000000003", "000000040000000000000004"];
    expect(filesFrom([...later, second], "0/2000028")).toEqual([second, ...later]);
  });

  test.each([
    ["the first", [fourth], "0/3000060", null, "0/3000000"],
    ["one in between", [second, fourth], "0/2000028", null, "0/3000000"],
    ["the last", [second, third], "0/2000028", "0/4000028", "0/4000000"],
  ])("%s that is missing is named", (_, files, fork, end, expected) => {
    expect(filesFrom(files, fork, end)).toBe(expected);
  });

  test("a log that ends with a segment has not begun the next", () => {
    expect(filesFrom([second, third], "0/2000028", "0/4000000")).toEqual([second, third]);
  });

  test("numbers go on over four gigabytes, whatever the segment's size", () => {
    const [before, after] = named("0000000200000000000000FF", "000000020000000100000000") as [Segment, Segment];
    expect(after.number - before.number).toBe(1n);
    expect(startOf(after, SEGMENT_BYTES)).toBe("1/0");
    expect(parseSegment("000000020000000100000001", 1024 ** 3)?.number).toBe(5n);
    expect(parseSegment("00000002.history", SEGMENT_BYTES)).toBeNull();
  });

  test("a segment that waits to be used again still says where it came from, and does not count", () => {
    const page = Buffer.alloc(HEAD_BYTES);
    expect(parseHead(page)).toBeNull();
    page.writeUInt16LE(0xd110, 0);
    page.writeUInt16LE(0x0002, 2);
    page.writeBigUInt64LE(0x3000000n, 8);
    page.writeUInt32LE(SEGMENT_BYTES, 32);
    const head = parseHead(page) as SegmentHead;
    const [whole, recycled] = named(third, "000000020000000000000009") as [Segment, Segment];
    expect([isWritten(whole, head), isWritten(recycled, head)]).toEqual([true, false]);
  });
});

describe.skipIf(programs === null)("with pg_rewind and pg_basebackup (skipped where they are not installed)", () => {
  beforeEach(async () => {
    directory = await demoDirectory("interrex-rebuild-");
    scene = await makeScene(await withPrograms.prepare(directory));
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
    // Whoever comes to it now finds it taken, as the old one was.
    expect(lockData(scene.old.dataDirectory)).toBe(false);
  });

  test.each(["rewind", "clone"] as const)("a %s succeeds while the primary is written to", async (kind) => {
    await bringDown("read-only");
    const { reigning } = scene;
    await run(reigning, "CREATE TABLE load (filler text)");
    const load = new AbortController();
    const ended = writeUntil(reigning, load.signal);
    const engine = engineOfOld(kind === "rewind" ? rewinding() : cloning());
    const outcome = await rebuild(engine);
    load.abort();
    expect(await ended).toBeGreaterThan(10);
    mustBeOk(outcome);
    await expectJoined(engine);
  });

  test("without the host's leave nothing is done, not even a stop", async () => {
    await bringDown("read-only");
    const pids = serverProcesses(scene.old.dataDirectory);
    const engine = engineOfOld(null);
    expect(await rebuild(engine)).toMatchObject({ ok: false, code: "rebuild-not-allowed" });
    expect(serverProcesses(scene.old.dataDirectory)).toEqual(expect.arrayContaining(pids));
    expect(await rowsOf(scene.old)).toEqual([1, 2, 100, 101]);
    mustBeOk(await engine.fence(FENCE));
    expect(await expectUntouched(engine, "rebuild-not-allowed")).toContain("server.rebuild");
  });

  test.each(["rewind", "clone"] as const)("no %s where the log cannot be kept", async (kind) => {
    await bringDown("stopped");
    const wal = join(scene.old.dataDirectory, "pg_wal");
    const segments = readdirSync(wal).filter((name) => /^00000002[0-9A-F]{16}$/.test(name));
    for (const name of segments) renameSync(join(wal, name), join(directory, name));
    const engine = engineOfOld(kind === "rewind" ? rewinding() : cloning());
    expect(await expectUntouched(engine, "log-not-kept")).toContain("put it back there, from the archive");
    for (const name of segments) renameSync(join(directory, name), join(wal, name));
    mustBeOk(await rebuild(engine));
  });

  test("no rewind without checksums and hints, nor by a role that may not read files", async () => {
    await bringDown("stopped");
    await run(scene.reigning, "ALTER ROLE replicator NOSUPERUSER");
    const engine = engineOfOld(rewinding());
    expect(await expectUntouched(engine, "rewind-not-possible")).toContain(
      "GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir",
    );
    const checksums = ["--disable", "--no-sync", "-D", scene.old.dataDirectory];
    execFileSync(join(programs ?? "", "pg_checksums"), checksums, { timeout: STEP_MS, stdio: "ignore", ...account });
    expect(await expectUntouched(engine, "rewind-not-possible")).toContain("wal_log_hints");
  });

  test("a role that was granted what pg_rewind calls needs no superuser", async () => {
    await bringDown("stopped");
    const engine = engineOfOld(rewinding());
    await run(scene.reigning, "CHECKPOINT", "ALTER ROLE replicator NOSUPERUSER");
    const refused = await expectUntouched(engine, "rewind-not-possible");
    const grant = /GRANT EXECUTE .* TO replicator/.exec(refused)?.[0];
    expect(grant).toBeDefined();
    await run(scene.reigning, grant ?? "");
    mustBeOk(await rebuild(engine));
    await expectJoined(engine);
  });

  test("a pg_rewind that is killed halfway has failed; only a clone helps then, with this host's configuration", async () => {
    await bringDown("read-only");
    const { reigning, old } = scene;
    await run(reigning, "CREATE TABLE bulk AS SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g");
    appendFileSync(join(reigning.dataDirectory, "postgresql.conf"), "work_mem = '9MB'\n");
    const engine = engineOfOld(rewinding());
    const ended = rebuild(engine);
    await killRewindAtWork(old.dataDirectory);
    expect(await ended).toMatchObject({
      ok: false,
      code: "rewind-failed",
      detail: expect.stringContaining("SIGKILL") as string,
    });
    const kept = expectKept();
    expect(await rebuild(engine)).toMatchObject({ ok: false, code: "rewind-not-possible" });
    expect(keptLogs()).toEqual([kept]);
    const cloner = engineOfOld(cloning());
    mustBeOk(await rebuild(cloner));
    expectTransactionsIn(expectKept());
    await expectJoined(cloner);
  });

  test("a clone command that fails, hangs or brings something else leaves everything as it was", async () => {
    await bringDown("stopped");
    const failing = engineOfOld(
      cloning('touch "$INTERREX_TARGET_DIRECTORY/half"; echo no route to the backup >&2; exit 3'),
    );
    expect(await expectUntouched(failing, "clone-failed")).toContain("exit status 3 | no route to the backup");
    const hanging = engineOfOld(cloning('sleep 600 & echo $! > "$INTERREX_TARGET_DIRECTORY/../sleeper"; wait'));
    const sleeper = join(dirname(scene.old.dataDirectory), "sleeper");
    expect(await rebuild(hanging, 3_000)).toMatchObject({
      ok: false,
      code: "clone-failed",
      detail: expect.stringContaining("not ended in time") as string,
    });
    expect(existsSync(`/proc/${readFileSync(sleeper, "utf8").trim()}/exe`)).toBe(false);
    const empty = engineOfOld(cloning("true"));
    expect(await expectUntouched(empty, "clone-failed")).toContain("left no data directory");
    const foreign = engineOfOld(
      cloning('"$INTERREX_BIN_DIRECTORY/initdb" --no-sync --auth=trust -D "$INTERREX_TARGET_DIRECTORY"'),
    );
    expect(await expectUntouched(foreign, "clone-failed")).toContain("system identifier");
  });

  test("a clone in which the server does not start is taken out again", async () => {
    await bringDown("stopped");
    const engine = engineOfOld(cloning(`${BASEBACKUP} && rm -r "$INTERREX_TARGET_DIRECTORY/base"`));
    expect(await expectUntouched(engine, "clone-failed")).toContain("the server does not work in it");
  });
});

describe("with the server alone", () => {
  beforeEach(async () => {
    directory = await demoDirectory("interrex-rebuild-");
    scene = await makeScene(await server.prepare(directory));
  });
  afterEach(async () => {
    await clearScene();
    await removeDirectory(directory);
  });

  test("the demo's command clones a primary that is written to", async () => {
    await bringDown("read-only");
    const { reigning, keepDirectory } = scene;
    await run(reigning, "CREATE TABLE load (filler text)");
    const load = new AbortController();
    const ended = writeUntil(reigning, load.signal);
    const command = `'${process.execPath}' '${CLONE}'`;
    const engine = engineOfOld({ kind: "clone", keepDirectory, command });
    const outcome = await rebuild(engine);
    load.abort();
    expect(await ended).toBeGreaterThan(10);
    mustBeOk(outcome);
    expectKept();
    await expectJoined(engine);
  });

  test.skipIf(programOf(server, "pg_rewind") !== null)("a rewind is refused where there is no pg_rewind", async () => {
    await bringDown("stopped");
    const engine = engineOfOld({ kind: "rewind", keepDirectory: scene.keepDirectory });
    expect(await expectUntouched(engine, "rewind-not-possible")).toContain("pg_rewind is not there");
  });
});

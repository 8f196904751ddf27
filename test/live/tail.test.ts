/**
 * The tail of a killed primary's log: rows that were acknowledged and never sent. Taken by the replica that is to succeed,
 * from the dead server's files, on PostgreSQL from npm and on Debian's version 15.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { comparePositions, lsnDistance, type Position } from "#shared/domain/position.ts";
import type { TailRange } from "../../agent/engine/engine.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import type { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { serverProcesses } from "../../agent/engine/postgres/processes.ts";
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
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";
import { servers } from "./servers.ts";

const STEP_MS = 30_000;
const TAKE_MS = 2_000;
const LOOK = { deadlineMs: STEP_MS, everyMs: 5 };
const FENCE = { fastMs: 500, killMs: 1_000, deadlineMs: 20_000 };

interface Pair {
  primary: { member: DemoMember; engine: PostgresEngine };
  replica: { member: DemoMember; engine: PostgresEngine };
}

describe.each(servers)("the tail of a killed primary of version $major", ({ major, prepare }) => {
  let account: Account;
  let directory: string;
  let pair: Pair;
  const memory: SharedMemory[] = [];

  beforeAll(async () => {
    account = await demoAccount();
    directory = await demoDirectory("interrex-tail-");
    const binDirectory = await prepare(directory);
    const ports = await freePorts(2);
    const members = ports.map((port, index) => ({ name: `db${index + 1}`, port }));
    const [first, second] = (await createCluster({ binDirectory, directory, account, members })).map((member) => ({
      member,
      engine: engineOf(member, { binDirectory, account }),
    }));
    if (!first || !second) throw new Error("two members");
    pair = { primary: first, replica: second };
    for (const { engine } of [first, second]) mustBeOk(await engine.start(STEP_MS));
    mustBeOk(await first.engine.promote(2, STEP_MS));
    await sql(first.member, "CREATE TABLE t (n bigint)", "CREATE TABLE bulk (v text)");
    mustBeOk(await second.engine.follow(first.engine.endpoint, STEP_MS));
    await untilStreaming();
  });

  afterAll(async () => {
    for (const { member, engine } of Object.values(pair) as Pair["primary"][]) {
      memory.push(sharedMemoryOf(member.dataDirectory));
      await engine.fence(FENCE);
      await engine.close();
    }
    for (const left of memory) await removeLeftovers(left);
    await removeDirectory(directory);
  });

  async function sql(member: DemoMember, ...statements: string[]): Promise<number> {
    return withSession({ port: member.port, deadlineMs: STEP_MS }, async (client) => {
      let count = 0;
      for (const statement of statements) {
        const { rows } = await client.query<{ count: number }>(statement);
        count = rows[0]?.count ?? 0;
      }
      return count;
    });
  }

  async function untilStreaming(): Promise<void> {
    const { primary, replica } = pair;
    await until("the stream", LOOK, async () => {
      const [ahead, behind] = await Promise.all([primary.engine.observe(), replica.engine.observe()]);
      const isLevel = comparePositions(behind.position as Position, ahead.position as Position) === "equal";
      return behind.receiver.streaming && isLevel ? { found: true } : { missing: "it does not stream all of it" };
    });
  }

  /** The sender stands still, so that what is written now is sent to nobody; then every process is killed. */
  async function killWithTail(...statements: string[]): Promise<void> {
    const { member } = pair.primary;
    const sender = await sql(
      member,
      `SELECT pid AS count FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = '${pair.replica.member.name}'`,
    );
    if (sender === 0) throw new Error("nothing is sent to the replica");
    process.kill(sender, "SIGSTOP");
    await sql(member, ...statements);
    memory.push(sharedMemoryOf(member.dataDirectory));
    killServer(member.dataDirectory);
    await until("the end", LOOK, () =>
      serverProcesses(member.dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
    );
    await until("the end of the stream", LOOK, async () =>
      (await pair.replica.engine.observe()).receiver.streaming ? { missing: "it streams" } : { found: true },
    );
  }

  const fetch = (range: TailRange) => pair.primary.engine.readTail(range);

  test("is refused while the replica streams, and when it is another log's", async () => {
    const { primary, replica } = pair;
    const at = (await primary.engine.observe()).position as Position;
    const beyond = { timeline: at.timeline, lsn: "F/0" };
    expect(await replica.engine.takeTail(beyond, fetch, TAKE_MS)).toMatchObject({ code: "still-receiving" });
    expect(await primary.engine.takeTail(beyond, fetch, TAKE_MS)).toMatchObject({ code: "not-in-recovery" });
  });

  test("is known, taken, and all that was acknowledged is on the successor", async () => {
    const { primary, replica } = pair;
    await killWithTail(
      "INSERT INTO t SELECT generate_series(1, 1000)",
      "INSERT INTO bulk SELECT md5(n::text) FROM generate_series(1, 50000) n",
      "SELECT pg_switch_wal()",
      "INSERT INTO t SELECT generate_series(1001, 2000)",
    );
    const dead = await primary.engine.observe();
    const before = await replica.engine.observe();
    expect(dead).toMatchObject({ report: { state: "stopped" }, shutdownLsn: null });
    expect(dead.tail).toEqual({ timeline: dead.position?.timeline, lsn: dead.position?.lsn });
    expect(comparePositions(before.position as Position, dead.position as Position)).toBe("behind");
    if (!dead.tail || !before.position) throw new Error("no tail");

    const broken = (range: TailRange) =>
      range.from === "" ? fetch(range) : Promise.reject(new Error("the agent is gone"));
    expect(await replica.engine.takeTail(dead.tail, broken, TAKE_MS)).toMatchObject({ code: "tail-not-had" });
    const other = async (range: TailRange) => Buffer.alloc(range.bytes, 7);
    expect(await replica.engine.takeTail(dead.tail, other, TAKE_MS)).toMatchObject({ code: "tail-differs" });
    expect((await replica.engine.observe()).position).toEqual(before.position);

    const startedMs = performance.now();
    const outcome = await replica.engine.takeTail(dead.tail, fetch, TAKE_MS * 5);
    const tookMs = performance.now() - startedMs;
    const bytes = Number(lsnDistance(dead.tail.lsn, before.position.lsn));
    expect(outcome).toEqual({ ok: true, value: String(bytes) });
    process.stdout.write(`tail ${major}: ${bytes} bytes in ${tookMs.toFixed(0)} ms\n`);
    expect((await replica.engine.observe()).position).toEqual(dead.position);

    mustBeOk(await replica.engine.promote(3, STEP_MS));
    expect(await sql(replica.member, "SELECT count(*)::int AS count FROM t")).toBe(2_000);
    expect(await sql(replica.member, "SELECT count(*)::int AS count FROM bulk")).toBe(50_000);
  });

  test("leaves the old primary a replica like any other: it follows without being rewound", async () => {
    const { primary, replica } = pair;
    mustBeOk(await primary.engine.start(STEP_MS));
    mustBeOk(await primary.engine.follow(replica.engine.endpoint, STEP_MS));
    await sql(replica.member, "INSERT INTO t VALUES (2001)");
    pair = { primary: replica, replica: primary };
    await untilStreaming();
    expect(await sql(primary.member, "SELECT count(*)::int AS count FROM t")).toBe(2_001);
  });

  test("is taken again after the replica died in the middle of it, and started read-only", async () => {
    const { primary, replica } = pair;
    await killWithTail("INSERT INTO t SELECT generate_series(3001, 4000)");
    const { tail } = await primary.engine.observe();
    if (!tail) throw new Error("no tail");
    // All but the last of it comes: then its agent and server are gone.
    const cut = async (range: TailRange) => {
      const piece = await fetch(range);
      piece.fill(0, piece.length - 5_000);
      return piece;
    };
    expect(await replica.engine.takeTail(tail, cut, 300)).toMatchObject({ code: "not-in-time" });
    memory.push(sharedMemoryOf(replica.member.dataDirectory));
    killServer(replica.member.dataDirectory);
    await until("the end", LOOK, () =>
      serverProcesses(replica.member.dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
    );
    mustBeOk(await replica.engine.start(STEP_MS));
    const { position } = await replica.engine.observe();
    expect(comparePositions(position as Position, (await primary.engine.observe()).position as Position)).toBe(
      "behind",
    );
    mustBeOk(await replica.engine.takeTail(tail, fetch, TAKE_MS));
    mustBeOk(await replica.engine.promote(4, STEP_MS));
    expect(await sql(replica.member, "SELECT count(*)::int AS count FROM t")).toBe(3_001);
  });
});

function mustBeOk(outcome: { ok: boolean }): void {
  expect(outcome).toMatchObject({ ok: true });
}

/**
 * A standby that is cut off while it comes over to its new primary's timeline: it has all of the log before the fork, but
 * the new timeline's segment lacks a part of it. And one that knows of a timeline whose fork it has not reached. On
 * PostgreSQL from npm and on Debian's version 15.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { comparePositions, lsnBytes, type Position } from "#shared/domain/position.ts";
import { readControlFile } from "../../agent/engine/postgres/control-file.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import { historyFile, newestTimeline, parseHistory } from "../../agent/engine/postgres/history.ts";
import type { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import type { TailRange } from "../../agent/engine/engine.ts";
import { serverProcesses } from "../../agent/engine/postgres/processes.ts";
import { mendFork } from "../../agent/engine/postgres/timeline-fork.ts";
import {
  createCluster,
  demoAccount,
  demoDirectory,
  freePorts,
  removeDirectory,
  removeLeftovers,
  sharedMemoryOf,
  type DemoMember,
  type SharedMemory,
} from "../../demo/postgres.ts";
import { engineOf } from "../../demo/server.ts";
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";
import { servers } from "./servers.ts";

const STEP_MS = 30_000;
const LOOK = { deadlineMs: STEP_MS, everyMs: 5 };
const FENCE = { fastMs: 5_000, killMs: 10_000, deadlineMs: 20_000 };
/** All of it is in the log's first segment, with room for the fork. */
const ROWS = 60_000;
const SEGMENT_BYTES = 16n << 20n;
const PART_BYTES = 2 << 20;

interface Node {
  member: DemoMember;
  engine: PostgresEngine;
}

/** Passes on so many bytes of the server on each connection, and no more. */
class ThinLine {
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  constructor(port: number, bytes: number) {
    this.#server = createServer((client) => {
      const server = connect(port, "127.0.0.1");
      let left = bytes;
      server.on("data", (data: Buffer) => {
        client.write(data.subarray(0, left));
        left -= Math.min(left, data.length);
        if (left === 0) server.pause();
      });
      client.pipe(server);
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on("error", () => {});
        socket.on("close", () => void [client, server].map((each) => each.destroy()));
      }
    });
  }

  async open(): Promise<{ host: string; port: number }> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return { host: "127.0.0.1", port: (this.#server.address() as { port: number }).port };
  }

  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe.each(servers)("a standby of version $major that is cut off near a fork", ({ prepare }) => {
  let directory: string;
  let first: Node;
  let second: Node;
  let line: ThinLine | null;
  const memory: SharedMemory[] = [];

  beforeEach(async () => {
    line = null;
    const account = await demoAccount();
    directory = await demoDirectory("interrex-fork-");
    const binDirectory = await prepare(directory);
    const ports = await freePorts(2);
    const members = ports.map((port, index) => ({ name: `db${index + 1}`, port }));
    const nodes = (await createCluster({ binDirectory, directory, account, members })).map((member) => ({
      member,
      engine: engineOf(member, { binDirectory, account }),
    }));
    [first, second] = nodes as [Node, Node];
    for (const { engine } of nodes) mustBeOk(await engine.start(STEP_MS));
    mustBeOk(await first.engine.promote(2, STEP_MS));
    await sql(first, "CREATE TABLE t (n bigint)");
    mustBeOk(await second.engine.follow(first.engine.endpoint, STEP_MS));
    await untilLevel(second, first);
  });

  afterEach(async () => {
    line?.cut();
    for (const { member, engine } of [first, second]) {
      memory.push(sharedMemoryOf(member.dataDirectory));
      await engine.fence(FENCE);
      await engine.close();
    }
    for (const left of memory.splice(0)) await removeLeftovers(left);
    await removeDirectory(directory);
  });

  async function sql({ member }: Node, statement: string): Promise<number> {
    return withSession({ port: member.port, deadlineMs: STEP_MS }, async (client) => {
      const { rows } = await client.query<{ count: string }>(statement);
      return Number(rows[0]?.count ?? 0);
    });
  }

  async function untilLevel(behind: Node, ahead: Node): Promise<void> {
    await until("the stream", LOOK, async () => {
      const [a, b] = await Promise.all([ahead.engine.observe(), behind.engine.observe()]);
      const isLevel = comparePositions(b.position as Position, a.position as Position) === "equal";
      return isLevel ? { found: true } : { missing: `${b.position?.lsn} of ${a.position?.lsn}` };
    });
  }

  /** The roles are exchanged, in good order: all that the former primary has lies before the fork. */
  async function exchange(): Promise<void> {
    await sql(first, `INSERT INTO t SELECT generate_series(1, ${ROWS})`);
    await untilLevel(second, first);
    mustBeOk(await first.engine.fence(FENCE));
    const { shutdownLsn } = await first.engine.observe();
    await until("all of the log", LOOK, async () => {
      const { position } = await second.engine.observe();
      return lsnBytes(position?.lsn ?? "0/0") >= lsnBytes(shutdownLsn ?? "F/0")
        ? { found: true }
        : { missing: "the end" };
    });
    mustBeOk(await second.engine.freeze(STEP_MS));
    mustBeOk(await second.engine.promote(3, STEP_MS));
    mustBeOk(await first.engine.start(STEP_MS));
  }

  /** Follows until so many bytes of a timeline have come; then its primary is killed. */
  async function followAndLose(standby: Node, primary: Node, of: { timeline: number; bytes: number }): Promise<void> {
    line = new ThinLine(primary.member.port, of.bytes);
    mustBeOk(await standby.engine.follow(await line.open(), STEP_MS));
    await until("the history of the new timeline", LOOK, () =>
      newestTimeline(standby.member.dataDirectory) >= 3 ? { found: true } : { missing: "the history" },
    );
    const received = `SELECT pg_wal_lsn_diff(written_lsn, '0/1000000') AS count FROM pg_stat_wal_receiver
      WHERE receive_start_tli = ${of.timeline}`;
    await until("a part of the log", LOOK, async () => {
      const bytes = await sql(standby, received);
      return bytes > PART_BYTES / 4 ? { found: true } : { missing: `${bytes} bytes came` };
    });
    line.cut();
    await kill(primary);
  }

  async function kill({ member: { dataDirectory } }: Node): Promise<void> {
    memory.push(sharedMemoryOf(dataDirectory));
    killServer(dataDirectory);
    await until("the end", LOOK, () =>
      serverProcesses(dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
    );
  }

  /** The old timeline comes first once more, from the beginning of the segment to the fork, and then the new one. */
  async function loseInTheMiddle(): Promise<void> {
    await exchange();
    const { position } = await first.engine.observe();
    const bytes = Number(lsnBytes(position?.lsn ?? "0/0") % SEGMENT_BYTES) + PART_BYTES;
    await followAndLose(first, second, { timeline: 3, bytes });
  }

  function historyOf({ member }: Node, timeline: number): string {
    return readFileSync(join(member.dataDirectory, "pg_wal", historyFile(timeline)), "utf8");
  }

  async function opens(node: Node): Promise<void> {
    expect(await node.engine.promote(7, STEP_MS)).toEqual({ ok: true });
    expect((await node.engine.observe()).report).toMatchObject({ writable: true });
    expect(await sql(node, "SELECT count(*) AS count FROM t")).toBe(ROWS);
    const ends = parseHistory(historyOf(node, 7)).map(({ endLsn }) => lsnBytes(endLsn));
    expect(ends).toEqual(ends.toSorted((a, b) => (a < b ? -1 : 1)));
  }

  test("is promoted with all that it has, though the new timeline's segment lacks a part of it", async () => {
    await loseInTheMiddle();
    expect(await first.engine.freeze(STEP_MS)).toEqual({ ok: true });
    await opens(first);
  });

  test("is started again without a stream, and then promoted", async () => {
    await loseInTheMiddle();
    await kill(first);
    expect(await first.engine.start(STEP_MS)).toEqual({ ok: true });
    mustBeOk(await first.engine.freeze(STEP_MS));
    await opens(first);
  });

  test("is not promoted before it has reached a fork that it knows of, but after it has forgotten that", async () => {
    await sql(first, `INSERT INTO t SELECT generate_series(1, ${ROWS})`);
    await untilLevel(second, first);
    mustBeOk(await second.engine.freeze(STEP_MS));
    await sql(first, `INSERT INTO t SELECT generate_series(1, ${20 * ROWS})`);
    mustBeOk(await first.engine.fence(FENCE));
    mustBeOk(await first.engine.start(STEP_MS));
    // Number 3 is taken out of use.
    mustBeOk(await first.engine.promote(4, STEP_MS));
    await followAndLose(second, first, { timeline: 2, bytes: PART_BYTES });
    mustBeOk(await second.engine.freeze(STEP_MS));
    expect(await second.engine.promote(7, STEP_MS)).toMatchObject({ ok: false, code: "fork-not-reached" });
    expect((await second.engine.observe()).report).toMatchObject({ inRecovery: true });
    mustBeOk(await second.engine.fence(FENCE));
    mustBeOk(await second.engine.start(STEP_MS));
    mustBeOk(await second.engine.freeze(STEP_MS));
    await opens(second);
    const names = readdirSync(join(second.member.dataDirectory, "pg_wal"));
    expect(names).toContain(`${historyFile(4)}.unreached`);
    expect(historyOf(second, 7)).not.toMatch(/^4\t/m);
  });

  test("knows a fork behind which its own log has the beginning of a record", async () => {
    const { member } = first;
    const senders =
      "SELECT max(pid) AS count FROM pg_stat_activity WHERE backend_type = 'walsender' AND application_name = 'db2'";
    process.kill(await sql(first, senders), "SIGSTOP");
    await sql(first, "SELECT pg_logical_emit_message(true, 'long', repeat('x', 100000))");
    await kill(first);
    await until("the end of the stream", LOOK, async () =>
      (await second.engine.observe()).receiver.streaming ? { missing: "it streams" } : { found: true },
    );
    const { tail } = await first.engine.observe();
    if (!tail) throw new Error(`no tail of ${member.name}`);
    const cutOff = async (range: TailRange) => {
      const piece = await first.engine.readTail(range);
      return piece.fill(0, piece.length - 50_000);
    };
    expect(await second.engine.takeTail(tail, cutOff, 300)).toMatchObject({ code: "not-in-time" });
    mustBeOk(await second.engine.promote(3, STEP_MS));
    await sql(second, "INSERT INTO t VALUES (1)");
    mustBeOk(await second.engine.fence(FENCE));

    const { dataDirectory } = second.member;
    const fork = lsnBytes(parseHistory(historyOf(second, 3)).at(-1)?.endLsn ?? "0/0");
    const known = { timeline: 2, lsn: "0/1000000" };
    const path = join(dataDirectory, "pg_wal", "000000030000000000000001");
    const whole = readFileSync(path);
    expect(mendFork(dataDirectory, known)).toBeNull();
    expect(readFileSync(path).equals(whole)).toBe(true);
    // What a receiver has left that was cut off before the fork.
    const cut = Buffer.from(whole).fill(0, Number(fork % SEGMENT_BYTES) - 200_000);
    writeFileSync(path, cut);
    expect(mendFork(dataDirectory, known)).toBeNull();
    const at = Number(fork % SEGMENT_BYTES);
    expect(readFileSync(path).subarray(0, at).equals(whole.subarray(0, at))).toBe(true);
    // And a log that ends before the fork.
    writeFileSync(path, cut);
    const parent = join(dataDirectory, "pg_wal", "000000020000000000000001");
    writeFileSync(parent, readFileSync(parent).fill(0, at - 200_000));
    expect(mendFork(dataDirectory, known)).toEqual({ unreached: 3 });
  });

  test("tells by its control file how far its log has reached", async () => {
    mustBeOk(await second.engine.fence(FENCE));
    const file = readControlFile(second.member.dataDirectory);
    expect(file?.minRecovery?.timeline).toBe(2);
    expect(lsnBytes(file?.minRecovery?.lsn ?? "F/0")).toBeLessThanOrEqual(
      lsnBytes((await second.engine.observe()).position?.lsn ?? "0/0"),
    );
    mustBeOk(await first.engine.fence(FENCE));
    expect(readControlFile(first.member.dataDirectory)?.minRecovery).toBeNull();
  });
});

function mustBeOk(outcome: { ok: boolean }): void {
  expect(outcome).toMatchObject({ ok: true });
}

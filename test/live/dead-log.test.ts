/**
 * Where the log of a killed server ends: read from its files, and compared with what the server's own recovery says, and
 * with what `pg_waldump` says where there is one.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { openSync, closeSync, readdirSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lsnBytes, lsnOf } from "#shared/domain/position.ts";
import { readControlFile } from "../../agent/engine/postgres/control-file.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import { LogPages, segmentFile } from "../../agent/engine/postgres/log-pages.ts";
import { walkedLsn, walkFrom, walkOn } from "../../agent/engine/postgres/log-walk.ts";
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
import { launchServer } from "../../demo/server.ts";
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";
import { isNamed, programOf, servers } from "./servers.ts";

const STEP_MS = 30_000;
const SEVENTEEN_MIB = 17 * 1_024 * 1_024;
const WHOLE = Number.MAX_SAFE_INTEGER;

describe.each(servers)("the log of a killed server of version $major", (server) => {
  let account: Account;
  let directory: string;
  let binDirectory: string;
  let member: DemoMember;
  let marks: string[];
  const memory: SharedMemory[] = [];

  beforeAll(async () => {
    account = await demoAccount();
    directory = await demoDirectory("interrex-dead-");
    binDirectory = await server.prepare(directory);
    const [port = 0] = await freePorts(1);
    const plan = { binDirectory, directory, account, members: [{ name: "db1", port }] };
    [member] = (await createCluster(plan)) as [DemoMember];
    rmSync(join(member.dataDirectory, "standby.signal"));
    await launchServer(member, { binDirectory, account });
    marks = await writeALot();
    memory.push(sharedMemoryOf(member.dataDirectory));
    killServer(member.dataDirectory);
    await until("the end", { deadlineMs: STEP_MS, everyMs: 5 }, () =>
      serverProcesses(member.dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
    );
  });

  afterAll(async () => {
    killServer(member.dataDirectory);
    for (const left of memory) await removeLeftovers(left);
    await until("the end", { deadlineMs: STEP_MS, everyMs: 5 }, () =>
      serverProcesses(member.dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
    );
    await removeDirectory(directory);
  });

  /** Records of every size, across pages and segments, a segment ended early, and where the log stood in between. */
  async function writeALot(): Promise<string[]> {
    return withSession({ port: member.port, deadlineMs: STEP_MS }, async (client) => {
      const places: string[] = [];
      const mark = async () => {
        const { rows } = await client.query<{ at: string }>("SELECT pg_current_wal_flush_lsn()::text AS at");
        places.push(rows[0]?.at ?? "");
      };
      await client.query("CREATE TABLE t (id serial PRIMARY KEY, v text)");
      await mark();
      for (let size = 1; size < 100_000; size = Math.ceil(size * 1.7)) {
        await client.query("INSERT INTO t (v) SELECT repeat('x', $1) FROM generate_series(1, 5)", [size]);
        await client.query("SELECT pg_logical_emit_message(false, 'test', repeat('y', $1))", [size]);
        await mark();
      }
      await client.query("SELECT pg_switch_wal()");
      await mark();
      await client.query("CHECKPOINT");
      await client.query("SELECT pg_logical_emit_message(true, 'test', repeat('z', $1))", [SEVENTEEN_MIB]);
      await mark();
      for (let row = 0; row < 500; row += 1) await client.query("INSERT INTO t (v) VALUES ('last')");
      await mark();
      return places;
    });
  }

  function endFrom(known: string): string | null {
    const pages = LogPages.open(member.dataDirectory, 1);
    if (!pages) return null;
    try {
      const first = walkFrom(pages, known);
      const walked = first && walkOn(pages, first, WHOLE);
      return walked?.isEnd ? walkedLsn(walked) : null;
    } finally {
      pages.close();
    }
  }

  test("has one end, whatever place in it the walk begins from", () => {
    const end = endFrom(marks.at(-1) ?? "");
    expect(end).not.toBeNull();
    expect(lsnBytes(end ?? "0/0")).toBeGreaterThanOrEqual(lsnBytes(marks.at(-1) ?? ""));
    for (const mark of marks) expect(endFrom(mark)).toBe(end);
    const inside = marks.flatMap((mark) => [-3n, 1n, 8_191n].map((step) => lsnOf(lsnBytes(mark) + step)));
    for (const place of inside.filter((lsn) => lsnBytes(lsn) <= lsnBytes(end ?? ""))) expect(endFrom(place)).toBe(end);
    const control = readControlFile(member.dataDirectory);
    expect(endFrom(control?.checkpoint.lsn ?? "")).toBe(end);
  });

  test("is walked in pieces as in one", () => {
    const pages = LogPages.open(member.dataDirectory, 1);
    const first = pages && walkFrom(pages, marks[0] ?? "");
    if (!pages || !first) throw new Error("no log");
    let walked = first;
    let pieces = 0;
    for (; !walked.isEnd; pieces += 1) walked = walkOn(pages, walked, 100_000);
    pages.close();
    expect(pieces).toBeGreaterThan(4);
    expect(walkedLsn(walked)).toBe(endFrom(marks[0] ?? ""));
  });

  test("ends before a record of which one byte is another", () => {
    const end = endFrom(marks[0] ?? "");
    const [place] = marks.slice(-2);
    const target = Number(lsnBytes(place ?? "")) + 40;
    const segmentBytes = 16 * 1_024 * 1_024;
    const file = segmentFile(1, Math.floor(target / segmentBytes), segmentBytes);
    const fd = openSync(join(member.dataDirectory, "pg_wal", file), "r+");
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, target % segmentBytes);
    writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 0x10]), 0, 1, target % segmentBytes);
    const shortened = endFrom(marks[0] ?? "");
    writeSync(fd, byte, 0, 1, target % segmentBytes);
    closeSync(fd);
    expect(lsnBytes(shortened ?? "")).toBeLessThanOrEqual(BigInt(target));
    expect(lsnBytes(shortened ?? "")).toBeGreaterThan(BigInt(target) - 200n);
    expect(endFrom(marks[0] ?? "")).toBe(end);
  });

  const waldump = programOf(server, "pg_waldump");
  // That npm's server has none is known: only of one that is named it is said that this was skipped.
  const asked = isNamed || waldump !== null ? [waldump] : [];
  test.for(asked)("ends where pg_waldump says, if there is one", (program, context) => {
    if (program === null) return context.skip();
    const path = join(member.dataDirectory, "pg_wal");
    const words = ["--path", path, "--timeline", "1", "--start", marks.at(-2) ?? ""];
    const { stderr } = spawnSync(program, words, { encoding: "utf8", maxBuffer: 1 << 28 });
    const [, told] = /error in WAL record at [0-9A-F/]+: .* at ([0-9A-F]+\/[0-9A-F]+)/.exec(stderr) ?? [];
    expect(told).toBe(endFrom(marks[0] ?? ""));
  });

  test("ends where the server's own recovery finds it, as a standby", async () => {
    const end = endFrom(marks[0] ?? "");
    execFileSync("touch", [join(member.dataDirectory, "standby.signal")]);
    await launchServer(member, { binDirectory, account });
    await until("the replay", { deadlineMs: STEP_MS, everyMs: 10 }, () =>
      withSession({ port: member.port, deadlineMs: STEP_MS }, async (client) => {
        const { rows } = await client.query<{ at: string }>("SELECT pg_last_wal_replay_lsn()::text AS at");
        return rows[0]?.at === end ? { found: true } : { missing: `it is at ${rows[0]?.at}, not ${end}` };
      }),
    );
    memory.push(sharedMemoryOf(member.dataDirectory));
    expect(readdirSync(join(member.dataDirectory, "pg_wal")).length).toBeGreaterThan(2);
  });
});

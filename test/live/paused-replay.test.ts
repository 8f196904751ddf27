/** A standby opens with all that it has received, or not at all: real servers, of which one has its replay paused. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { comparePositions, type Position } from "#shared/domain/position.ts";
import { killServer } from "../../agent/engine/postgres/fence.ts";
import type { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import { serverProcesses } from "../../agent/engine/postgres/processes.ts";
import {
  createCluster,
  demoAccount,
  demoDirectory,
  freePorts,
  preparePostgres,
  removeDirectory,
  removeLeftovers,
  sharedMemoryOf,
  type DemoMember,
  type SharedMemory,
} from "../../demo/postgres.ts";
import { engineOf } from "../../demo/server.ts";
import { withSession } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";

const STEP_MS = 30_000;
const LOOK = { deadlineMs: STEP_MS, everyMs: 5 };
const FENCE = { fastMs: 500, killMs: 1_000, deadlineMs: 20_000 };
const ROWS = 1_000;

interface Node {
  member: DemoMember;
  engine: PostgresEngine;
}

let directory: string;
let nodes: Node[] = [];
const memory: SharedMemory[] = [];

beforeAll(async () => {
  const account = await demoAccount();
  directory = await demoDirectory("interrex-replay-");
  const { binDirectory } = await preparePostgres(directory);
  const members = (await freePorts(2)).map((port, index) => ({ name: `db${index + 1}`, port }));
  nodes = (await createCluster({ binDirectory, directory, account, members })).map((member) => ({
    member,
    engine: engineOf(member, { binDirectory, account }),
  }));
});

afterAll(async () => {
  for (const { member, engine } of nodes) {
    memory.push(sharedMemoryOf(member.dataDirectory));
    await engine.fence(FENCE);
    await engine.close();
  }
  for (const left of memory) await removeLeftovers(left);
  await removeDirectory(directory);
});

function node(index: number): Node {
  const found = nodes[index];
  if (!found) throw new Error(`no member ${index}`);
  return found;
}

async function sql({ member }: Node, statement: string): Promise<{ count?: number }> {
  return withSession({ port: member.port, deadlineMs: STEP_MS }, async (client) => {
    const { rows } = await client.query<{ count?: number }>(statement);
    return rows[0] ?? {};
  });
}

async function positionOf({ engine }: Node): Promise<Position> {
  const { position } = await engine.observe();
  if (!position) throw new Error("no position");
  return position;
}

test("a standby whose replay is paused is not promoted, and once it goes on it opens with every row", async () => {
  const [primary, standby] = [node(0), node(1)];
  for (const { engine } of nodes) expect(await engine.start(STEP_MS)).toEqual({ ok: true });
  expect(await primary.engine.promote(2, STEP_MS)).toEqual({ ok: true });
  await sql(primary, "CREATE TABLE kept (n int)");
  expect(await standby.engine.follow(primary.engine.endpoint, STEP_MS)).toEqual({ ok: true });
  await until("the table", LOOK, async () => {
    const { count } = await sql(standby, "SELECT count(*)::int AS count FROM pg_class WHERE relname = 'kept'");
    return count === 1 ? { found: true } : { missing: "it is not there" };
  });
  await sql(standby, "SELECT pg_wal_replay_pause()");
  await sql(primary, `INSERT INTO kept SELECT generate_series(1, ${ROWS})`);
  const end = await positionOf(primary);
  await until("all of the log", LOOK, async () =>
    comparePositions(await positionOf(standby), end) === "behind" ? { missing: "some" } : { found: true },
  );
  memory.push(sharedMemoryOf(primary.member.dataDirectory));
  killServer(primary.member.dataDirectory);
  await until("the primary's end", LOOK, () =>
    serverProcesses(primary.member.dataDirectory).length === 0 ? { found: true } : { missing: "it lives" },
  );
  expect(await sql(standby, "SELECT count(*)::int AS count FROM kept")).toEqual({ count: 0 });

  expect(await standby.engine.promote(3, STEP_MS)).toMatchObject({ ok: false, code: "replay-paused" });
  expect((await standby.engine.observe()).report).toEqual({ state: "running", inRecovery: true, writable: false });

  await sql(standby, "SELECT pg_wal_replay_resume()");
  expect(await standby.engine.promote(3, STEP_MS)).toEqual({ ok: true });
  expect((await standby.engine.observe()).report).toEqual({ state: "running", inRecovery: false, writable: true });
  expect(await sql(standby, "SELECT count(*)::int AS count FROM kept")).toEqual({ count: ROWS });
});

/** A primary that is serving already becomes the first of the dataservice, and nobody who uses it notices. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DemoCluster, FIRST_PRIMARY } from "../../demo/cluster.ts";
import { withSession } from "../../demo/session.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";
import { KeptSession, startServing } from "./serving-cluster.ts";

const ANSWER_MS = 20_000;

let stage: Stage;
let cluster: DemoCluster;
let session: KeptSession;
let signalBefore: boolean | null = null;

beforeAll(async () => {
  stage = await Stage.open(() => {});
  cluster = await stage.cluster({
    startServers: async (members, pristine) => {
      await startServing(members, pristine);
      const [primary] = members;
      session = new KeptSession(primary?.port ?? 0);
      await session.start();
      signalBefore = existsSync(join(primary?.dataDirectory ?? "", "standby.signal"));
    },
  });
});

afterAll(async () => {
  await session.stop();
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

test("the session goes on through the founding: the same backend, no failed write, no promotion", async () => {
  const { epoch, primary } = await cluster.untilOnline();
  const writes = session.writes;
  await until("writes after the founding", { deadlineMs: 30_000, everyMs: 10 }, () =>
    session.writes > writes + 20 || session.failure !== null
      ? { found: true }
      : { missing: `${session.writes - writes} of 20` },
  );

  expect({ epoch, primary }).toEqual({ epoch: 1, primary: FIRST_PRIMARY });
  expect(session.failure).toBeNull();
  expect(session.backends.size).toBe(1);
  expect(await timelineOf(cluster.connectorPort)).toBe(1);
});

test("from then on its next start is a read-only one", () => {
  const { dataDirectory } = cluster.host(FIRST_PRIMARY).plan.server?.member ?? { dataDirectory: "" };
  expect(signalBefore).toBe(false);
  expect(existsSync(join(dataDirectory, "standby.signal"))).toBe(true);
});

test("when it is killed, a replica takes over what it had", async () => {
  await cluster.host(FIRST_PRIMARY).kill();
  const { primary, epoch } = await cluster.untilPrimary({ afterEpoch: 1 });
  expect(["db2", "db3"]).toContain(primary);
  expect(epoch).toBe(2);

  await until("the end of the kept session", { deadlineMs: 30_000, everyMs: 10 }, () =>
    session.failure === null ? { missing: "it goes on" } : { found: true },
  );
  const rows = await withSession({ port: cluster.connectorPort, deadlineMs: ANSWER_MS }, async (client) => {
    await client.query("insert into kept(n) values (-1)");
    return (await client.query<{ n: string }>("select n from kept")).rows;
  });
  // Asynchronous replication may lose the last writes, never any before them.
  const numbers = rows.map(({ n }) => Number(n)).toSorted((a, b) => a - b);
  expect(numbers[0]).toBe(-1);
  expect(numbers.slice(1)).toEqual(Array.from({ length: numbers.length - 1 }, (_, index) => index));
  expect(await timelineOf(cluster.connectorPort)).toBe(2);
  await cluster.untilOnline(() => [FIRST_PRIMARY]);
});

function timelineOf(port: number): Promise<number> {
  return withSession({ port, deadlineMs: ANSWER_MS }, async (client) => {
    const { rows } = await client.query<{ timeline: string }>(
      "select left(pg_walfile_name(pg_current_wal_lsn()), 8) as timeline",
    );
    return Number.parseInt(rows[0]?.timeline ?? "0", 16);
  });
}

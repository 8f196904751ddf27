/**
 * Durability that is changed while clients write, on real servers: from the moment at which it is promised nothing that was
 * acknowledged is lost, and when it has been withdrawn no commit waits for anybody.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { DemoCluster } from "../../demo/cluster.ts";
import { withSession } from "../../demo/session.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";
import { Writers } from "./writers.ts";

let stage: Stage;
let writers: Writers | null = null;
let running: DemoCluster | null = null;

beforeAll(async () => {
  stage = await Stage.open(() => {});
});

afterEach(async () => {
  writers?.abandon();
  await running?.end();
});

afterAll(async () => {
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

async function set(cluster: DemoCluster, ...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await cluster.rex(["set", "durability", ...words]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

/** Whom each server waits for, by its own word. */
async function standbyNames(cluster: DemoCluster): Promise<string[]> {
  const names = cluster.servers.map(({ port }) =>
    withSession({ port, deadlineMs: 20_000 }, async (client) => {
      const { rows } = await client.query<{ value: string }>(
        "select current_setting('synchronous_standby_names') as value",
      );
      return rows[0]?.value ?? "";
    }),
  );
  return Promise.all(names);
}

test("what is acknowledged from then on outlives a killed primary, and back again nobody waits for anybody", async () => {
  const cluster = await stage.cluster({});
  running = cluster;
  await cluster.untilOnline();
  expect(await standbyNames(cluster)).toEqual(["", "", ""]);
  const clients = new Writers(cluster.connectorPort);
  writers = clients;
  await clients.start();
  await clients.more(300);

  expect(await set(cluster, "sync")).toContain("IS SYNCHRONOUS");
  expect((await cluster.status()).durability).toMatchObject({ mode: "sync", goal: "sync", k: 1, settled: true });
  expect((await standbyNames(cluster)).map((value) => value.startsWith("ANY 1"))).toEqual([true, true, true]);
  await clients.more(300);
  await cluster.host("db1").kill();
  const { epoch } = await cluster.untilPrimary({ afterEpoch: 1 });
  await clients.more(100);

  const { status, stderr } = await cluster.rex(["recover"]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(await set(cluster, "async")).toContain("IS ASYNCHRONOUS");
  await cluster.untilOnline();
  // Nothing is asked about any more when all hold what was acknowledged.
  const { durability } = await cluster.untilSettled();
  expect(durability).toEqual({ mode: "async", goal: "async", k: 0, members: [], settled: true });
  await until("servers that wait for nobody", { deadlineMs: 30_000, everyMs: 50 }, async () => {
    const names = await standbyNames(cluster);
    return names.every((value) => value === "") ? { found: true } : { missing: names.join(" | ") };
  });

  // No commit waits any more: with both replicas dead the primary goes on.
  const primary = (await cluster.status()).primary;
  const replicas = cluster.servers.map(({ member }) => member).filter((member) => member !== primary);
  await Promise.all(replicas.map((name) => cluster.host(name).crash()));
  await clients.more(200);
  await clients.stop();
  expect((await cluster.status()).epoch).toBe(epoch);
  expect(await clients.lost()).toEqual([]);
});

/**
 * Synchronous durability on real servers: what a client was told is done is there after every failover, whoever was
 * killed. Eight writers write as fast as they can; each keeps the numbers that were acknowledged to it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { CreateOptions, DemoCluster } from "../../demo/cluster.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";
import { Writers, WRITERS } from "./writers.ts";

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

async function loaded(create: CreateOptions): Promise<DemoCluster> {
  const cluster = await stage.cluster({ create });
  running = cluster;
  await cluster.untilOnline();
  await cluster.untilSettled();
  writers = new Writers(cluster.connectorPort);
  await writers.start();
  await writers.more(300);
  return cluster;
}

async function theRest(): Promise<number[]> {
  await writers?.more(100);
  await writers?.stop();
  return (await writers?.lost()) ?? [-1];
}

describe("with one acknowledgement of two replicas, nothing is lost", () => {
  test("when the primary's server is killed, and its successor's right after it", async () => {
    const cluster = await loaded({ durability: "sync" });
    await cluster.host("db1").kill();
    const first = await cluster.untilPrimary({ afterEpoch: 1 });
    await writers?.more(1);
    await cluster.host(first.primary ?? "").kill();
    // Two of three have been primary and died: the last one may hold too little alone, and waits for one of them.
    await cluster.untilPrimary({ afterEpoch: first.epoch, deadlineMs: 60_000 });
    // Where it held enough, both of the others are out, and nobody acknowledges to it until an operator brings one back.
    const { status, stderr } = await cluster.rex(["recover"]);
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(await theRest()).toEqual([]);
  });

  test("when the primary and a replica are killed together: the other waits until the read quorum is back", async () => {
    const cluster = await loaded({ durability: "sync" });
    await Promise.all([cluster.host("db1").kill(), cluster.host("db3").kill()]);
    const { primary } = await cluster.untilPrimary({ afterEpoch: 1, deadlineMs: 60_000 });
    expect(["db1", "db2", "db3"]).toContain(primary);
    expect(await theRest()).toEqual([]);
  });
});

test("with both replicas acknowledging, the one that is left takes over at once", async () => {
  const cluster = await loaded({ durability: "sync", sync: { k: 2, onLoss: "degrade" } });
  await Promise.all([cluster.host("db1").kill(), cluster.host("db3").kill()]);
  await cluster.untilPrimary({ afterEpoch: 1 });
  expect(await theRest()).toEqual([]);
});

test("writes wait when nobody is left to acknowledge, and go on when somebody is back", async () => {
  const cluster = await loaded({ durability: "sync" });
  await Promise.all(["db2", "db3"].map((name) => cluster.host(name).crash()));
  const before = writers?.acked.size ?? 0;
  await until("the replicas' absence", { deadlineMs: 30_000, everyMs: 100 }, async () => {
    const { datasources } = await cluster.status();
    const failed = datasources.filter(({ state }) => state === "failed").length;
    return failed === 2 ? { found: true } : { missing: `${failed} of 2 are FAILED` };
  });
  const { primary, durability } = await cluster.status();
  expect({ primary, k: durability.k }).toEqual({ primary: "db1", k: 1 });
  // At most those whose acknowledgements were on their way.
  expect((writers?.acked.size ?? 0) - before).toBeLessThanOrEqual(10 * WRITERS);
  await Promise.all(["db2", "db3"].map((name) => cluster.host(name).start()));
  expect(await theRest()).toEqual([]);
});

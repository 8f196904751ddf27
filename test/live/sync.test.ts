/**
 * Synchronous durability on real servers: what a client was told is done is there after every failover, whoever was
 * killed. Eight writers write as fast as they can; each keeps the numbers that were acknowledged to it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { HOLD_TIMEOUT_MS, type CreateOptions, type DemoCluster } from "../../demo/cluster.ts";
import { openSession, withSession, type Session } from "../../demo/session.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const WRITERS = 8;
const DEADLINE_MS = HOLD_TIMEOUT_MS + 5_000;

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

/** Clients that keep a connection each, write number after number, and come again when they are cut off. */
class Writers {
  readonly acked = new Set<number>();
  readonly #port: number;
  #next = 0;
  #isStopping = false;
  #loops: Promise<void>[] = [];
  readonly #open = new Set<Session>();

  constructor(port: number) {
    this.#port = port;
  }

  async start(): Promise<void> {
    await withSession({ port: this.#port, deadlineMs: DEADLINE_MS }, (client) =>
      client.query("create table kept(n bigint primary key)"),
    );
    this.#loops = Array.from({ length: WRITERS }, () => this.#write());
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#loops);
  }

  /** Cuts whoever still waits. */
  abandon(): void {
    this.#isStopping = true;
    for (const session of this.#open) session.cut("the test is over");
  }

  /** Waits until so many more writes were acknowledged than now. */
  async more(count: number): Promise<void> {
    const goal = this.acked.size + count;
    await until(`${goal} writes`, { deadlineMs: 60_000, everyMs: 10 }, () =>
      this.acked.size >= goal ? { found: true } : { missing: `${this.acked.size} so far` },
    );
  }

  /** The acknowledged numbers that are in no row. */
  async lost(): Promise<number[]> {
    const { rows } = await withSession({ port: this.#port, deadlineMs: DEADLINE_MS }, (client) =>
      client.query<{ n: string }>("select n from kept"),
    );
    const present = new Set(rows.map(({ n }) => Number(n)));
    return [...this.acked].filter((n) => !present.has(n));
  }

  async #write(): Promise<void> {
    while (!this.#isStopping) {
      const session = openSession(this.#port);
      this.#open.add(session);
      try {
        await session.client.connect();
        while (!this.#isStopping) {
          this.#next += 1;
          const n = this.#next;
          const timer = setTimeout(() => session.cut("no answer"), DEADLINE_MS);
          try {
            await session.client.query("insert into kept values ($1)", [n]);
          } finally {
            clearTimeout(timer);
          }
          this.acked.add(n);
        }
      } catch {
        // The write may be done or not: nobody was told.
      } finally {
        session.cut("over");
        this.#open.delete(session);
      }
    }
  }
}

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

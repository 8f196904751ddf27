/**
 * The coordinator vanishes, for everybody or for the primary alone. Nothing happens: the primary writes on in its epoch,
 * through the connector, and nobody is promoted.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { conclude, now, untilQuiet, untilWritesSince } from "../../demo/actors.ts";
import { DemoClients } from "../../demo/clients.ts";
import { DATASERVICE, HOLD_TIMEOUT_MS } from "../../demo/cluster.ts";
import { Probe } from "../../demo/probe.ts";
import { runScenario } from "../../demo/scenario.ts";
import { withSession } from "../../demo/session.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";

const AWAY_MS = 3 * DEFAULT_SETTINGS.ttlMs;
const DEADLINE_MS = 60_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open(() => {});
});

afterEach(async () => {
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

test("a coordinator that is away for three leases is not missed", async () => {
  const cluster = await stage.cluster();
  const { figures, before, after } = await runScenario("coordinator-away", cluster, { awayMs: AWAY_MS });
  expect(figures.downMs).toBeGreaterThan(2 * DEFAULT_SETTINGS.ttlMs);
  expect(figures).toMatchObject({ lost: 0, dualWriters: 0, clientErrors: 0, events: 0, epochs: 0 });
  expect(after).toMatchObject({ primary: before.primary, epoch: before.epoch });
});

test("readers of a connector do not miss it either", async () => {
  const cluster = await stage.cluster();
  await cluster.untilOnline();
  const where = { port: cluster.readOnlyPort, deadlineMs: DEADLINE_MS };
  const read = () =>
    withSession(where, async (client) => {
      const { rows } = await client.query<{ isReplica: boolean }>('select pg_is_in_recovery() as "isReplica"');
      return rows[0]?.isReplica;
    });
  expect(await read()).toBe(true);
  await withSession(where, async (kept) => {
    await cluster.coordinator.kill();
    const endMs = performance.now() + AWAY_MS;
    const waits: number[] = [];
    while (performance.now() < endMs) {
      const beganMs = performance.now();
      expect(await read()).toBe(true);
      waits.push(performance.now() - beganMs);
      // One session is open all the while.
      await kept.query("select 1");
    }
    expect(Math.max(...waits)).toBeLessThan(HOLD_TIMEOUT_MS);
    expect(waits.length).toBeGreaterThan(20);
  });
  await cluster.coordinator.start();
});

/** Passes on what comes, until it is cut: then nothing goes through and nobody is told. */
class Line {
  readonly #sockets = new Set<Socket>();
  readonly #server;
  #isCut = false;
  #hasAnswered = false;

  constructor(port: number) {
    this.#server = createServer((caller) => {
      this.#sockets.add(caller);
      caller.on("error", () => caller.destroy());
      if (this.#isCut) return;
      const onward = connect(port, "127.0.0.1");
      this.#sockets.add(onward);
      for (const socket of [caller, onward]) {
        socket.on("error", () => socket.destroy());
        socket.on("close", () => (caller.destroy(), onward.destroy()));
      }
      caller.pipe(onward).pipe(caller);
      onward.once("data", () => (this.#hasAnswered = true));
    });
  }

  /** Settles when an answer has come through it. */
  answered(): Promise<void> {
    return until("the agent speaks to the coordinator through the line", { deadlineMs: DEADLINE_MS, everyMs: 50 }, () =>
      this.#hasAnswered ? { found: undefined } : { missing: "no answer has come through it" },
    );
  }

  async open(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

test("a primary that alone cannot reach the coordinator speaks to it through its peers", async () => {
  const cluster = await stage.cluster();
  const line = new Line(Number(new URL(cluster.coordinator.url).port));
  const clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
  const probe = new Probe(cluster.servers);
  try {
    const { primary } = await cluster.untilOnline();
    await cluster.host(primary ?? "").reachCoordinatorAt(await line.open());
    await line.answered();
    await cluster.untilOnline();
    await clients.start();
    await probe.start(primary ?? "");
    const quiet = await untilQuiet({ cluster, clients, probe });
    const began = now();
    line.cut();
    // It is heard all the same, and its lease is extended: for longer than any promise asked for before the first tunnel.
    await until("time passes", { deadlineMs: DEADLINE_MS, everyMs: 100 }, () =>
      now().atMs - began.atMs > AWAY_MS ? { found: true } : { missing: "not yet" },
    );
    const status = await cluster.status();
    expect(status.datasources.find(({ member }) => member === primary)).toMatchObject({
      state: "online",
      manager: { state: "online" },
    });
    await untilWritesSince({ cluster, clients, probe }, now().atMs);
    const { figures, events } = await conclude({ cluster, clients, probe }, quiet, began);
    expect(figures).toMatchObject({ lost: 0, dualWriters: 0, clientErrors: 0 });
    expect(events).toEqual([]);
    expect(await cluster.client.status(DATASERVICE)).toMatchObject({ primary, epoch: quiet.before.epoch });
  } finally {
    await Promise.all([clients.abandon(), probe.stop(), line.close()]);
  }
});

/**
 * Agents that are killed and started again while the coordinator is away: they know from before where the others are, so
 * the primary writes on, on their promises, for as long as the coordinator stays away.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { conclude, now, untilQuiet, untilWritesSince, type Actors } from "../../demo/actors.ts";
import { DemoClients } from "../../demo/clients.ts";
import { DATASERVICE, HOLD_TIMEOUT_MS, ROUTER, type DemoCluster } from "../../demo/cluster.ts";
import { Probe } from "../../demo/probe.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";

/** Long enough for an agent to be started in, on a machine that is busy with much else. */
const TTL_MS = 2 * DEFAULT_SETTINGS.ttlMs;
/** From when on nobody can write on what the coordinator gave. */
const AWAY_MS = 1.5 * TTL_MS;
const DEADLINE_MS = 60_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open(() => {});
});

afterEach(async () => {
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

/** SIGKILL to the agent alone, and another one in its place. */
async function restartAgent(cluster: DemoCluster, name: string): Promise<void> {
  const host = cluster.host(name);
  host.killAgent();
  await until(`the end of the agent of ${name}`, { deadlineMs: DEADLINE_MS, everyMs: 10 }, () =>
    host.isAgentRunning ? { missing: "it is still there" } : { found: true },
  );
  await host.startAgent();
}

/** Writes go on until the last right to write that the coordinator gave is long over. */
async function untilBeyondTheLease(actors: Actors, sinceMs: number): Promise<void> {
  await until("the lease is long over", { deadlineMs: DEADLINE_MS, everyMs: 100 }, () =>
    now().atMs - sinceMs > AWAY_MS ? { found: true } : { missing: "not yet" },
  );
  await untilWritesSince(actors, now().atMs);
}

async function actorsOn(cluster: DemoCluster): Promise<Actors & { probe: Probe }> {
  const { primary } = await cluster.untilOnline();
  const clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
  const probe = new Probe(cluster.servers);
  await clients.start();
  await probe.start(primary ?? "");
  return { cluster, clients, probe };
}

test("the agents of the primary, a replica and the connector, restarted in an outage, are not missed", async () => {
  const cluster = await stage.cluster({ create: { settings: { ttlMs: TTL_MS } } });
  const actors = await actorsOn(cluster);
  const { clients } = actors;
  try {
    const quiet = await untilQuiet(actors);
    const { primary } = quiet;
    const replica = cluster.servers.map(({ member }) => member).find((member) => member !== primary) ?? "";
    const began = now();
    await cluster.coordinator.kill();
    await restartAgent(cluster, primary);
    await restartAgent(cluster, replica);
    await untilBeyondTheLease(actors, now().atMs);
    expect([...clients.perWrite.errors, ...clients.kept.errors]).toEqual([]);
    // Its clients are cut off with it; it lets them in again on what the primary's agent proves.
    await restartAgent(cluster, ROUTER);
    await untilWritesSince(actors, now().atMs);
    await cluster.coordinator.start();
    await cluster.untilOnline();
    const { figures, events } = await conclude(actors, quiet, began);
    expect(figures).toMatchObject({ lost: 0, dualWriters: 0 });
    const told = events.map(({ kind }) => kind).toSorted();
    expect(told).toEqual(["agent-started", "agent-started", "agent-started", "coordinator-started"]);
    expect(await cluster.client.status(DATASERVICE)).toMatchObject({ primary, epoch: quiet.before.epoch });
  } finally {
    await Promise.all([clients.abandon(), actors.probe.stop()]);
  }
});

/** One measured failover: a fresh cluster, writing clients, an independent probe, a fault, and what came of it. */
import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { Status } from "#shared/protocol/api.ts";
import { DemoClients } from "./clients.ts";
import { DATASERVICE, HOLD_TIMEOUT_MS, type DemoCluster } from "./cluster.ts";
import { errorsSince, lostNumbers, outageMs } from "./figures.ts";
import { Probe } from "./probe.ts";
import { timelineOf, type TimelineEntry } from "./timeline.ts";
import { until } from "./until.ts";

export const SCENARIOS = ["kill-primary", "crash-primary"] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

/** One JSON line. */
export interface ScenarioFigures {
  scenario: ScenarioName;
  outageMs: number;
  acked: number;
  lost: number;
  dualWriters: number;
  clientErrors: number;
}

export interface ScenarioRun {
  figures: ScenarioFigures;
  before: Status;
  after: Status;
  timeline: TimelineEntry[];
  /** What the clients were told in connections opened after the fault. */
  errors: string[];
}

const WARM_UP_ACKS = 300;
const SETTLED_ACKS = 100;
const WARM_UP_MS = 30_000;
const NEW_WRITES_MS = 60_000;
const LOOK_EVERY_MS = 10;
/** The fault falls anywhere between two renewals of the lease. */
const LEASE_PHASE_MS = 2_000;

/** Runs `scenario` on a cluster that was just started. The cluster stays up; the caller ends it. */
export async function runScenario(scenario: ScenarioName, cluster: DemoCluster): Promise<ScenarioRun> {
  await cluster.untilOnline();
  const clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
  const probe = new Probe(cluster.servers);
  try {
    await clients.start();
    const { primary } = await cluster.untilPrimary({ afterEpoch: 0 });
    await probe.start(primary ?? "");
    return await measure(scenario, { cluster, clients, probe });
  } finally {
    await Promise.all([clients.abandon(), probe.stop()]);
  }
}

interface Actors {
  cluster: DemoCluster;
  clients: DemoClients;
  probe: Probe;
}

async function measure(scenario: ScenarioName, { cluster, clients, probe }: Actors): Promise<ScenarioRun> {
  await until("the clients' first writes", { deadlineMs: WARM_UP_MS, everyMs: LOOK_EVERY_MS }, () =>
    clients.ackCount >= WARM_UP_ACKS
      ? { found: true }
      : { missing: `${clients.ackCount} of ${WARM_UP_ACKS} are acknowledged` },
  );
  const before = await cluster.untilOnline();
  const oldPrimary = before.primary ?? "";
  const { last } = await cluster.client.events(DATASERVICE, Number.MAX_SAFE_INTEGER);
  if (scenario === "crash-primary") await pause(randomInt(LEASE_PHASE_MS));

  const host = cluster.host(oldPrimary);
  const oldServer = host.plan.server?.member.port ?? 0;
  const [faultAtMs, faultWallMs] = [performance.now(), Date.now()];
  await (scenario === "kill-primary" ? host.kill() : host.crash());

  await untilWritesElsewhere(clients, oldServer);
  await cluster.untilPrimary({ afterEpoch: before.epoch });
  const after = await cluster.untilOnline(() => [oldPrimary]);
  await clients.stop();
  await probe.stop();
  const present = await clients.present();

  const acks = [...clients.perWrite.acks, ...clients.kept.acks];
  const errors = errorsSince([...clients.perWrite.errors, ...clients.kept.errors], faultAtMs);
  const { events } = await cluster.client.events(DATASERVICE, last);
  const firstAckMs = Math.min(
    ...clients.perWrite.acks.filter(({ server }) => server !== oldServer).map(({ ackedAtMs }) => ackedAtMs),
  );
  return {
    figures: {
      scenario,
      outageMs: Math.round((outageMs(clients.perWrite.acks, oldServer) ?? Number.NaN) * 10) / 10,
      acked: acks.length,
      lost: lostNumbers(acks, present).length,
      dualWriters: probe.dualWrites().length,
      clientErrors: errors.length,
    },
    before,
    after,
    timeline: timelineOf(events, faultWallMs, firstAckMs - faultAtMs),
    errors: [...new Set(errors.map(({ message }) => message))],
  };
}

function untilWritesElsewhere(clients: DemoClients, oldServer: number): Promise<number> {
  return until("writes on another server", { deadlineMs: NEW_WRITES_MS, everyMs: LOOK_EVERY_MS }, () => {
    const count = clients.perWrite.acks.filter(({ server }) => server !== oldServer).length;
    return count >= SETTLED_ACKS ? { found: count } : { missing: `${count} of ${SETTLED_ACKS} are acknowledged` };
  });
}

/** One measured run: a fresh cluster, writing clients, an independent probe, something done to it, and what came of it. */
import type { Actors, Measured } from "./actors.ts";
import { DemoClients } from "./clients.ts";
import { HOLD_TIMEOUT_MS, type DemoCluster } from "./cluster.ts";
import { Probe } from "./probe.ts";
import { measureCoordinatorRestart, type RestartExtras } from "./scenario-coordinator.ts";
import { measureFault, type FreezeExtras, type TailExtras } from "./scenario-fault.ts";
import { measureSwitch, type SwitchExtras } from "./scenario-switch.ts";

export const SCENARIOS = [
  "kill-primary",
  "crash-primary",
  "freeze-primary",
  "switch",
  "coordinator-restart",
  "coordinator-restart-20s",
  "coordinator-away",
] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

/** What only some scenarios tell. */
type Extras = Partial<SwitchExtras & FreezeExtras & TailExtras & RestartExtras>;

/** With its name, one JSON line. */
export type ScenarioFigures = { scenario: ScenarioName } & Measured<Extras>["figures"];
export type ScenarioRun = Omit<Measured<Extras>, "figures"> & { figures: ScenarioFigures };

/** How a scenario is run otherwise than it says by itself. */
export interface RunOptions {
  /** So many writers that never pause. */
  writers?: number | null;
  /** For how long the coordinator of `coordinator-away` is away. */
  awayMs?: number;
}

/** Runs `scenario` on a cluster that was just started. The cluster stays up; the caller ends it. */
export async function runScenario(
  scenario: ScenarioName,
  cluster: DemoCluster,
  { writers = null, awayMs }: RunOptions = {},
): Promise<ScenarioRun> {
  await cluster.untilOnline();
  await cluster.untilSettled();
  const clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS, writers });
  const probe = scenario === "freeze-primary" ? null : new Probe(cluster.servers);
  try {
    await clients.start();
    const { primary } = await cluster.untilPrimary({ afterEpoch: 0 });
    await probe?.start(primary ?? "");
    const measured = await measure(scenario, { cluster, clients, probe }, awayMs);
    return { ...measured, figures: { scenario, ...measured.figures } };
  } finally {
    await Promise.all([clients.abandon(), probe?.stop()]);
  }
}

function measure(scenario: ScenarioName, actors: Actors, awayMs?: number): Promise<Measured<Extras>> {
  switch (scenario) {
    case "kill-primary":
    case "crash-primary":
    case "freeze-primary":
      return measureFault(scenario, actors);
    case "switch":
      return measureSwitch(actors);
    case "coordinator-restart":
    case "coordinator-restart-20s":
      return measureCoordinatorRestart(scenario, actors);
    case "coordinator-away":
      return measureCoordinatorRestart(scenario, actors, awayMs);
  }
}

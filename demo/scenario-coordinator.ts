/** The coordinator is killed outright and comes back: after a moment, after the lease's end, or after minutes. Nobody should notice. */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { conclude, now, untilQuiet, untilWritesSince, type Actors, type Measured } from "./actors.ts";
import { DemoCoordinator } from "./coordinator.ts";
import { longestGapMs, tenths } from "./figures.ts";
import { timelineOf } from "./timeline.ts";

export type RestartName = "coordinator-restart" | "coordinator-restart-20s" | "coordinator-away";

export interface RestartExtras {
  /** From the kill to the first answer after it, as measured. */
  downMs: number;
  /** State changes told in the event log, besides the coordinator's own start. */
  events: number;
  /** How many epochs were minted. */
  epochs: number;
}

const DOWN_MS = { "coordinator-restart": 2_000, "coordinator-restart-20s": 20_000, "coordinator-away": 600_000 };
/** Longer than a lease and its fence: whatever the restart leads to has begun by then. */
const AFTERWARDS_MS = 7_000;
/** The pause that the kill makes begins with the last acknowledgement before it. */
const BEFORE_MS = 100;

export async function measureCoordinatorRestart(
  scenario: RestartName,
  actors: Actors,
  awayMs: number = DOWN_MS[scenario],
): Promise<Measured<RestartExtras>> {
  const { cluster, clients } = actors;
  const { coordinator } = cluster;
  const quiet = await untilQuiet(actors);
  const startMs = await DemoCoordinator.measureStart(join(cluster.directory, "rehearsal"));
  const began = now();
  await coordinator.kill();
  await pause(Math.max(0, awayMs - startMs - (performance.now() - began.atMs)));
  await coordinator.start();
  const back = now();
  await pause(AFTERWARDS_MS);
  await untilWritesSince(actors, back.atMs);
  const after = await cluster.untilOnline();
  const gapMs = longestGapMs(clients.perWrite.acks, { sinceMs: began.atMs - BEFORE_MS, untilMs: now().atMs });
  const { figures, events, errors } = await conclude(actors, quiet, began);
  return {
    figures: {
      outageMs: tenths(gapMs),
      ...figures,
      downMs: tenths(back.atMs - began.atMs),
      events: events.filter(({ kind }) => kind !== "coordinator-started").length,
      epochs: after.epoch - quiet.before.epoch,
    },
    before: quiet.before,
    after,
    timeline: timelineOf(events, began.wallMs, [
      { afterMs: back.atMs - began.atMs, text: "the coordinator answers again" },
    ]),
    errors,
  };
}

/** The primary is changed on purpose, by the operator's command, while everybody writes. */
import type { OperationStatus } from "#shared/protocol/api.ts";
import {
  conclude,
  firstAckElsewhere,
  movedOutageMs,
  now,
  untilQuiet,
  untilWritesElsewhere,
  type Actors,
  type Measured,
} from "./actors.ts";
import { DATASERVICE, type DemoCluster } from "./cluster.ts";
import { cutsSince, errorsOpened, outageMs, tenths } from "./figures.ts";
import { timelineOf } from "./timeline.ts";
import { until } from "./until.ts";

export interface SwitchExtras {
  /** Errors on connections opened while the command was under way. */
  /** How long new connections waited: from the hold, while the primary still serves, to the successor. */
  heldMs: number;
  openedErrors: number;
  /** How often the connection that is kept open was cut. */
  keptDisconnects: number;
}

const SWITCH_MS = 90_000;
const LOOK_EVERY_MS = 10;

export async function measureSwitch(actors: Actors): Promise<Measured<SwitchExtras>> {
  const { cluster, clients } = actors;
  const quiet = await untilQuiet(actors);
  const began = now();
  const { op } = await cluster.client.command(DATASERVICE, { command: "switch" });
  await untilSwitched(cluster, op);
  const ended = now();
  await untilWritesElsewhere(actors, quiet.server);
  const after = await cluster.untilOnline();
  const { figures, events, errors } = await conclude(actors, quiet, began);
  const all = [...clients.perWrite.errors, ...clients.kept.errors];
  return {
    figures: {
      outageMs: tenths(outageMs([...clients.perWrite.acks, ...clients.kept.acks], quiet.server) ?? Number.NaN),
      heldMs: movedOutageMs(actors, quiet.server),
      ...figures,
      openedErrors: errorsOpened(all, { sinceMs: began.atMs, untilMs: ended.atMs }).length,
      keptDisconnects: cutsSince(clients.kept.errors, began.atMs),
    },
    before: quiet.before,
    after,
    timeline: timelineOf(events, began.wallMs, [
      firstAckElsewhere(actors, quiet.server, began),
      { afterMs: ended.atMs - began.atMs, text: "the command has ended" },
    ]),
    errors,
  };
}

/** Throws with the transcript when it was rolled back. */
function untilSwitched(cluster: DemoCluster, op: number): Promise<OperationStatus> {
  return until("the switch", { deadlineMs: SWITCH_MS, everyMs: LOOK_EVERY_MS }, async () => {
    const operation = await cluster.client.operation(DATASERVICE, op);
    if (operation.state === "failed")
      throw new Error(`the switch failed (${operation.code}):\n${operation.transcript.join("\n")}`);
    return operation.state === "succeeded" ? { found: operation } : { missing: operation.transcript.join("; ") };
  });
}

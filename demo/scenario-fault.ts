/**
 * The primary fails, in one of four ways: its server is killed, its whole host is, its host stands still for a while, or
 * those are killed who would end its server with the lease.
 */
import { randomInt } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { EventLine } from "#shared/protocol/api.ts";
import {
  conclude,
  firstAckElsewhere,
  movedOutageMs,
  now,
  untilQuiet,
  untilWritesElsewhere,
  type Actors,
  type Measured,
  type Moment,
} from "./actors.ts";
import { DirectWriters } from "./direct-writers.ts";
import { tenths } from "./figures.ts";
import type { DemoHost } from "./host.ts";
import { timelineOf, type TimelineEntry } from "./timeline.ts";

export type FaultName = "kill-primary" | "crash-primary" | "freeze-primary" | "kill-agents";

export interface FreezeExtras {
  /** What the thawed server acknowledged to clients that go straight to it. */
  directWrites: number;
  /** From the thaw to the last of them; 0 when there was none. */
  directMs: number;
}

/** Of the end of the dead primary's log that its successor lacked. */
export interface TailExtras {
  /** How much of it was fetched from the dead server's disk; 0 when nothing was lacking, or nothing could be had. */
  tailBytes: number;
  /** From the decision to fetch it to the promotion. */
  tailMs: number;
}

/** The fault falls anywhere between two renewals of the lease. */
const LEASE_PHASE_MS = 2_000;
/** The thaw comes this long after the clients have moved on. */
const THAW_MIN_MS = 2_000;
const THAW_MAX_MS = 4_000;
/** Longer than the agent and the guardian may take to fence, twice over. */
const DIRECT_MS = 5_000;

export async function measureFault(
  scenario: FaultName,
  actors: Actors,
): Promise<Measured<Partial<FreezeExtras & TailExtras>>> {
  const { cluster } = actors;
  const quiet = await untilQuiet(actors);
  const host = cluster.host(quiet.primary);
  const direct = scenario === "freeze-primary" ? new DirectWriters(quiet.server) : null;
  try {
    await direct?.connect();
    if (scenario !== "kill-primary") await pause(randomInt(LEASE_PHASE_MS));
    const began = now();
    await strike(scenario, host);
    await untilWritesElsewhere(actors, quiet.server);
    await cluster.untilPrimary({ afterEpoch: quiet.before.epoch });
    const thaw = direct && (await thawBeside(direct, host));
    const after = await cluster.untilOnline(() => [quiet.primary]);
    const { figures, events, errors } = await conclude(actors, quiet, began);
    return {
      figures: { outageMs: movedOutageMs(actors, quiet.server), ...figures, ...thaw?.extras, ...tailIn(events) },
      before: quiet.before,
      after,
      timeline: timelineOf(events, began.wallMs, [
        firstAckElsewhere(actors, quiet.server, began),
        ...(thaw ? [thawEntry(thaw.at, began)] : []),
      ]),
      errors,
    };
  } finally {
    await direct?.stop();
  }
}

/** Nothing where the successor had everything. */
function tailIn(events: readonly EventLine[]): Partial<TailExtras> {
  const began = events.find(({ kind }) => kind === "tail-fetching");
  const ended = events.find(({ kind }) => kind === "tail-salvaged" || kind === "tail-lost");
  if (!began || !ended) return {};
  const tailBytes = ended.kind === "tail-salvaged" ? Number(ended.data["bytes"]) : 0;
  return { tailBytes, tailMs: ended.wallMs - began.wallMs };
}

async function strike(scenario: FaultName, host: DemoHost): Promise<void> {
  switch (scenario) {
    case "kill-primary":
      await host.kill();
      return;
    case "crash-primary":
      await host.crash();
      return;
    case "freeze-primary":
      await host.freeze();
      return;
    case "kill-agents":
      host.killAgents();
  }
}

/** Lets the host go on while clients write straight to its server, and counts what it acknowledges to them. */
async function thawBeside(direct: DirectWriters, host: DemoHost): Promise<{ at: Moment; extras: FreezeExtras }> {
  await pause(randomInt(THAW_MIN_MS, THAW_MAX_MS));
  // What is sent now lies in the sockets of the server when it wakes up.
  direct.start();
  const at = now();
  host.thaw();
  await pause(DIRECT_MS);
  await direct.stop();
  const lastMs = Math.max(at.atMs, ...direct.acksAtMs);
  return { at, extras: { directWrites: direct.acksAtMs.length, directMs: tenths(lastMs - at.atMs) } };
}

function thawEntry(thaw: Moment, began: Moment): TimelineEntry {
  return { afterMs: thaw.atMs - began.atMs, text: "the frozen host goes on" };
}

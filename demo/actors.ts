/** Who takes part in every measured run, and what is told of them afterwards. */
import type { EventLine, Status } from "#shared/protocol/api.ts";
import type { DemoClients } from "./clients.ts";
import { DATASERVICE, type DemoCluster } from "./cluster.ts";
import { byServer, dualWrites, errorsOpened, lostNumbers, outageMs, tenths, type Ack } from "./figures.ts";
import type { Probe } from "./probe.ts";
import type { TimelineEntry } from "./timeline.ts";
import { until } from "./until.ts";

export interface Actors {
  cluster: DemoCluster;
  clients: DemoClients;
  /** None where its own writes, straight to the servers, would be part of what is measured. */
  probe: Probe | null;
}

/** The dataservice before anything is done to it. */
export interface Quiet {
  before: Status;
  primary: string;
  /** The port of its server. */
  server: number;
  /** The newest event. */
  lastEvent: number;
}

/** One moment on both clocks: the clients' and the coordinator's. */
export interface Moment {
  atMs: number;
  wallMs: number;
}

/** What every run tells. */
export interface CommonFigures {
  acked: number;
  lost: number;
  dualWriters: number;
  clientErrors: number;
}

export interface Aftermath {
  figures: CommonFigures;
  events: EventLine[];
  /** What the clients were told in connections opened since it began. */
  errors: string[];
}

const WARM_UP_ACKS = 300;
const SETTLED_ACKS = 100;
const WARM_UP_MS = 30_000;
const NEW_WRITES_MS = 60_000;
const LOOK_EVERY_MS = 10;

/** Waits until the clients are in full swing and everybody is ONLINE. */
export async function untilQuiet({ cluster, clients }: Actors): Promise<Quiet> {
  await untilAcks("the clients' first writes", { count: WARM_UP_ACKS, deadlineMs: WARM_UP_MS }, () => clients.ackCount);
  const before = await cluster.untilOnline();
  const primary = before.primary ?? "";
  const { last } = await cluster.client.events(DATASERVICE, Number.MAX_SAFE_INTEGER);
  return { before, primary, server: cluster.host(primary).plan.server?.member.port ?? 0, lastEvent: last };
}

export function now(): Moment {
  return { atMs: performance.now(), wallMs: Date.now() };
}

/** Waits until another server than `oldServer` has acknowledged a good many writes, to either client. */
export async function untilWritesElsewhere({ clients }: Actors, oldServer: number): Promise<void> {
  for (const [who, acks] of [
    ["the client with a connection for each write", clients.perWrite.acks],
    ["the client that keeps its connection", clients.kept.acks],
  ] as const) {
    await untilAcks(
      `writes on another server by ${who}`,
      { count: SETTLED_ACKS, deadlineMs: NEW_WRITES_MS },
      () => acks.filter(({ server }) => server !== oldServer).length,
    );
  }
}

/** Waits until a good many writes were acknowledged after `sinceMs`, by whichever server. */
export function untilWritesSince({ clients }: Actors, sinceMs: number): Promise<number> {
  return untilAcks(
    "writes go on",
    { count: SETTLED_ACKS, deadlineMs: NEW_WRITES_MS },
    () => clients.perWrite.acks.filter(({ sentAtMs }) => sentAtMs >= sinceMs).length,
  );
}

function untilAcks(
  what: string,
  { count, deadlineMs }: { count: number; deadlineMs: number },
  look: () => number,
): Promise<number> {
  return until(what, { deadlineMs, everyMs: LOOK_EVERY_MS }, () => {
    const seen = look();
    return seen >= count ? { found: seen } : { missing: `${seen} of ${count} are acknowledged` };
  });
}

/** Stops everybody and counts; the dataservice must have a primary. */
export async function conclude(actors: Actors, quiet: Quiet, began: Moment): Promise<Aftermath> {
  const { cluster, clients, probe } = actors;
  await clients.stop();
  await probe?.stop();
  const present = await clients.present();
  const acks = allAcks(actors);
  const errors = errorsOpened([...clients.perWrite.errors, ...clients.kept.errors], { sinceMs: began.atMs });
  const { events } = await cluster.client.events(DATASERVICE, quiet.lastEvent);
  return {
    figures: {
      acked: acks.length,
      lost: lostNumbers(acks, present).length,
      dualWriters: dualWrites(byServer(acks)).length + (probe?.dualWrites().length ?? 0),
      clientErrors: errors.length,
    },
    events,
    errors: [...new Set(errors.map(({ message }) => message))],
  };
}

/** What one scenario came to. */
export interface Measured<Extras> {
  figures: { outageMs: number } & CommonFigures & Extras;
  before: Status;
  after: Status;
  timeline: TimelineEntry[];
  /** What the clients were told in connections opened since it began. */
  errors: string[];
}

/** How long the client that connects for each write could not, when the primary has moved to another server. */
export function movedOutageMs({ clients }: Actors, oldServer: number): number {
  return tenths(outageMs(clients.perWrite.acks, oldServer) ?? Number.NaN);
}

/** The first write of that client on another server, for the timeline. */
export function firstAckElsewhere({ clients }: Actors, oldServer: number, began: Moment): TimelineEntry {
  const times = clients.perWrite.acks
    .filter(({ server }) => server !== oldServer)
    .map(({ ackedAtMs }) => ackedAtMs - began.atMs);
  return { afterMs: Math.min(...times), text: "the client's first acknowledged write" };
}

function allAcks({ clients }: Actors): Ack[] {
  return [...clients.perWrite.acks, ...clients.kept.acks];
}

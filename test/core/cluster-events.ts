/** Every phase of the coordinator's machine, reached through the machine itself, and every kind of thing it may hear. */
import type { Reason } from "#shared/core/cluster/reason.ts";
import { freshLive, type ClusterStep, type Refusal } from "#shared/core/cluster/state.ts";
import { voucherOf } from "#shared/core/cluster/restoring.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { voucherText } from "#shared/domain/voucher.ts";
import type { Command } from "#shared/domain/messages.ts";
import {
  answerInquiry,
  clocksAt,
  ask,
  createdCluster,
  epochOf,
  frozenPatch,
  nextPoll,
  openPatch,
  pass,
  passWithout,
  poll,
  releasedPatch,
  ROUTER,
  secondReign,
  send,
  silencedCluster,
  standOf,
  STOPPED,
  streamingPatch,
  subjectOf,
  WAIT_MS,
  WRITABLE,
  type Cluster,
  type PhaseKind,
  type PollPatch,
  type Stand,
} from "./builders.ts";

const { silentMs, failoverMs, promoteMs, ttlMs } = DEFAULT_SETTINGS;

/** How a dataservice comes into each phase. In all but founding and collecting-explicit db2 reigned second. */
export const phases: Record<PhaseKind, () => Cluster> = {
  /** db2 and db3 have reported; db4 and the named primary have not. */
  founding: () => {
    const cluster = createdCluster();
    for (const host of ["db2", "db3", "db4"]) poll(cluster, host);
    pass(cluster, 50);
    return cluster;
  },
  /** db2's server died; db3 has been told to open epoch 3. */
  "reigning-opening": () => {
    const cluster = phases["collecting-natural"]();
    for (const host of ["db4", "db3"])
      poll(cluster, host, { server: { receiver: { state: "ended", upstream: "db2" } } });
    pass(cluster, 50);
    return cluster;
  },
  "reigning-opened": () => {
    const cluster = secondReign();
    pass(cluster, 50);
    return cluster;
  },
  /** An operator failed db2, which has not polled since. */
  deposing: () => {
    const cluster = phases["reigning-opened"]();
    ask(cluster, { kind: "datasource-fail", member: "db2" });
    pass(cluster, 50);
    return cluster;
  },
  /** db2's server died; db3 and db4 still seem to stream. */
  "collecting-natural": () => {
    const cluster = phases["reigning-opened"]();
    poll(cluster, "db2", releasedPatch(2));
    pass(cluster, 50);
    return cluster;
  },
  /** db1 is silent and expired; nobody has been asked whether its server is writable. */
  "collecting-asking": () => {
    const cluster = silencedCluster();
    pass(cluster, 50);
    return cluster;
  },
  /** Nobody has heard a writable upstream; nobody has been frozen. */
  "collecting-explicit": () => {
    const cluster = phases["collecting-asking"]();
    answerInquiry(cluster, ["db2", "db3", "db4"], "read-only");
    pass(cluster, 50);
    return cluster;
  },
  /** db2's server died, and those of db3 and db4 with it. */
  vacant: () => {
    const cluster = phases["collecting-natural"]();
    for (const host of ["db3", "db4"]) poll(cluster, host, { server: { report: STOPPED } });
    pass(cluster, failoverMs);
    send(cluster, { kind: "tick" });
    pass(cluster, 50);
    return cluster;
  },
};

/** What a member says that remembers more than this coordinator, and brings its word for it. */
export function laterPast({ state: { durable } }: Cluster): PollPatch {
  const numbers = { version: 300, epoch: 9, op: 30, mintedWallMs: 7, timeline: 9, policyVersion: 4 };
  const mac = voucherText({ ...voucherOf(durable), ...numbers });
  return { epochSeen: 9, opSeen: 30, version: 300, mac };
}

/** The replica of the tables: db4 is one in every phase. */
export const REPLICA = "db4";

export type EventKind =
  | "tick"
  | "router-poll"
  | "stale-poll"
  | "poll-of-a-later-past"
  | "fresh-incarnation"
  | "fresh-incarnation-hears-primary"
  | "primary-healthy"
  | "primary-server-died"
  | "primary-lost-its-lease"
  | "primary-silent-until-expired"
  | "everybody-silent"
  | "opening-takes-too-long"
  | "promotion-refused"
  | "replica-streams"
  | "replica-stream-ended"
  | "replica-frozen"
  | "replica-stopped"
  | "replica-silent"
  | "replica-writable"
  | "deposed-member-returns"
  | "operator-failover"
  | "operator-failover-to-replica"
  | "operator-failover-to-stranger"
  | "operator-fails-primary"
  | "operator-fails-replica"
  | "operator-failover-by-force"
  | "operator-switch"
  | "operator-switch-to-replica"
  | "operator-recover"
  | "operator-recovers-primary"
  | "operator-recovers-replica"
  | "operator-shuns-primary"
  | "operator-shuns-primary-by-force"
  | "operator-shuns-replica"
  | "operator-welcomes-replica"
  | "operator-takes-primary-offline"
  | "operator-takes-replica-offline"
  | "operator-brings-primary-online"
  | "operator-brings-replica-online"
  | "operator-sets-manual"
  | "operator-sets-maintenance";

/** Brings an event about; yields its steps, of which the last one's answer counts. */
export const events: Record<EventKind, (cluster: Cluster) => ClusterStep[]> = {
  tick: (cluster) => [send(cluster, { kind: "tick" })],
  "router-poll": (cluster) => [poll(cluster, ROUTER)],
  "stale-poll": (cluster) => [
    send(cluster, { kind: "poll", poll: { ...nextPoll(cluster, "db3"), seq: 1, clocks: clocksAt(0) } }),
  ],
  "poll-of-a-later-past": (cluster) => [poll(cluster, REPLICA, laterPast(cluster))],
  "fresh-incarnation": (cluster) => {
    begin(cluster);
    pass(cluster, WAIT_MS + 1);
    return [send(cluster, { kind: "tick" })];
  },
  "fresh-incarnation-hears-primary": (cluster) => {
    begin(cluster);
    return [poll(cluster, subjectOf(cluster), openPatch(epochOf(cluster)))];
  },
  "primary-healthy": (cluster) => [poll(cluster, subjectOf(cluster), primaryPatch(cluster))],
  "primary-server-died": (cluster) => [poll(cluster, subjectOf(cluster), releasedPatch(epochOf(cluster)))],
  "primary-lost-its-lease": (cluster) => [
    poll(cluster, subjectOf(cluster), { ...releasedPatch(epochOf(cluster)), releaseCause: "lease-lost" }),
  ],
  "primary-silent-until-expired": (cluster) => passWithout(cluster, WAIT_MS + 1_000, [subjectOf(cluster), "db1"]),
  "everybody-silent": (cluster) => {
    pass(cluster, WAIT_MS + 1_000);
    return [send(cluster, { kind: "tick" })];
  },
  "opening-takes-too-long": (cluster) => {
    const steps: ClusterStep[] = [];
    for (let waited = 0; waited < promoteMs; waited += 1_000) {
      pass(cluster, 1_000);
      steps.push(poll(cluster, subjectOf(cluster), { ...primaryPatch(cluster), server: { phase: "opening" } }));
    }
    return steps;
  },
  "promotion-refused": (cluster) => {
    const epoch = epochOf(cluster);
    const newest = cluster.state.durable.commands[subjectOf(cluster)];
    const results = newest
      ? [{ id: newest.id, op: newest.op, outcome: "refused", code: "server-down", value: "", detail: "" } as const]
      : [];
    return [poll(cluster, subjectOf(cluster), { results, released: epoch, releaseCause: "promotion-failed" })];
  },
  "replica-streams": (cluster) => [poll(cluster, REPLICA, streamingPatch(subjectOf(cluster)))],
  "replica-stream-ended": (cluster) => [
    poll(cluster, REPLICA, { server: { receiver: { state: "ended", upstream: subjectOf(cluster) } } }),
  ],
  "replica-frozen": (cluster) => [poll(cluster, REPLICA, frozenPatch(cluster))],
  "replica-stopped": (cluster) => [poll(cluster, REPLICA, { server: { report: STOPPED } })],
  "replica-silent": (cluster) => {
    const steps: ClusterStep[] = [];
    for (let waited = 0; waited < silentMs; waited += 1_000) {
      pass(cluster, 1_000);
      steps.push(poll(cluster, subjectOf(cluster), primaryPatch(cluster)));
    }
    return steps;
  },
  "replica-writable": (cluster) => [poll(cluster, REPLICA, { server: { report: WRITABLE } })],
  "deposed-member-returns": (cluster) => [poll(cluster, "db1", openPatch(1))],
  "operator-failover": (cluster) => [ask(cluster, { kind: "failover", to: null })],
  "operator-failover-to-replica": (cluster) => [ask(cluster, { kind: "failover", to: REPLICA })],
  "operator-failover-to-stranger": (cluster) => [ask(cluster, { kind: "failover", to: "db9" })],
  "operator-fails-primary": (cluster) => [ask(cluster, { kind: "datasource-fail", member: subjectOf(cluster) })],
  "operator-fails-replica": (cluster) => [ask(cluster, { kind: "datasource-fail", member: REPLICA })],
  /** Nobody has heard the primary for a lease. */
  "operator-failover-by-force": (cluster) => {
    const steps = passWithout(cluster, ttlMs, [subjectOf(cluster), "db1"]);
    return [...steps, ask(cluster, { kind: "failover", to: null }, { force: true })];
  },
  "operator-switch": (cluster) => [ask(cluster, { kind: "switch", to: null })],
  "operator-switch-to-replica": (cluster) => [ask(cluster, { kind: "switch", to: REPLICA })],
  "operator-recover": (cluster) => [ask(cluster, { kind: "recover" })],
  "operator-recovers-primary": (cluster) => [ask(cluster, { kind: "datasource-recover", member: subjectOf(cluster) })],
  "operator-recovers-replica": (cluster) => [ask(cluster, { kind: "datasource-recover", member: REPLICA })],
  "operator-shuns-primary": (cluster) => [ask(cluster, { kind: "datasource-shun", member: subjectOf(cluster) })],
  "operator-shuns-primary-by-force": (cluster) => [
    ask(cluster, { kind: "datasource-shun", member: subjectOf(cluster) }, { force: true }),
  ],
  "operator-shuns-replica": (cluster) => [ask(cluster, { kind: "datasource-shun", member: REPLICA })],
  "operator-welcomes-replica": (cluster) => [ask(cluster, { kind: "datasource-welcome", member: REPLICA })],
  "operator-takes-primary-offline": (cluster) => [
    ask(cluster, { kind: "datasource-offline", member: subjectOf(cluster) }),
  ],
  "operator-takes-replica-offline": (cluster) => [ask(cluster, { kind: "datasource-offline", member: REPLICA })],
  "operator-brings-primary-online": (cluster) => [
    ask(cluster, { kind: "datasource-online", member: subjectOf(cluster) }),
  ],
  "operator-brings-replica-online": (cluster) => [ask(cluster, { kind: "datasource-online", member: REPLICA })],
  "operator-sets-manual": (cluster) => [ask(cluster, { kind: "set-policy", policy: "manual" })],
  "operator-sets-maintenance": (cluster) => [ask(cluster, { kind: "set-policy", policy: "maintenance" })],
};

/** What a healthy primary says: before its epoch is minted it merely serves. */
function primaryPatch(cluster: Cluster) {
  const { kind } = cluster.state.durable.phase;
  return kind === "founding"
    ? { server: { phase: "observing", report: WRITABLE } as const }
    : openPatch(epochOf(cluster));
}

function begin(cluster: Cluster): void {
  cluster.state = { ...cluster.state, live: freshLive(cluster.state.live.generation + 1, cluster.atMs) };
  cluster.atMs = 0;
}

/** What came of an event, in words that are stable: the phase, the reasons' kinds, and what the answer carries. */
export interface Outcome {
  phase: Stand;
  /** Each kind once, in the order in which it first came. */
  reasons: Reason["kind"][];
  answer: Answer;
}

export type Carried = "lease" | "lease-ended" | "route" | Command["kind"];
export type Answer = "none" | "accepted" | Refusal["code"] | Carried[];

export function outcomeOf(cluster: Cluster, steps: readonly ClusterStep[]): Outcome {
  const kinds = steps.flatMap((one) => one.reasons.map((reason) => reason.kind));
  return { phase: standOf(cluster.state.durable), reasons: [...new Set(kinds)], answer: answerOf(steps.at(-1)) };
}

function answerOf(last: ClusterStep | undefined): Answer {
  if (!last) throw new Error("an event is at least one step");
  switch (last.answer.kind) {
    case "none":
    case "accepted":
      return last.answer.kind;
    case "refused":
      return last.answer.refusal.code;
    case "reply": {
      const { lease, leaseEndedEpoch, commands, routes } = last.answer.reply;
      return [
        ...(lease ? (["lease"] as const) : []),
        ...(leaseEndedEpoch === null ? [] : (["lease-ended"] as const)),
        ...commands.map((one) => one.kind),
        ...(routes.some((route) => route.service === "read-write" && route.target) ? (["route"] as const) : []),
      ];
    }
  }
}

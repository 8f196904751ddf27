/** Every step of a switch and of a recovery, reached through the machine itself, and what may happen in it. */
import {
  freshLive,
  type ClusterStep,
  type Plan,
  type RecoverStep,
  type SwitchStep,
} from "#shared/core/cluster/state.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answeredPatch,
  ask,
  epochOf,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  poll,
  position,
  releasedPatch,
  ROUTER,
  send,
  STOPPED,
  streamingPatch,
  WAIT_MS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";

const { flushMs, silentMs, switchMs, ttlMs } = DEFAULT_SETTINGS;
/** Longer than any single step waits. */
const LONG_STEP_MS = 31_000;

/** Where db2 has written to when it reigns second, how much of that a replica has applied, and where its last shutdown began. */
const PAST: [number, string][] = [[1, "0/3000000"]];
const END = position("0/3000100", 2, PAST);
const APPLIED_ALL = 0x3000100;
const SHUTDOWN_LSN = "0/3000080";
/** What db1 has written beyond the fork that db2 took. */
const DIVERGED = position("0/3000800");

export type SwitchRow =
  | `switch-${SwitchStep["kind"]}`
  /** The primary has stopped in good order; the target may still lack something. */
  | "switch-stopping, handing over"
  /** The target has been told to open. */
  | "switch-stopping, crowning"
  /** The stop was not clean: the prior primary is started and opened again. */
  | "switch-undoing, by a new epoch";

export type RecoverRow =
  | `recover-${RecoverStep["kind"]}`
  /** A rebuild has ended well, and what it left is looked at again. */
  | "recover-verifying, rebuilt";

/** db2 reigns and hands over to db3; db4 follows, db1 is stopped since it was succeeded, and one router host has a connector. */
export const switchRows: Record<SwitchRow, () => Cluster> = {
  "switch-preparing": () => {
    const cluster = phases["reigning-opened"]();
    poll(cluster, "db1", releasedPatch(1));
    ask(cluster, { kind: "switch", to: "db3" });
    return later(cluster);
  },
  "switch-holding": () => {
    const cluster = switchRows["switch-preparing"]();
    poll(cluster, "db2");
    poll(cluster, "db2", answeredPatch(cluster, "db2"));
    return later(cluster);
  },
  "switch-settling": () => {
    const cluster = switchRows["switch-holding"]();
    poll(cluster, ROUTER, onHold(cluster));
    return later(cluster);
  },
  "switch-draining": () => {
    const cluster = switchRows["switch-settling"]();
    pass(cluster, 60);
    send(cluster, { kind: "tick" });
    return later(cluster);
  },
  "switch-flushing": () => {
    const cluster = switchRows["switch-draining"]();
    poll(cluster, "db2");
    const { results = [] } = answeredPatch(cluster, "db2", { value: "2" });
    poll(cluster, "db2", { results, server: { door: "shut" } });
    return later(cluster);
  },
  "switch-stopping": () => {
    const cluster = switchRows["switch-flushing"]();
    poll(cluster, "db3", { server: { applied: APPLIED_ALL } });
    return later(cluster);
  },
  "switch-stopping, handing over": () => {
    const cluster = switchRows["switch-stopping"]();
    poll(cluster, "db2", stoppedPatch(cluster, SHUTDOWN_LSN));
    return later(cluster);
  },
  "switch-stopping, crowning": () => {
    const cluster = switchRows["switch-stopping, handing over"]();
    poll(cluster, "db3", endedPatch());
    return later(cluster);
  },
  "switch-returning": () => {
    const cluster = switchRows["switch-stopping, crowning"]();
    poll(cluster, "db3", openPatch(epochOf(cluster)));
    return later(cluster);
  },
  "switch-undoing": () => {
    const cluster = switchRows["switch-flushing"]();
    pass(cluster, flushMs);
    send(cluster, { kind: "tick" });
    return later(cluster);
  },
  "switch-undoing, by a new epoch": () => {
    const cluster = switchRows["switch-stopping"]();
    poll(cluster, "db2", stoppedPatch(cluster, null));
    return later(cluster);
  },
};

/** db2 reigns; db1, which it succeeded, is back and its server is stopped. */
export const recoverRows: Record<RecoverRow, () => Cluster> = {
  "recover-verifying": () => {
    const cluster = phases["reigning-opened"]();
    poll(cluster, "db1", releasedPatch(1));
    ask(cluster, { kind: "datasource-recover", member: "db1" });
    return later(cluster);
  },
  "recover-rebuilding": () => {
    const cluster = recoverRows["recover-verifying"]();
    poll(cluster, "db1", { server: { report: IN_RECOVERY, position: DIVERGED } });
    return later(cluster);
  },
  "recover-verifying, rebuilt": () => {
    const cluster = recoverRows["recover-rebuilding"]();
    poll(cluster, "db1", { server: { report: STOPPED } });
    poll(cluster, "db1", rebuiltPatch(cluster));
    return later(cluster);
  },
  "recover-following": () => {
    const cluster = recoverRows["recover-verifying"]();
    poll(cluster, "db1", { server: { report: IN_RECOVERY } });
    return later(cluster);
  },
};

export type CommonEventKind =
  | "tick"
  | "fresh-incarnation"
  | "fresh-incarnation-hears-everybody"
  | "primary-healthy"
  | "primary-server-died"
  | "primary-silent-until-expired"
  | "command-done"
  | "command-failed"
  | "step-takes-long"
  | "operator-switch"
  | "operator-failover"
  | "operator-failover-by-force"
  | "operator-fails-primary"
  | "operator-recover"
  | "operator-sets-maintenance";

export type SwitchEventKind =
  | CommonEventKind
  | "primary-stopped-in-good-order"
  | "primary-stopped-in-a-crash"
  | "primary-streams-from-the-target"
  | "target-streams"
  | "target-has-everything"
  | "target-stream-ended"
  | "target-stopped"
  | "target-silent"
  | "target-opens"
  | "target-refuses"
  | "connector-holds"
  | "connector-does-not-hold"
  | "connector-silent"
  | "switch-takes-long"
  | "operator-shuns-target";

export type RecoverEventKind =
  | CommonEventKind
  | "member-stopped"
  | "member-in-recovery"
  | "member-diverged"
  | "member-damaged"
  | "member-writable"
  | "member-streams"
  | "member-silent"
  | "member-rebuilt"
  | "operator-shuns-member";

/** What a plan of either kind may meet. `plan.primary` of a recovery is the one that reigns. */
const commonEvents: Record<CommonEventKind, (cluster: Cluster) => ClusterStep[]> = {
  tick: (cluster) => [send(cluster, { kind: "tick" })],
  "fresh-incarnation": (cluster) => {
    begin(cluster);
    return [send(cluster, { kind: "tick" })];
  },
  "fresh-incarnation-hears-everybody": (cluster) => {
    begin(cluster);
    return Object.keys(cluster.polls).map((host) => poll(cluster, host));
  },
  "primary-healthy": (cluster) => [poll(cluster, reigning(cluster))],
  "primary-server-died": (cluster) => [poll(cluster, reigning(cluster), releasedPatch(ownEpoch(cluster)))],
  "primary-silent-until-expired": (cluster) => passWithout(cluster, WAIT_MS + 1_000, [reigning(cluster)]),
  "command-done": (cluster) => {
    poll(cluster, worker(cluster));
    return [poll(cluster, worker(cluster), answeredPatch(cluster, worker(cluster), { value: "1" }))];
  },
  "command-failed": (cluster) => {
    poll(cluster, worker(cluster));
    const failed = answeredPatch(cluster, worker(cluster), { outcome: "failed", code: "engine-failed" });
    return [poll(cluster, worker(cluster), failed)];
  },
  "step-takes-long": (cluster) => passWithout(cluster, LONG_STEP_MS, []),
  "operator-switch": (cluster) => [ask(cluster, { kind: "switch", to: null })],
  "operator-failover": (cluster) => [ask(cluster, { kind: "failover", to: null })],
  /** Nobody has heard the one who reigns for a lease. */
  "operator-failover-by-force": (cluster) => {
    const steps = passWithout(cluster, ttlMs, [reigning(cluster)]);
    return [...steps, ask(cluster, { kind: "failover", to: null }, { force: true })];
  },
  "operator-fails-primary": (cluster) => [ask(cluster, { kind: "datasource-fail", member: reigning(cluster) })],
  "operator-recover": (cluster) => [ask(cluster, { kind: "recover" })],
  "operator-sets-maintenance": (cluster) => [ask(cluster, { kind: "set-policy", policy: "maintenance" })],
};

export const switchEvents: Record<SwitchEventKind, (cluster: Cluster) => ClusterStep[]> = {
  ...commonEvents,
  "primary-stopped-in-good-order": (cluster) => [poll(cluster, "db2", stoppedPatch(cluster, SHUTDOWN_LSN))],
  "primary-stopped-in-a-crash": (cluster) => [poll(cluster, "db2", stoppedPatch(cluster, null))],
  "primary-streams-from-the-target": (cluster) => [
    poll(cluster, "db2", {
      ...stoppedPatch(cluster, null),
      ...streamingPatch("db3"),
      server: { ...streamingPatch("db3").server, position: END },
    }),
  ],
  "target-streams": (cluster) => [poll(cluster, "db3", streamingPatch("db2"))],
  "target-has-everything": (cluster) => [poll(cluster, "db3", { server: { applied: APPLIED_ALL } })],
  "target-stream-ended": (cluster) => [poll(cluster, "db3", endedPatch())],
  "target-stopped": (cluster) => [poll(cluster, "db3", { server: { report: STOPPED, receiver: { state: "none" } } })],
  "target-silent": (cluster) => passWithout(cluster, silentMs, ["db3"]),
  "target-opens": (cluster) => [poll(cluster, "db3", openPatch(epochOf(cluster)))],
  "target-refuses": (cluster) => [
    poll(cluster, "db3", { released: epochOf(cluster), releaseCause: "promotion-failed" }),
  ],
  "connector-holds": (cluster) => [poll(cluster, ROUTER, onHold(cluster))],
  "connector-does-not-hold": (cluster) => passWithout(cluster, 4_500, []),
  "connector-silent": (cluster) => passWithout(cluster, 4_000, [ROUTER]),
  "switch-takes-long": (cluster) => {
    pass(cluster, switchMs);
    return [send(cluster, { kind: "tick" })];
  },
  "operator-shuns-target": (cluster) => [ask(cluster, { kind: "datasource-shun", member: "db3" })],
};

export const recoverEvents: Record<RecoverEventKind, (cluster: Cluster) => ClusterStep[]> = {
  ...commonEvents,
  "member-stopped": (cluster) => [poll(cluster, "db1", { server: { report: STOPPED } })],
  "member-in-recovery": (cluster) => [poll(cluster, "db1", { server: { report: IN_RECOVERY } })],
  "member-diverged": (cluster) => [poll(cluster, "db1", { server: { report: IN_RECOVERY, position: DIVERGED } })],
  "member-damaged": (cluster) => [poll(cluster, "db1", { server: { report: STOPPED, isDamaged: true } })],
  "member-writable": (cluster) => [
    poll(cluster, "db1", { server: { report: { state: "running", inRecovery: false, writable: true } } }),
  ],
  "member-streams": (cluster) => [
    poll(cluster, "db1", { ownEpoch: 0, server: { ...streamingPatch("db2").server, position: END } }),
  ],
  "member-silent": (cluster) => passWithout(cluster, LONG_STEP_MS, ["db1"]),
  "member-rebuilt": (cluster) => {
    poll(cluster, "db1");
    return [poll(cluster, "db1", rebuiltPatch(cluster))];
  },
  "operator-shuns-member": (cluster) => [ask(cluster, { kind: "datasource-shun", member: "db1" })],
};

/** Who holds the reign that the plan is about, or is about to hold it. */
function reigning({ state: { durable } }: Cluster): string {
  const { phase } = durable;
  return phase.kind === "collecting" || phase.kind === "vacant" ? phase.deposed : phase.primary;
}

/** The epoch that the one who reigns has opened, or been told to. */
function ownEpoch({ state: { durable } }: Cluster): number {
  return durable.phase.kind === "founding" ? 0 : durable.phase.epoch;
}

/** Whoever is told something by the plan at this step. */
function worker(cluster: Cluster): string {
  const plan = planOf(cluster);
  if (plan.kind === "recover") return plan.member;
  const { phase } = cluster.state.durable;
  return phase.kind === "reigning" && !phase.opened ? phase.primary : plan.primary;
}

function planOf({ state: { durable } }: Cluster): Plan {
  if (!durable.plan) throw new Error("no plan is under way");
  return durable.plan;
}

/** Stopped by a commanded fence; `shutdownLsn` is null after a stop that had to be forced. */
function stoppedPatch(cluster: Cluster, shutdownLsn: string | null): PollPatch {
  const epoch = Math.min(2, epochOf(cluster));
  return {
    ...releasedPatch(epoch),
    releaseCause: "commanded",
    server: { ...releasedPatch(epoch).server, position: END, door: "open", shutdownLsn },
  };
}

function endedPatch(): PollPatch {
  return {
    server: { report: IN_RECOVERY, position: END, applied: APPLIED_ALL, receiver: { state: "ended", upstream: "db2" } },
  };
}

/** A rebuild has ended well: another data incarnation, which holds nothing of its own. */
function rebuiltPatch(cluster: Cluster): PollPatch {
  return {
    ...answeredPatch(cluster, "db1"),
    incarnation: "incarnation-rebuilt",
    ownEpoch: 0,
    server: { report: STOPPED, position: position("0/3000000") },
  };
}

function onHold(cluster: Cluster): PollPatch {
  const connector = cluster.polls[ROUTER]?.connector;
  return connector ? { connector: { ...connector, state: "on-hold" } } : {};
}

function begin(cluster: Cluster): void {
  cluster.state = { ...cluster.state, live: freshLive(cluster.state.live.generation + 1, cluster.atMs) };
  cluster.atMs = 0;
}

function later(cluster: Cluster): Cluster {
  pass(cluster, 10);
  return cluster;
}

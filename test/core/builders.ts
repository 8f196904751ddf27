/**
 * What the tests of the two machines are made of: a dataservice with four members and a router host, driven by polls
 * as real agents would send them. Every phase is reached through the coordinator's own machine, never written by hand.
 */
import type { Clocks } from "#shared/domain/clocks.ts";
import type { CommandResult, MemberServerReport, Poll, ServerReport } from "#shared/domain/messages.ts";
import type { PostgresPosition } from "#shared/domain/position.ts";
import { DEFAULT_SETTINGS, expiryWaitMs } from "#shared/domain/settings.ts";
import { voucherOfText, voucherText, type Voucher } from "#shared/domain/voucher.ts";
import { step } from "#shared/core/cluster/step.ts";
import {
  DEFAULT_SYNC_POLICY,
  foundingState,
  freshLive,
  type ClusterEvent,
  type ClusterState,
  type ClusterStep,
  type DurableState,
  type OperatorRequest,
  type Phase,
  type RecoverStep,
  type SwitchStep,
} from "#shared/core/cluster/state.ts";

export const SYSTEM_ID = "7300000000000000001";
export const MEMBERS = ["db1", "db2", "db3", "db4"] as const;
/** Everybody but the first primary. */
export const REPLICAS: readonly string[] = ["db2", "db3", "db4"];
export const ROUTER = "app1";
export const WAIT_MS = expiryWaitMs(DEFAULT_SETTINGS, DEFAULT_SETTINGS);

/** Any moment of a host whose three clocks agree. */
export function clocksAt(ms: number): Clocks {
  return { monoMs: ms, bootMs: 100_000 + ms, wallMs: 1_800_000_000_000 + ms };
}

/** A PostgreSQL position; `history` lists `[timeline, endLsn]`, oldest first. */
export function position(lsn: string, timeline = 1, history: [number, string][] = []): PostgresPosition {
  return {
    engine: "postgres",
    systemId: SYSTEM_ID,
    timeline,
    lsn,
    history: history.map(([past, endLsn]) => ({ timeline: past, endLsn })),
  };
}

export const WRITABLE: ServerReport = { state: "running", inRecovery: false, writable: true };
export const IN_RECOVERY: ServerReport = { state: "running", inRecovery: true, writable: false };
export const STOPPED: ServerReport = { state: "stopped" };

/** A healthy replica that nobody has told whom to follow. */
export function healthyServer(name: string): MemberServerReport {
  return {
    phase: "closed",
    endpoint: { host: `${name}.example`, port: 5432 },
    engine: "postgres",
    engineVersion: "18.4",
    systemId: SYSTEM_ID,
    report: IN_RECOVERY,
    position: position("0/3000000"),
    isWhole: true,
    furthest: null,
    applied: 50_331_648,
    latencyMs: 0,
    receiver: { state: "none" },
    lookedAfter: null,
    shutdownLsn: null,
    tail: null,
    door: "open",
    isDamaged: false,
    sync: null,
  };
}

/** The first poll of an agent that was just installed beside a healthy server. */
export function healthyPoll(host: string): Poll {
  return {
    protocol: 1,
    dataservice: "alpha",
    host,
    startCount: 1,
    seq: 0,
    nonce: null,
    nonceClocks: null,
    clocks: clocksAt(0),
    epochSeen: 0,
    opSeen: 0,
    attempted: 0,
    ownEpoch: 0,
    released: 0,
    releaseCause: "none",
    version: 0,
    mac: "",
    incarnation: `incarnation-${host}`,
    place: `boot-1 of ${host}`,
    fenceMs: 1_500,
    hasLeaseDoor: false,
    electorateVersion: 0,
    policyVersion: 0,
    syncSeen: 0,
    leaseRemainingMs: null,
    server: host === ROUTER ? null : healthyServer(host),
    connector: host === ROUTER ? { pid: 7, state: "online", created: 0, active: 0, targets: [] } : null,
    peer: null,
    results: [],
    promises: [],
  };
}

/** What a poll changes of the host's last one; `server` is merged into the last server report. */
export type PollPatch = Partial<Omit<Poll, "server" | "host">> & { server?: Partial<MemberServerReport> };

/** A coordinator's state and, per host, the poll that its agent sent last. Mutable: copy it with `structuredClone`. */
export interface Cluster {
  state: ClusterState;
  atMs: number;
  polls: Record<string, Poll>;
  /** Steps in the place of the machine itself, so that a test can look at every one. */
  stepWith?: (state: ClusterState, event: ClusterEvent) => ClusterStep;
}

/** A dataservice that was just created: nobody has polled. */
export function createdCluster(): Cluster {
  const durable = foundingState({
    dataservice: "alpha",
    members: MEMBERS.map((name) => ({ name, priority: 100 })),
    primary: "db1",
    routers: [ROUTER],
    settings: DEFAULT_SETTINGS,
    durability: "async",
    syncPolicy: DEFAULT_SYNC_POLICY,
    wallMs: 0,
  });
  return {
    state: { durable, lease: null, live: freshLive(1, 0) },
    atMs: 0,
    polls: Object.fromEntries([...MEMBERS, ROUTER].map((host) => [host, healthyPoll(host)])),
  };
}

export function kindOf(phase: Phase): PhaseKind {
  switch (phase.kind) {
    case "founding":
    case "deposing":
    case "vacant":
      return phase.kind;
    case "reigning":
      return phase.opened ? "reigning-opened" : "reigning-opening";
    case "collecting":
      if (phase.inquiry.kind === "asking") return "collecting-asking";
      return phase.proof === "released" ? "collecting-natural" : "collecting-explicit";
  }
}

export type PhaseKind =
  | "founding"
  | "reigning-opening"
  | "reigning-opened"
  | "deposing"
  | "collecting-asking"
  | "collecting-natural"
  | "collecting-explicit"
  | "vacant";

/** Where a dataservice stands: its phase, and the step of the plan that is under way in it. */
export type Stand = PhaseKind | `${PhaseKind} ${PlanKind}`;
export type PlanKind = `switch-${SwitchStep["kind"]}` | `recover-${RecoverStep["kind"]}`;

export function standOf({ phase, plan }: Pick<DurableState, "phase" | "plan">): Stand {
  const kind = kindOf(phase);
  if (!plan) return kind;
  return plan.kind === "switch" ? `${kind} switch-${plan.step.kind}` : `${kind} recover-${plan.step.kind}`;
}

/** The member that the phase is about: who reigns, is being deposed, or was. */
export function subjectOf(cluster: Cluster): string {
  const { phase } = cluster.state.durable;
  return phase.kind === "collecting" || phase.kind === "vacant" ? phase.deposed : phase.primary;
}

export function phaseOf({ state }: Pick<Cluster, "state">): Phase {
  return state.durable.phase;
}

/** Stores this, as if the machine had come to it. */
export function setDurable(cluster: Cluster, patch: Partial<DurableState>): void {
  cluster.state = { ...cluster.state, durable: { ...cluster.state.durable, ...patch } };
}

export function epochOf(cluster: Cluster): number {
  return cluster.state.durable.epoch;
}

/** Hands one event in, stamped with the cluster's time. */
export function send(
  cluster: Cluster,
  event:
    | { kind: "tick" }
    | Omit<Extract<ClusterEvent, { kind: "command" }>, "at" | "wallMs">
    | { kind: "poll"; poll: Poll },
): ClusterStep {
  const said = event.kind === "poll" ? { ...event, voucher: vouchedBy(event.poll) } : event;
  const result = (cluster.stepWith ?? step)(cluster.state, { ...said, at: cluster.atMs, wallMs: cluster.atMs });
  cluster.state = result.state;
  return result;
}

/** What a poll brings back of what the coordinator signed; signatures are the shell's. */
function vouchedBy({ mac }: Poll): Voucher | null {
  return mac === "" ? null : voucherOfText(mac);
}

/** An operator asks for something. */
export function ask(cluster: Cluster, command: OperatorRequest, { force = false } = {}): ClusterStep {
  return send(cluster, { kind: "command", command, by: "operator", force });
}

/** The next poll of a host: its last one with `patch`, the time of now, and whatever its last reply taught it. */
export function nextPoll(cluster: Cluster, host: string, patch: PollPatch = {}): Poll {
  const last = cluster.polls[host];
  if (!last) throw new Error(`no host ${host}`);
  const { server, ...head } = patch;
  return {
    ...last,
    seq: last.seq + 1,
    clocks: clocksAt(cluster.atMs),
    ...head,
    // A fresh look goes with every poll.
    server: last.server && { ...last.server, lookedAfter: last.nonce, ...server },
  };
}

/** A host polls, and learns from the reply what every agent learns: the nonce, the epoch, the operation, the version. */
export function poll(cluster: Cluster, host: string, patch: PollPatch = {}): ClusterStep {
  const sent = nextPoll(cluster, host, patch);
  const result = send(cluster, { kind: "poll", poll: sent });
  const learnt = result.answer.kind === "reply" ? learn(sent, result.answer.reply, cluster.atMs) : {};
  cluster.polls[host] = { ...sent, ...learnt };
  return result;
}

type ReplyOf = Extract<ClusterStep["answer"], { kind: "reply" }>["reply"];

function learn(sent: Poll, reply: ReplyOf, atMs: number): Partial<Poll> {
  return {
    nonce: reply.nonce,
    nonceClocks: clocksAt(atMs),
    ...(reply.version > sent.version ? { version: reply.version, mac: voucherText(reply.voucher) } : {}),
    epochSeen: Math.max(sent.epochSeen, ...reply.commands.map((command) => command.epoch)),
    opSeen: Math.max(sent.opSeen, ...reply.commands.map((command) => command.op)),
    leaseRemainingMs: reply.lease ? reply.lease.ttlMs : sent.leaseRemainingMs,
  };
}

/** Time passes and nobody speaks. */
export function pass(cluster: Cluster, ms: number): void {
  cluster.atMs += ms;
}

/** What an open primary says; `leaseRemainingMs` of 1,000 makes an extension due. */
export function openPatch(epoch: number): PollPatch {
  return {
    epochSeen: epoch,
    attempted: epoch,
    ownEpoch: epoch,
    leaseRemainingMs: 1_000,
    server: { phase: "open", report: WRITABLE },
  };
}

/** What a primary says whose server has died and whose epoch is over. */
export function releasedPatch(epoch: number): PollPatch {
  return {
    attempted: epoch,
    ownEpoch: epoch,
    released: epoch,
    releaseCause: "server-died",
    leaseRemainingMs: null,
    server: { phase: "closed", report: STOPPED },
  };
}

/** What a replica of `upstream` says. */
export function streamingPatch(upstream: string): PollPatch {
  return { server: { phase: "closed", report: IN_RECOVERY, receiver: { state: "streaming", upstream } } };
}

/** What a replica of `upstream` says whose stream has ended. */
export function endedPatch(upstream: string): PollPatch {
  return { server: { receiver: { state: "ended", upstream } } };
}

/** What every agent says of itself in the first poll of a start. */
export function begunPatch(startCount: number): PollPatch {
  return { startCount, seq: 1, nonce: null, nonceClocks: null, clocks: clocksAt(0) };
}

/** Everybody but `silent` polls once a second for `ms`. */
export function passWithout(cluster: Cluster, ms: number, silent: readonly string[]): ClusterStep[] {
  const steps: ClusterStep[] = [];
  const end = cluster.atMs + ms;
  while (cluster.atMs < end) {
    pass(cluster, Math.min(1_000, end - cluster.atMs));
    for (const host of Object.keys(cluster.polls)) {
      if (!silent.includes(host)) steps.push(poll(cluster, host));
    }
  }
  return steps;
}

/** db1 was adopted while serving and holds epoch 1; the others stream from it. */
export function runningCluster(): Cluster {
  const cluster = createdCluster();
  for (const host of REPLICAS) poll(cluster, host, { server: { receiver: { state: "streaming", upstream: null } } });
  poll(cluster, "db1", { server: { phase: "observing", report: WRITABLE } });
  pass(cluster, 50);
  poll(cluster, "db1", openPatch(1));
  for (const host of REPLICAS) poll(cluster, host, streamingPatch("db1"));
  poll(cluster, ROUTER);
  return cluster;
}

/** The freeze of the operation under way was obeyed. */
export function frozenPatch(cluster: Cluster): PollPatch {
  const { phase } = cluster.state.durable;
  const op = phase.kind === "founding" ? 0 : phase.op;
  return {
    opSeen: op,
    epochSeen: epochOf(cluster),
    server: { phase: "closed", report: IN_RECOVERY, receiver: { state: "frozen", op } },
  };
}

/** The command in force has come to its end; its value is what was found out or counted. */
export function answeredPatch(
  cluster: Cluster,
  host: string,
  { outcome = "done", code = "", value = "" }: Partial<CommandResult> = {},
): PollPatch {
  const command = cluster.state.durable.commands[host];
  return command ? { results: [{ id: command.id, op: command.op, outcome, code, value, detail: "" }] } : {};
}

/** The replicas come for the question whether db1's server accepts writes, and bring its answer. */
export function answerInquiry(
  cluster: Cluster,
  hosts: readonly string[],
  value: "read-only" | "writable" | "no-answer",
): void {
  for (const host of hosts) poll(cluster, host);
  pass(cluster, 50);
  for (const host of hosts) poll(cluster, host, answeredPatch(cluster, host, { value }));
}

/** db1 fell silent and the router host has just witnessed that its lease expired: nobody has been asked yet. */
export function silencedCluster(): Cluster {
  const cluster = runningCluster();
  passWithout(cluster, WAIT_MS - 1_000, ["db1"]);
  pass(cluster, 1_000);
  poll(cluster, ROUTER);
  return cluster;
}

/** Time has ended db1's reign, and nobody has heard its server: everybody is about to be frozen. */
export function expiredCluster(): Cluster {
  const cluster = silencedCluster();
  answerInquiry(cluster, REPLICAS, "read-only");
  pass(cluster, 50);
  return cluster;
}

/** db2 reigns in epoch 2, db3 and db4 follow it, and nothing was heard of db1 since its lease expired. */
export function secondReign(): Cluster {
  const cluster = expiredCluster();
  for (const host of REPLICAS) poll(cluster, host);
  pass(cluster, 50);
  for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
  pass(cluster, 50);
  poll(cluster, "db2", openPatch(2));
  const past: [number, string][] = [[1, "0/3000000"]];
  poll(cluster, "db2", {
    ...openPatch(2),
    server: { ...openPatch(2).server, position: position("0/3000100", 2, past), receiver: { state: "none" } },
  });
  for (const host of ["db3", "db4"]) poll(cluster, host);
  pass(cluster, 50);
  for (const host of ["db3", "db4"]) {
    poll(cluster, host, { server: { ...streamingPatch("db2").server, position: position("0/3000100", 2, past) } });
  }
  return cluster;
}

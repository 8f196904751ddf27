/** Every phase of a member's machine, reached through the machine itself, and every kind of thing it may meet. */
import { begin, step } from "#shared/core/member/step.ts";
import {
  freshLive,
  freshDurable,
  type MemberDurable,
  type MemberEffect,
  type MemberEvent,
  type MemberLive,
  type MemberReason,
  type MemberState,
  type MemberStep,
  type ServerView,
} from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { Policy } from "#shared/domain/datasource.ts";
import type { Command, Reply, ServerReport, Upstream } from "#shared/domain/messages.ts";
import { clocksAt, IN_RECOVERY, position, STOPPED, SYSTEM_ID, WRITABLE } from "./builders.ts";

export const TTL_MS = 5_000;
/** How long a door that was told to shut stays so by itself: shorter than the lease, so that it opens while open. */
export const SHUT_FOR_MS = 4_000;
const UPSTREAM: Upstream = { member: "db2", host: "db2.example", port: 5432 };

/** A member's state, the moment, and the number of the last poll answered. Mutable, like the cluster of the builders. */
export interface Member {
  state: MemberState;
  atMs: number;
}

export function viewOf(report: ServerReport): ServerView {
  return {
    report,
    engineVersion: "18.4",
    systemId: SYSTEM_ID,
    position: position("0/3000000"),
    isWhole: true,
    applied: 50_331_648,
    latencyMs: 0,
    receiver: { streaming: false, configured: null },
    shutdownLsn: null,
    tail: null,
  };
}

export function liveOf(report: ServerReport, bootId = "boot-1"): MemberLive {
  return freshLive({
    bootId,
    fenceMs: 1_500,
    endpoint: { host: "db1.example", port: 5432 },
    view: viewOf(report),
    nextPollMs: 1_000,
  });
}

/** The highest epoch and operation that a member has seen. */
export interface Seen {
  epoch: number;
  op: number;
}

const LONG_IN_SERVICE: Seen = { epoch: 3, op: 30 };

/** What is on the disk of a member that was founded and has released all it attempted. */
export function closedDurable(seen: Seen): MemberDurable {
  return {
    ...freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation-db1"),
    startCount: 1,
    systemId: SYSTEM_ID,
    founded: true,
    epochSeen: seen.epoch,
    opSeen: seen.op,
    attempted: Math.min(1, seen.epoch),
    ownEpoch: Math.min(1, seen.epoch),
    released: Math.min(1, seen.epoch),
    releaseCause: "server-died",
  };
}

/** Hands one event in at the member's moment. */
export function give(member: Member, event: MemberEvent): MemberStep {
  const result = step(member.state, event);
  member.state = result.state;
  return result;
}

/** A reply to the next poll, sent at this very moment. */
export function replyWith(member: Member, parts: Partial<Reply>, clocks: Clocks = clocksAt(member.atMs)): MemberEvent {
  const answersSeq = member.state.live.answeredSeq + 1;
  const reply: Reply = {
    protocol: 1,
    answersSeq,
    nonce: `1.${answersSeq}`,
    version: member.state.durable.version,
    mac: "",
    nextPollMs: 1_000,
    policy: member.state.durable.policy,
    policyVersion: member.state.durable.policyVersion,
    lease: null,
    leaseEnded: null,
    commands: [],
    sync: null,
    routes: [],
    peers: [],
    call: ["db2"],
    peerKey: "",
    ...parts,
  };
  return { kind: "replied", clocks, sent: clocksAt(member.atMs), reply };
}

export function leaseOf(epoch: number): Reply["lease"] {
  return {
    epoch,
    ttlMs: TTL_MS,
    hasLeaseDoor: false,
    electorateVersion: 1,
    electorate: ["db1", "db2"],
    promiseBindsMs: 7_000,
  };
}

/** A command of the next operation; an opening is of the next epoch. */
export function commandOf(
  member: Member,
  kind: Command["kind"],
  patch: { op?: number; epoch?: number; id?: string } = {},
): Command {
  const { epochSeen, opSeen } = member.state.durable;
  const isOpening = kind === "adopt" || kind === "promote";
  const head = {
    id: `new.${kind}`,
    op: opSeen + 1,
    epoch: epochSeen + (isOpening ? 1 : 0),
    deadlineMs: 5_000,
    ...patch,
  };
  switch (kind) {
    case "promote":
      return { kind, ...head, proof: "released", timeline: 3 };
    case "freeze":
      return { kind, ...head, proof: "released" };
    case "follow":
      return { kind, ...head, upstream: UPSTREAM };
    case "fence":
      return { kind, ...head, patienceMs: 3_000 };
    case "shut":
      return { kind, ...head, drainMs: 5_000, heir: "db3", deadlineMs: SHUT_FOR_MS };
    case "ask-upstream":
      return { kind, ...head, upstream: UPSTREAM };
    case "fetch-tail": {
      const from = { host: "db1", endpoint: { host: "db1.example", port: 7_432 } };
      return { kind, ...head, from, until: { timeline: 1, lsn: "0/3000100" } };
    }
    case "rebuild":
      return { kind, ...head, upstream: UPSTREAM, fork: { timeline: 1, lsn: "0/2FFFFA0" } };
    case "adopt":
    case "prepare":
    case "reopen":
    case "start":
      return { kind, ...head };
  }
}

/** A reply with one command, and the lease that belongs to an opening. */
export function ordered(member: Member, command: Command): MemberEvent {
  const isOpening = command.kind === "adopt" || command.kind === "promote";
  return replyWith(member, { commands: [command], lease: isOpening ? leaseOf(command.epoch) : null });
}

export function observed(member: Member, report: ServerReport): MemberEvent {
  return { kind: "observed", clocks: clocksAt(member.atMs), view: viewOf(report), after: member.state.live.nonce };
}

/** The end of the task that the phase waits for. */
export function finished(
  member: Member,
  ok: boolean,
  {
    offset = 0,
    value = "",
    code = "engine-failed",
    detail = "",
  }: { offset?: number; value?: string; code?: string; detail?: string } = {},
): MemberEvent {
  const { phase } = member.state;
  const running = phase.kind === "observing" ? null : phase.running;
  const taskId = (running?.id ?? 0) + offset;
  const outcome = ok ? ({ ok: true, value } as const) : ({ ok: false, code, detail } as const);
  return { kind: "finished", clocks: clocksAt(member.atMs), taskId, outcome };
}

export type MemberPhaseKind =
  | "observing"
  | "closed-idle"
  | "closed-busy"
  | "closed-rebuilding"
  | "damaged"
  | "opening"
  | "open"
  | "open-busy"
  | "open-shut"
  | "fencing"
  | "fencing-gently";

export function kindOfMember({ phase, durable }: Pick<MemberState, "phase" | "durable">): MemberPhaseKind {
  switch (phase.kind) {
    case "observing":
    case "opening":
      return phase.kind;
    case "closed":
      if (phase.running) return phase.running.kind === "rebuild" ? "closed-rebuilding" : "closed-busy";
      return durable.isDamaged ? "damaged" : "closed-idle";
    case "open":
      if (phase.running) return "open-busy";
      return phase.shut ? "open-shut" : "open";
    case "fencing":
      return phase.isGentle ? "fencing-gently" : "fencing";
  }
}

/** How a member comes into each phase, after it has seen an epoch and an operation. */
export const memberPhases: Record<MemberPhaseKind, (seen?: Seen) => Member> = {
  /** An agent that was just installed beside a replica. */
  observing: () => {
    const durable = { ...freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation-db1"), startCount: 1 };
    return { state: begin(durable, liveOf(IN_RECOVERY), clocksAt(0)).state, atMs: 0 };
  },
  "closed-idle": (seen = LONG_IN_SERVICE) => ({
    state: begin(closedDurable(seen), liveOf(IN_RECOVERY), clocksAt(0)).state,
    atMs: 0,
  }),
  /** On the way to follow db2. */
  "closed-busy": (seen) => {
    const member = memberPhases["closed-idle"](seen);
    give(member, ordered(member, commandOf(member, "follow", { id: "old.follow" })));
    return member;
  },
  opening: (seen) => {
    const member = memberPhases["closed-idle"](seen);
    give(member, ordered(member, commandOf(member, "promote", { id: "old.promote" })));
    return member;
  },
  open: (seen) => {
    const member = memberPhases.opening(seen);
    member.atMs += 100;
    give(member, observed(member, WRITABLE));
    give(member, finished(member, true));
    return member;
  },
  /** Told to lay its data directory out anew. */
  "closed-rebuilding": (seen) => {
    const member = memberPhases["closed-idle"](seen);
    give(member, observed(member, STOPPED));
    give(member, ordered(member, commandOf(member, "rebuild", { id: "old.rebuild" })));
    return member;
  },
  /** The rebuild has failed half way. */
  damaged: (seen) => {
    const member = memberPhases["closed-rebuilding"](seen);
    give(member, finished(member, false));
    return member;
  },
  /** Writing the checkpoint that comes before a switch. */
  "open-busy": (seen) => {
    const member = memberPhases.open(seen);
    give(member, ordered(member, commandOf(member, "prepare", { id: "old.prepare" })));
    return member;
  },
  /** Its door was shut for a switch, and no session is left. */
  "open-shut": (seen) => {
    const member = memberPhases.open(seen);
    give(member, ordered(member, commandOf(member, "shut", { id: "old.shut" })));
    give(member, finished(member, true, { value: "2" }));
    return member;
  },
  /** Told to fence while it was open. */
  fencing: (seen) => {
    const member = memberPhases.open(seen);
    give(member, ordered(member, commandOf(member, "fence", { id: "old.fence" })));
    return member;
  },
  /** Its server was stopped in MAINTENANCE, by whoever is about to start it again. */
  "fencing-gently": (seen) => {
    const member = memberPhases.open(seen);
    give(member, underPolicy(member, "maintenance"));
    give(member, observed(member, STOPPED));
    return member;
  },
};

/** A reply that tells of another policy. */
export function underPolicy(member: Member, policy: Policy): MemberEvent {
  const { policyVersion, version } = member.state.durable;
  return replyWith(member, { policy, policyVersion: policyVersion + 1, version: version + 1 });
}

export type MemberEventKind =
  | `told-to-${Command["kind"]}`
  | "told-to-promote-without-a-lease"
  | "told-to-promote-in-an-attempted-epoch"
  | "told-to-adopt-a-writable-server"
  | "told-by-a-lower-op"
  | "told-in-a-lower-epoch"
  | "told-again"
  | "told-of-maintenance"
  | "lease-extended"
  | "lease-of-another-epoch"
  | "lease-ended"
  | "late-reply"
  | "time-is-up-by-the-monotonic-clock"
  | "time-is-up-by-the-boot-clock"
  | "time-is-up-by-the-wall-clock"
  | "time-is-up-in-maintenance"
  | "door-has-been-shut-for-its-time"
  | "extension-comes-after-the-end"
  | "server-stopped"
  | "server-in-recovery"
  | "server-writable"
  | "server-unresponsive"
  | "server-unresponsive-for-long"
  | "task-ended-well"
  | "task-failed"
  | "stale-task-ended"
  | "asked-to-promise"
  | "promised"
  | "tick";

/** db2, which holds the next epoch, asks for a promise. */
export function askedToPromise(member: Member, epoch: number): MemberEvent {
  const request = { holder: "db2", epoch, bindsMs: 7_000 };
  return { kind: "asked-to-promise", clocks: clocksAt(member.atMs), id: 1, request };
}

/** db2 has promised, in answer to a request that was sent `ago` milliseconds before. */
export function promised(member: Member, { ago = 0, by = "db2" } = {}): MemberEvent {
  const { atMs, state } = member;
  return { kind: "promised", clocks: clocksAt(atMs), sent: clocksAt(atMs - ago), by, epoch: state.durable.attempted };
}

function told(kind: Command["kind"]) {
  return (member: Member) => [give(member, ordered(member, commandOf(member, kind)))];
}

/** The epoch whose lease the member would look at. */
function epochOfMember({ state }: Member): number {
  return state.durable.attempted;
}

function late(clock: keyof Clocks) {
  return (member: Member) => {
    const now = clocksAt(member.atMs);
    return [give(member, { kind: "tick", clocks: { ...now, [clock]: now[clock] + TTL_MS } })];
  };
}

/** Brings an event about; yields its steps. */
export const memberEvents: Record<MemberEventKind, (member: Member) => MemberStep[]> = {
  "told-to-adopt": told("adopt"),
  "told-to-promote": told("promote"),
  "told-to-follow": told("follow"),
  "told-to-freeze": told("freeze"),
  "told-to-fence": told("fence"),
  "told-to-start": told("start"),
  "told-to-prepare": told("prepare"),
  "told-to-shut": told("shut"),
  "told-to-reopen": told("reopen"),
  "told-to-ask-upstream": told("ask-upstream"),
  "told-to-fetch-tail": told("fetch-tail"),
  "told-to-rebuild": told("rebuild"),
  "told-to-promote-without-a-lease": (member) => [
    give(member, replyWith(member, { commands: [commandOf(member, "promote")] })),
  ],
  "told-to-promote-in-an-attempted-epoch": (member) => {
    const { attempted, released } = member.state.durable;
    const epoch = Math.max(attempted, released, member.state.durable.epochSeen);
    const state = { ...member.state, durable: { ...member.state.durable, released: Math.max(released, epoch) } };
    const isClosed = member.state.phase.kind === "closed";
    if (isClosed) member.state = state;
    return [give(member, ordered(member, commandOf(member, "promote", { epoch })))];
  },
  "told-to-adopt-a-writable-server": (member) => [
    give(member, observed(member, WRITABLE)),
    give(member, ordered(member, commandOf(member, "adopt"))),
  ],
  "told-by-a-lower-op": (member) => {
    const op = member.state.durable.opSeen - 1;
    return [give(member, ordered(member, commandOf(member, "freeze", { op })))];
  },
  "told-in-a-lower-epoch": (member) => {
    const epoch = member.state.durable.epochSeen - 1;
    return [give(member, ordered(member, commandOf(member, "follow", { epoch })))];
  },
  /** Whatever was answered or is under way comes once more; where nothing was, a start comes twice. */
  "told-again": (member) => {
    const id = member.state.live.results.at(-1)?.id;
    const { opSeen: op, epochSeen: epoch } = member.state.durable;
    if (id) return [give(member, ordered(member, commandOf(member, "start", { id, op, epoch })))];
    const command = commandOf(member, "start");
    give(member, ordered(member, command));
    return [give(member, ordered(member, command))];
  },
  "told-of-maintenance": (member) => [give(member, underPolicy(member, "maintenance"))],
  "lease-extended": (member) => [give(member, replyWith(member, { lease: leaseOf(epochOfMember(member)) }))],
  "lease-of-another-epoch": (member) => [
    give(member, replyWith(member, { lease: leaseOf(epochOfMember(member) + 7) })),
  ],
  "lease-ended": (member) => [
    give(member, replyWith(member, { leaseEnded: { epoch: epochOfMember(member), mac: "" } })),
  ],
  "late-reply": (member) => {
    const event = ordered(member, commandOf(member, "fence"));
    if (event.kind === "replied") event.reply.answersSeq = member.state.live.answeredSeq;
    return [give(member, event)];
  },
  "time-is-up-by-the-monotonic-clock": late("monoMs"),
  "time-is-up-by-the-boot-clock": late("bootMs"),
  "time-is-up-by-the-wall-clock": late("wallMs"),
  "time-is-up-in-maintenance": (member) => {
    give(member, underPolicy(member, "maintenance"));
    return late("wallMs")(member);
  },
  "door-has-been-shut-for-its-time": (member) => {
    member.atMs += SHUT_FOR_MS;
    return [give(member, { kind: "tick", clocks: clocksAt(member.atMs) })];
  },
  "extension-comes-after-the-end": (member) => {
    const event = replyWith(member, { lease: leaseOf(epochOfMember(member)) }, clocksAt(member.atMs + TTL_MS));
    return [give(member, event)];
  },
  "server-stopped": (member) => [give(member, observed(member, STOPPED))],
  "server-in-recovery": (member) => [give(member, observed(member, IN_RECOVERY))],
  "server-writable": (member) => [give(member, observed(member, WRITABLE))],
  "server-unresponsive": (member) => [give(member, observed(member, { state: "unresponsive" }))],
  "server-unresponsive-for-long": (member) => {
    const steps = [give(member, observed(member, { state: "unresponsive" }))];
    for (let waited = 0; waited < 10_000; waited += 2_000) {
      member.atMs += 2_000;
      steps.push(give(member, replyWith(member, { lease: leaseOf(epochOfMember(member)) })));
      steps.push(give(member, observed(member, { state: "unresponsive" })));
    }
    return steps;
  },
  /** A server that was fenced is seen stopped before. */
  "task-ended-well": (member) => {
    const { clocks } = observed(member, STOPPED);
    const { phase, live } = member.state;
    if (phase.kind === "fencing")
      give(member, { kind: "observed", clocks, view: { ...live.view, report: STOPPED }, after: null });
    return [give(member, finished(member, true))];
  },
  "task-failed": (member) => [give(member, finished(member, false))],
  "stale-task-ended": (member) => [give(member, finished(member, true, { offset: -1 }))],
  "asked-to-promise": (member) => [give(member, askedToPromise(member, member.state.durable.epochSeen + 1))],
  promised: (member) => [give(member, promised(member))],
  tick: (member) => [give(member, { kind: "tick", clocks: clocksAt(member.atMs) })],
};

/** What came of it: phase, reasons' kinds, effects in order, and the answers to commands that are now another. */
export interface MemberOutcome {
  phase: MemberPhaseKind;
  reasons: MemberReason["kind"][];
  effects: string[];
  answers: string[];
}

export function memberOutcomeOf(before: MemberState, after: MemberState, steps: readonly MemberStep[]): MemberOutcome {
  const known = new Set(before.live.results.map((entry) => JSON.stringify(entry)));
  const kinds = steps.flatMap((one) => one.reasons.map((reason) => reason.kind));
  return {
    phase: kindOfMember(after),
    reasons: [...new Set(kinds)],
    effects: [...new Set(steps.flatMap((one) => one.effects.map(effectWord)))],
    answers: after.live.results
      .filter((entry) => !known.has(JSON.stringify(entry)))
      .map((entry) => [entry.id, entry.outcome, entry.code, entry.value].filter(Boolean).join(" ")),
  };
}

function effectWord(effect: MemberEffect): string {
  return effect.kind === "run" ? effect.task.kind : effect.kind;
}

export type RestartedUnder = "lease-valid" | "lease-over" | "another-kernel-boot";
export type RestartedBeside = "writable" | "in-recovery" | "stopped" | "unresponsive";

const servers: Record<RestartedBeside, ServerReport> = {
  writable: WRITABLE,
  "in-recovery": IN_RECOVERY,
  stopped: STOPPED,
  unresponsive: { state: "unresponsive" },
};

/** The agent dies in a phase and is started again: the first step of its new process. */
export function restarted(phase: MemberPhaseKind, under: RestartedUnder, beside: RestartedBeside): MemberStep {
  const { state, atMs } = memberPhases[phase]();
  const durable = { ...state.durable, startCount: state.durable.startCount + 1 };
  const bootId = under === "another-kernel-boot" ? "boot-2" : "boot-1";
  return begin(durable, liveOf(servers[beside], bootId), clocksAt(under === "lease-over" ? atMs + TTL_MS : atMs + 500));
}

/** Where a restarted agent stands: its phase; why it fences, and whether its server is started after that. */
export function standingOf({ state: { phase } }: MemberStep): string {
  if (phase.kind === "fencing") return `fencing ${phase.cause}${phase.restart ? ", then start" : ""}`;
  if (phase.kind === "closed" && phase.running) return `closed, ${phase.running.kind}`;
  return phase.kind;
}

/**
 * One step in the making. The states handed in and out are never mutated; within a step the three parts are replaced
 * by new objects through these few functions, so that "has anything durable changed" is a comparison of references.
 */
import { stateReasonsEqual, type State, type StateReason } from "../../domain/datasource.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import type { AbortCode, DurabilityFailure, Reason, RecoverFailure, SwitchFailure } from "./reason.ts";
import type {
  ClusterEffect,
  ClusterState,
  DurableState,
  Identity,
  LeaseRecord,
  LiveHost,
  LiveState,
  MemberRecord,
  OperationRecord,
  Phase,
  Plan,
} from "./state.ts";

export interface Work {
  durable: DurableState;
  lease: LeaseRecord | null;
  live: LiveState;
  effects: ClusterEffect[];
  reasons: Reason[];
  confirm: boolean;
}

export function beginWork(state: ClusterState): Work {
  return { ...state, effects: [], reasons: [], confirm: false };
}

export function member(work: Work, name: MemberName): MemberRecord {
  const record = work.durable.members[name];
  if (!record) throw new Error(`no member ${name}`);
  return record;
}

export function identity(work: Work, host: HostName): Identity {
  const record = work.durable.identities[host];
  if (!record) throw new Error(`no host ${host}`);
  return record;
}

/**
 * Tells a reason; with `op` it also goes into the transcript of the operation under way, which has kept its first number
 * while its later attempts carry higher ones, or else of the operation `op`.
 */
export function because(work: Work, reason: Reason, op?: number): void {
  work.reasons.push(reason);
  if (op === undefined) return;
  work.effects.push({ kind: "transcript", op: work.durable.operation?.op ?? op, entry: reason });
}

/** Gives a reason once in this incarnation: for obstacles that every poll would meet again. */
export function becauseOnce(work: Work, reason: Reason, op?: number): void {
  const key = JSON.stringify(reason);
  if (work.live.told.includes(key)) return;
  work.live = { ...work.live, told: [...work.live.told, key].slice(-100) };
  because(work, reason, op);
}

export function setPhase(work: Work, phase: Phase): void {
  const { live, durable } = work;
  const endNonce = isOver(phase) && !isOver(durable.phase) ? live.nonceCounter : live.endNonce;
  work.durable = { ...durable, phase };
  work.live = { ...live, phaseAt: live.at, endNonce };
}

function isOver({ kind }: Phase): boolean {
  return kind === "collecting" || kind === "vacant";
}

export function setIdentity(work: Work, host: HostName, patch: Partial<Identity>): void {
  const identities = { ...work.durable.identities, [host]: { ...identity(work, host), ...patch } };
  work.durable = { ...work.durable, identities };
}

export function setMember(work: Work, name: MemberName, patch: Partial<MemberRecord>): void {
  const members = { ...work.durable.members, [name]: { ...member(work, name), ...patch } };
  work.durable = { ...work.durable, members };
}

export function setHost(work: Work, host: HostName, patch: Partial<LiveHost>): void {
  const known = work.live.hosts[host];
  if (!known) throw new Error(`nothing heard of ${host}`);
  work.live = { ...work.live, hosts: { ...work.live.hosts, [host]: { ...known, ...patch } } };
}

/** Moves a datasource to a state; tells it only when something changed. */
export function setState(work: Work, name: MemberName, state: State, reason: StateReason): void {
  const before = member(work, name);
  if (before.state === state && stateReasonsEqual(before.reason, reason)) return;
  setMember(work, name, { state, reason, sinceWallMs: work.live.wallMs });
  because(work, { kind: "datasource-changed", member: name, role: before.role, from: before.state, to: state, reason });
}

export function nextOp(work: Work): number {
  work.durable = { ...work.durable, op: work.durable.op + 1 };
  return work.durable.op;
}

export function beginOperation(work: Work, op: number, kind: OperationRecord["kind"], byOperator: boolean): void {
  const record: OperationRecord = {
    op,
    kind,
    requestedBy: byOperator ? "operator" : "automatic",
    state: "running",
    code: "",
    startedWallMs: work.live.wallMs,
    endedWallMs: null,
  };
  work.durable = { ...work.durable, operation: record };
  work.effects.push({ kind: "operation", record });
}

/** An operation that is over with the command that asked for it. */
export function tellOperation(work: Work, kind: OperationRecord["kind"]): number {
  const op = nextOp(work);
  const { wallMs } = work.live;
  work.effects.push({
    kind: "operation",
    record: {
      op,
      kind,
      requestedBy: "operator",
      state: "succeeded",
      code: "",
      startedWallMs: wallMs,
      endedWallMs: wallMs,
    },
  });
  return op;
}

export function setPlan(work: Work, plan: Plan): void {
  work.durable = { ...work.durable, plan };
  work.live = { ...work.live, planAt: work.live.at, stepAt: work.live.at };
}

/** The plan's next step; its time begins now. */
export function setStep(work: Work, plan: Plan): void {
  work.durable = { ...work.durable, plan };
  work.live = { ...work.live, stepAt: work.live.at };
}

/**
 * The plan is over, and with it its operation. Members have obeyed its number: whatever the reign asks of them from now
 * on carries at least that.
 */
export function endPlan(work: Work, code: OperationCode): void {
  const { plan, phase } = work.durable;
  if (!plan) return;
  work.durable = { ...work.durable, plan: null };
  if (phase.kind !== "founding" && phase.op < plan.op) {
    work.durable = { ...work.durable, phase: { ...phase, op: plan.op } };
  }
  endOperation(work, code);
}

type OperationCode = AbortCode | SwitchFailure | RecoverFailure | DurabilityFailure | "";

/** Ends the operation under way; `code` empty when it succeeded. */
export function endOperation(work: Work, code: OperationCode): void {
  const running = work.durable.operation;
  if (!running) return;
  const record: OperationRecord = {
    ...running,
    state: code === "" ? "succeeded" : "failed",
    code,
    endedWallMs: work.live.wallMs,
  };
  work.durable = { ...work.durable, operation: null };
  work.effects.push({ kind: "operation", record });
}

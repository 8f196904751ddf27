/**
 * The planned change of the primary.
 *
 *   preparing -> holding -> settling -> draining -> flushing -> stopping -> returning
 *        `----------`-----------`-----------`-----------`-> undoing
 *
 * Up to `flushing` undoing is opening the door again: the reign goes on and nobody but the drained sessions has noticed.
 * From `stopping` on the old primary has to be opened in a new epoch to be undone; the successor's epoch is minted only
 * once it has everything that the stopped server wrote.
 */
import { comparePositions, coversPosition, lsnBytes, lsnDistance, type Position } from "../../domain/position.ts";
import type { CommandResult } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import { parseShut } from "../../domain/shut.ts";
import { isHeard, streamsFrom } from "./datasources.ts";
import type { SwitchFailure } from "./reason.ts";
import type { ClusterState, SwitchPlan, SwitchStep } from "./state.ts";
import { because, endPlan, setPhase, setState, setStep, type Work } from "./work.ts";

/** A target this near has the rest within moments: then the clients are asked to wait. */
const NEAR_BYTES = 1_048_576;
/** How long connections that were let in right before the hold have for their first words. */
const SETTLE_MS = 30;
/** How long the prior primary is waited for, before the switch is called done without it. */
const RETURN_MS = 30_000;
/** How long an orderly stop may take beyond the flush: after it the stop is hurried, and the switch undone. */
export const STOP_PATIENCE_MS = 3_000;

/** Moves a switch on as far as what is known allows. The reign it is about lasts. */
export function advanceSwitch(work: Work, plan: SwitchPlan): void {
  const { step } = plan;
  const waited = work.live.at - work.live.stepAt;
  const isBefore = step.kind !== "stopping" && step.kind !== "returning" && step.kind !== "undoing";
  if (isBefore && work.live.at - work.live.planAt >= work.durable.settings.switchMs) {
    return rollBack(work, plan, "switch-timed-out");
  }
  if (isBefore && isTargetLost(work, plan)) return rollBack(work, plan, "target-lost");
  switch (step.kind) {
    case "preparing":
      return prepare(work, plan, waited);
    case "holding":
      return hold(work, plan, waited);
    case "settling":
      return waited >= SETTLE_MS ? beginDraining(work, plan) : undefined;
    case "draining":
      return drain(work, plan, waited);
    case "flushing":
      return flush(work, plan, { until: step.until, waited });
    case "stopping":
      return;
    case "returning":
      return awaitPrior(work, plan, waited);
    case "undoing":
      return awaitOpenDoor(work, plan, { code: step.code, waited });
  }
}

/** When a switch must be looked at again though nobody speaks, in `at`. */
export function switchDeadlines({ durable, live }: ClusterState, { step }: SwitchPlan): number[] {
  const { catchUpMs, drainMs, flushMs, switchMs } = durable.settings;
  const whole = live.planAt + switchMs;
  switch (step.kind) {
    case "preparing":
      return [whole, live.stepAt + catchUpMs];
    case "holding":
      return [whole, live.stepAt + holdLimitMs(durable.settings)];
    case "settling":
      return [live.stepAt + SETTLE_MS];
    case "draining":
      return [whole, live.stepAt + drainMs + flushMs];
    case "flushing":
      return [whole, live.stepAt + flushMs];
    case "returning":
      return [live.stepAt + RETURN_MS];
    case "undoing":
      return [live.stepAt + shutForMs(durable.settings)];
    case "stopping":
      return [];
  }
}

/** Whether new connections wait at this step. */
export function isHolding({ kind }: SwitchStep): boolean {
  return kind !== "preparing" && kind !== "returning";
}

/** How long the primary's door may be shut before it opens by itself: everything up to the stop must fit. */
export function shutForMs({ drainMs, flushMs }: ClusterState["durable"]["settings"]): number {
  return drainMs + 2 * flushMs;
}

/** Everything since the step before is undone; nothing has been lost. */
function rollBack(work: Work, plan: SwitchPlan, code: SwitchFailure): void {
  const { op, primary, step } = plan;
  because(work, { kind: "switch-rolled-back", op, member: primary, step: step.kind, code }, op);
  setStep(work, { ...plan, step: { kind: "undoing", code } });
}

/** A door that nobody speaks for has opened by itself when its time is over. */
function awaitOpenDoor(work: Work, plan: SwitchPlan, { code, waited }: { code: SwitchFailure; waited: number }): void {
  const { phase } = work.durable;
  // After a stop it is the next reign that ends the switch.
  if (phase.kind !== "reigning" || !phase.opened) return;
  const host = work.live.hosts[plan.primary];
  const isShut = phase.primary === plan.primary && (!host || host.poll.server?.door === "shut");
  if (isShut && waited < shutForMs(work.durable.settings)) return;
  because(work, { kind: "operation-unlocked", op: plan.op, policy: work.durable.policy }, plan.op);
  endPlan(work, code);
}

/** Heard, and out of the running. A fresh incarnation hears everybody first. */
function isTargetLost(work: Work, { primary, target }: SwitchPlan): boolean {
  const record = work.durable.members[target];
  const host = work.live.hosts[target];
  if (record?.state !== "online") return true;
  return host !== undefined && (!isHeard(work, target) || !streamsFrom(work, target, primary));
}

function prepare(work: Work, plan: SwitchPlan, waited: number): void {
  const result = resultOf(work, plan.primary, { kind: "prepare", op: plan.op });
  if (isOver(result) && result.outcome !== "done") return rollBack(work, plan, "prepare-failed");
  if (isOver(result) && isNear(work, plan)) {
    const { op } = plan;
    because(work, { kind: "savepoint-created", op, operation: "switch", wallMs: work.live.wallMs }, op);
    return setStep(work, { ...plan, step: { kind: "holding" } });
  }
  if (waited >= work.durable.settings.catchUpMs) rollBack(work, plan, "catch-up-timed-out");
}

function isNear(work: Work, { primary, target }: SwitchPlan): boolean {
  const source = work.live.hosts[primary]?.poll.server;
  const server = work.live.hosts[target]?.poll.server;
  if (!source?.position || !server?.position) return false;
  const appliedBehind = server.applied === null ? Infinity : Number(lsnBytes(source.position.lsn)) - server.applied;
  return Number(lsnDistance(source.position.lsn, server.position.lsn)) <= NEAR_BYTES && appliedBehind <= NEAR_BYTES;
}

/** Connectors that are not heard any more are not waited for: their proof runs out, and none is given. */
function hold(work: Work, plan: SwitchPlan, waited: number): void {
  const open = Object.entries(work.live.hosts)
    .filter(([name, { poll }]) => poll.connector?.state === "online" && isHeard(work, name))
    .map(([name]) => name);
  if (open.length === 0) return setStep(work, { ...plan, step: { kind: "settling" } });
  if (waited < holdLimitMs(work.durable.settings)) return;
  because(work, { kind: "connectors-holding", op: plan.op, waitedFor: open }, plan.op);
  rollBack(work, plan, "hold-timed-out");
}

function holdLimitMs({ pollMs, pollTimeoutMs }: ClusterState["durable"]["settings"]): number {
  return 3 * (pollMs + pollTimeoutMs);
}

function beginDraining(work: Work, plan: SwitchPlan): void {
  because(work, { kind: "sessions-purging", op: plan.op, member: plan.primary }, plan.op);
  setStep(work, { ...plan, step: { kind: "draining" } });
}

function drain(work: Work, plan: SwitchPlan, waited: number): void {
  const { op, primary } = plan;
  const result = resultOf(work, primary, { kind: "shut", op });
  const position = work.live.hosts[primary]?.poll.server?.position;
  if (isOver(result) && result.outcome === "done" && position) {
    const { ended, hasHeirAll } = parseShut(result.value);
    because(work, { kind: "sessions-purged", op, member: primary, count: ended }, op);
    because(work, { kind: "transactions-flushing", op, member: primary }, op);
    // Its stream has said so to the primary itself: a look at the target would only be waited for.
    if (hasHeirAll && isNear(work, plan)) return stop(work, plan);
    return setStep(work, { ...plan, step: { kind: "flushing", until: position } });
  }
  const { drainMs, flushMs } = work.durable.settings;
  if ((isOver(result) && result.outcome !== "done") || waited >= drainMs + flushMs)
    rollBack(work, plan, "drain-failed");
}

function flush(work: Work, plan: SwitchPlan, { until, waited }: { until: Position; waited: number }): void {
  const server = work.live.hosts[plan.target]?.poll.server;
  const isApplied = (server?.applied ?? -1) >= Number(lsnBytes(until.lsn));
  if (server?.position && coversPosition(server.position, until) && isApplied) return stop(work, plan);
  if (waited >= work.durable.settings.flushMs) rollBack(work, plan, "flush-timed-out");
}

/** From here on undoing is opening the old primary in a new epoch. */
function stop(work: Work, plan: SwitchPlan): void {
  const { phase } = work.durable;
  if (phase.kind !== "reigning") return;
  setStep(work, { ...plan, step: { kind: "stopping" } });
  setPhase(work, { kind: "deposing", epoch: phase.epoch, primary: plan.primary, op: plan.op, cause: "switch" });
}

function awaitPrior(work: Work, plan: SwitchPlan, waited: number): void {
  const { op, primary, target } = plan;
  const isBack = streamsFrom(work, primary, target);
  if (isBack) setState(work, primary, "online", { kind: "none" });
  else if (waited < RETURN_MS) return;
  else because(work, { kind: "prior-primary-not-back", op, member: primary }, op);
  because(work, { kind: "switch-completed", op, member: target }, op);
  endPlan(work, "");
}

/**
 * Whether the target has everything that the stopped primary wrote, its last word included. Only a stop in good order
 * says where that ends.
 */
export function judgeHandover(
  state: ClusterState,
  { primary, target }: SwitchPlan,
): "complete" | "waiting" | SwitchFailure {
  const stopped = state.live.hosts[primary]?.poll.server;
  const heir = state.live.hosts[target]?.poll.server;
  // A fresh incarnation hears everybody first.
  if (!state.live.hosts[primary]) return "waiting";
  if (!stopped?.position || stopped.shutdownLsn === null) return "stop-not-clean";
  if (!heir?.position) return "waiting";
  const end: Position = { ...stopped.position, lsn: stopped.shutdownLsn };
  const isComplete = comparePositions(heir.position, end) === "covers" && heir.receiver.state !== "streaming";
  return isComplete ? "complete" : "waiting";
}

/** What a member answered to the newest command given to it, if that is of this kind and operation. */
export function resultOf(
  { durable, live }: ClusterState,
  name: MemberName,
  { kind, op }: { kind: string; op: number },
): CommandResult | null {
  const command = durable.commands[name];
  if (command?.kind !== kind || command.op !== op) return null;
  return live.hosts[name]?.poll.results.find((result) => result.id === command.id) ?? null;
}

/** Whether a command has come to its end, one way or the other. */
export function isOver(result: CommandResult | null): result is CommandResult {
  return result !== null && result.outcome !== "accepted";
}

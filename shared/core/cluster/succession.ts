/**
 * The succession: how a reign begins, ends and is followed by the next.
 *
 *   founding -> reigning -> (deposing ->) collecting -> reigning ...
 *                                             `-> vacant -> collecting ...
 *
 * The point of no return of every operation is the minting of an epoch. Before it, nothing has happened to anybody;
 * after it, the only way on is another epoch with its own proof that this one is over.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { comparePositions, coversPosition, lsnDistance, type Position } from "../../domain/position.ts";
import {
  exactFork,
  lastOpenedEpoch,
  nextTimeline,
  unseenEpochs,
  type ProofKind,
  type Reign,
} from "../../domain/reign.ts";
import { candidatesOf, catchUpFrom, choose, freezeMode, ineligible, notFinal, type Candidate } from "./choose.ts";
import { judgeFounding } from "./founding.ts";
import { ASK_UPSTREAM_MS } from "./goals.ts";
import { expiryAt, isExpired } from "./lease.ts";
import type { AbortCode, FailoverCause } from "./reason.ts";
import { abandonRecovery, advanceRecovery } from "./recover.ts";
import type { ClusterState, EndProof, OperationRecord, Phase, SwitchPlan } from "./state.ts";
import { advanceSwitch, isOver, judgeHandover, resultOf } from "./switch.ts";
import {
  because,
  becauseOnce,
  beginOperation,
  endOperation,
  endPlan,
  identity,
  member,
  nextOp,
  setMember,
  setPhase,
  setState,
  setStep,
  type Work,
} from "./work.ts";

type PhaseOf<K extends Phase["kind"]> = Extract<Phase, { kind: K }>;

/** Moves the phase, and the plan that goes with it, on as far as what is known allows. */
export function advance(work: Work): void {
  // Every turn either mints, ends or waits: a bound catches a rule that would run in circles.
  for (let turn = 0; turn < 16; turn += 1) {
    const { phase, plan } = work.durable;
    advanceOnce(work);
    advancePlan(work);
    if (work.durable.phase === phase && work.durable.plan === plan) return;
  }
  throw new Error(`the phase does not settle: ${work.durable.phase.kind}`);
}

function advancePlan(work: Work): void {
  const { plan } = work.durable;
  if (!plan || work.live.behindMembers) return;
  if (plan.kind === "switch") advanceSwitch(work, plan);
  else advanceRecovery(work, plan);
}

function advanceOnce(work: Work): void {
  if (work.live.behindMembers) return;
  const { phase } = work.durable;
  switch (phase.kind) {
    case "founding":
      return found(work, phase);
    case "reigning":
      return reign(work, phase);
    case "deposing":
      return depose(work, phase);
    case "collecting":
      return collect(work, phase);
    case "vacant":
      return watchVacancy(work, phase);
  }
}

function found(work: Work, phase: PhaseOf<"founding">): void {
  const verdict = judgeFounding(work, phase.primary);
  if (verdict.kind === "waiting") return;
  if (verdict.kind === "blocked") {
    becauseOnce(work, { kind: "founding-blocked", why: verdict.why, members: verdict.members });
    return;
  }
  const op = nextOp(work);
  beginOperation(work, op, "founding", false);
  because(work, { kind: "founded", primary: phase.primary, how: verdict.how }, op);
  mint(work, { member: phase.primary, parent: 0, op, how: verdict.how, proof: "founded" });
}

function reign(work: Work, phase: PhaseOf<"reigning">): void {
  const host = work.live.hosts[phase.primary];
  if (identity(work, phase.primary).released >= phase.epoch) {
    return endReign(work, phase, "released", causeOfRelease(work, phase));
  }
  // A server that serves already was writable before its lease and stays so until its agent has taken it over: no time
  // that passes ends that.
  const mayTimeOut = phase.opened || phase.how === "promote";
  if (mayTimeOut && isExpired(work, phase.epoch)) return endReign(work, phase, "expired", causeOfExpiry(work, phase));
  if (phase.opened) return;
  const server = host?.poll.server;
  const isOpen =
    server?.phase === "open" &&
    server.report.state === "running" &&
    server.report.writable &&
    host?.poll.attempted === phase.epoch;
  if (isOpen) return opened(work, phase);
  // Restarted read-only before its agent could take it over: it writes no more, so it is promoted like any other.
  const isReadOnly = server?.report.state === "running" && server.report.inRecovery && server.phase === "observing";
  if (phase.how === "adopt" && isReadOnly) {
    return promoteInstead(work, phase);
  }
  if (mayTimeOut && work.live.at - work.live.phaseAt >= work.durable.settings.promoteMs) {
    const { epoch, primary, op } = phase;
    const cause = "promotion-timed-out";
    because(work, { kind: "primary-fencing", op, epoch, member: primary, cause }, op);
    setPhase(work, { kind: "deposing", epoch, primary, op, cause });
  }
}

function opened(work: Work, phase: PhaseOf<"reigning">): void {
  const { epoch, primary, op } = phase;
  const position = work.live.hosts[primary]?.poll.server?.position ?? null;
  because(work, { kind: "primary-opened", epoch, member: primary, op }, op);
  work.durable = {
    ...work.durable,
    reigns: work.durable.reigns.map((entry) => (entry.epoch === epoch ? seenOpen(entry, position) : entry)),
  };
  const plan = switchInto(work, primary);
  const deposed = Object.values(work.durable.members).filter(
    (other) =>
      other.name !== primary &&
      other.name !== plan?.primary &&
      other.role === "primary" &&
      other.reason.kind !== "failed-over-to" &&
      other.reason.kind !== "manually-shunned",
  );
  // The status word may be the same; what it says of is another thing from now on.
  if (member(work, primary).role !== "primary")
    setMember(work, primary, { role: "primary", sinceWallMs: work.live.wallMs });
  setState(work, primary, "online", { kind: "none" });
  for (const other of deposed) setState(work, other.name, "shunned", { kind: "failed-over-to", to: primary });
  const parent = work.durable.reigns.find((entry) => entry.epoch === epoch)?.parent ?? 0;
  const previous = work.durable.reigns.find((entry) => entry.epoch === parent)?.member;
  setPhase(work, { ...phase, opened: true });
  if (plan) return bringPriorBack(work, plan);
  if (previous && previous !== primary)
    because(work, { kind: "failover-completed", op, member: primary, deposed: previous, epoch }, op);
  tellOfCommand(work, primary, op);
  // A switch that has been undone ends by itself.
  if (!work.durable.plan) endOperation(work, "");
}

/** The switch whose target this is. */
function switchInto(work: Work, primary: MemberName): SwitchPlan | null {
  const { plan } = work.durable;
  return plan?.kind === "switch" && plan.target === primary && plan.step.kind === "stopping" ? plan : null;
}

/** The switch has succeeded; the prior primary becomes a replica, and its server is started again. */
function bringPriorBack(work: Work, plan: SwitchPlan): void {
  const { op, primary } = plan;
  because(work, { kind: "prior-primary-returning", op, member: primary }, op);
  setMember(work, primary, { role: "replica", sinceWallMs: work.live.wallMs });
  setState(work, primary, "offline", { kind: "none" });
  setStep(work, { ...plan, step: { kind: "returning" } });
}

/** `datasource M online` of a primary that an operator had taken offline is done when it is open again. */
function tellOfCommand(work: Work, primary: MemberName, op: number): void {
  if (work.durable.operation?.kind !== "datasource-online") return;
  because(work, { kind: "datasource-set", op, member: primary, to: "online" }, op);
}

/** The same epoch, on a timeline of its own: the one that the server was found on is left now. */
function promoteInstead(work: Work, phase: PhaseOf<"reigning">): void {
  const timeline = phase.timeline + 1;
  const reigns = work.durable.reigns.map((entry) => (entry.epoch === phase.epoch ? { ...entry, timeline } : entry));
  work.durable = { ...work.durable, reigns };
  setPhase(work, { ...phase, how: "promote", timeline });
}

function seenOpen(entry: Reign, position: Position | null): Reign {
  if (!position) return { ...entry, opened: true };
  return {
    ...entry,
    opened: true,
    timeline: Math.max(entry.timeline, position.timeline),
    fork: exactFork(entry.fork, position),
  };
}

/**
 * Who was silent? When nobody at all was heard for a whole lease, the coordinator was the one that was away, and a holder
 * that gave up its lease in good order is on its way back. Only when others spoke meanwhile is it the primary that failed.
 */
function causeOfExpiry(work: Work, phase: PhaseOf<"reigning">): FailoverCause {
  if (!phase.opened) return "promotion-timed-out";
  const { awayUntil, hosts } = work.live;
  const heardAt = hosts[phase.primary]?.handledAt ?? 0;
  const wasAway = awayUntil !== null && heardAt <= awayUntil;
  const isRecent = awayUntil !== null && work.live.at - awayUntil < work.durable.settings.ttlMs;
  return wasAway && isRecent ? "lease-lost" : "agent-silent";
}

function causeOfRelease(work: Work, phase: PhaseOf<"reigning">): FailoverCause {
  if (!phase.opened) return "promotion-failed";
  const cause = work.live.hosts[phase.primary]?.poll.releaseCause ?? "none";
  switch (cause) {
    case "server-died":
    case "found-in-recovery":
      return "server-died";
    case "lease-lost":
      return "lease-lost";
    case "promotion-failed":
      return "promotion-failed";
    case "commanded":
      return commandedCause(work);
    case "unexpectedly-writable":
    case "none":
      return "release-unexplained";
  }
}

/** A fence that was commanded before this incarnation, or before the operation that it belonged to was given up. */
function commandedCause(work: Work): FailoverCause {
  return work.durable.plan?.kind === "switch" ? "switch-undone" : "release-unexplained";
}

function depose(work: Work, phase: PhaseOf<"deposing">): void {
  if (identity(work, phase.primary).released >= phase.epoch) return endReign(work, phase, "released", phase.cause);
  // A promotion leaves only together with its lease: where none was granted in this epoch, nobody was told to open in it.
  const wasGranted = work.lease?.epoch === phase.epoch;
  if (!wasGranted || isExpired(work, phase.epoch)) endReign(work, phase, "expired", phase.cause);
}

/** The proof is there: the reign is over. The search for a successor begins, or waits for a person. */
export function endReign(
  work: Work,
  reigned: { epoch: number; primary: MemberName; op: number },
  proof: EndProof,
  given: FailoverCause,
): void {
  const { epoch, primary } = reigned;
  const cause = causeWithin(work, primary, given);
  const op = nextOp(work);
  because(work, {
    kind: "reign-ended",
    epoch,
    member: primary,
    proof,
    cause: proof === "released" ? (work.live.hosts[primary]?.poll.releaseCause ?? "none") : "none",
  });
  markDeposed(work, primary, cause, proof);
  const refusal = whyNobodySucceeds(work, cause);
  if (refusal !== null) {
    if (work.durable.plan?.kind === "recover") abandonRecovery(work, work.durable.plan);
    else endOperation(work, "");
    return setPhase(work, { kind: "vacant", epoch, deposed: primary, op, proof, cause, code: refusal, welcomed: null });
  }
  const byOperator = isOperatorsFailover(work, cause);
  carryOperationOn(work, op, { cause, byOperator });
  because(work, { kind: "failover-started", op, epoch, deposed: primary, cause }, op);
  const { policy } = work.durable;
  setPhase(work, {
    kind: "collecting",
    epoch,
    deposed: primary,
    op,
    proof,
    cause,
    inquiry: { kind: proof === "expired" ? "asking" : "clear" },
    // Outside AUTOMATIC a lease that was lost brings back its own holder, and nobody else.
    target: cause === "lease-lost" && policy !== "automatic" ? primary : null,
    byOperator,
    isForced: false,
  });
  tellCandidates(work);
}

/** Whether an operator asked for just this: then neither budget nor limits of loss stand in the way. */
function isOperatorsFailover({ durable: { operation } }: Work, cause: FailoverCause): boolean {
  if (operation?.requestedBy !== "operator" || cause === "server-died" || cause === "agent-silent") return false;
  return operation.kind === "failover" || operation.kind === "datasource-fail";
}

/** What the end of a reign means to the plan under way: a switch goes on, is undone, or is overtaken; a recovery waits for nobody. */
function causeWithin(work: Work, primary: MemberName, cause: FailoverCause): FailoverCause {
  const { plan } = work.durable;
  if (plan?.kind !== "switch" || cause === "switch") return cause;
  const { op } = plan;
  if (plan.step.kind === "stopping") {
    // The target's own reign has ended before it was seen open: the prior primary has all there is.
    const code = primary === plan.target ? "target-lost" : "stop-not-clean";
    because(work, { kind: "switch-rolled-back", op, member: plan.primary, step: "stopping", code }, op);
    setStep(work, { ...plan, step: { kind: "undoing", code } });
    return "switch-undone";
  }
  if (plan.step.kind === "undoing" && cause === "switch-undone") return cause;
  if (plan.step.kind === "returning") because(work, { kind: "switch-completed", op, member: plan.target }, op);
  else if (plan.step.kind !== "undoing") {
    because(
      work,
      { kind: "switch-rolled-back", op, member: plan.primary, step: plan.step.kind, code: "primary-lost" },
      op,
    );
  }
  endPlan(work, plan.step.kind === "returning" ? "" : plan.step.kind === "undoing" ? plan.step.code : "primary-lost");
  return cause;
}

/** Why nobody may succeed now; null when the search may begin. What was begun for an operator is finished in every policy. */
function whyNobodySucceeds(work: Work, cause: FailoverCause): AbortCode | null {
  const { policy, operation } = work.durable;
  switch (cause) {
    case "operator-shunned":
    case "operator-offline":
      return "operators-word";
    case "switch":
    case "switch-undone":
    case "operator-asserted":
    case "operator-restart":
      return null;
    case "lease-lost":
      return policy === "maintenance" ? "not-automatic" : null;
    case "promotion-failed":
    case "promotion-timed-out":
      return policy === "automatic" || operation !== null ? null : "not-automatic";
    case "server-died":
    case "agent-silent":
    case "operator-failed":
    case "release-unexplained":
    case "retry":
      return policy === "automatic" ? null : "not-automatic";
  }
}

/** A later operation goes on where one ended: commands of the earlier one die by its number. */
function carryOperationOn(work: Work, op: number, by: { cause: FailoverCause; byOperator: boolean }): void {
  const { operation, plan } = work.durable;
  const { cause, byOperator } = by;
  if (plan?.kind === "switch" && (cause === "switch" || cause === "switch-undone")) return;
  if (cause === "operator-asserted" && operation?.kind === "failover") return;
  if (plan?.kind === "recover") abandonRecovery(work, plan);
  else if (operation) endOperation(work, cause === "operator-failed" ? "" : "promotion-failed");
  beginOperation(work, op, cause === "lease-lost" ? "reopening" : "failover", byOperator);
}

function markDeposed(work: Work, primary: MemberName, cause: FailoverCause, proof: EndProof): void {
  const { reason } = member(work, primary);
  if (isOperatorsWord(reason)) return;
  switch (cause) {
    case "switch":
    case "switch-undone":
    case "operator-offline":
      return setState(work, primary, "offline", { kind: "none" });
    case "operator-failed":
      return setState(work, primary, "failed", { kind: "manually-failed" });
    case "operator-shunned":
      return setState(work, primary, "shunned", { kind: "manually-shunned" });
    case "operator-asserted":
      return setState(work, primary, "failed", { kind: "manager-stopped" });
    case "lease-lost":
    case "agent-silent":
    case "server-died":
    case "operator-restart":
    case "promotion-failed":
    case "promotion-timed-out":
    case "release-unexplained":
    case "retry":
      return markFallen(work, primary, { cause, proof });
  }
}

/** What has happened by itself; in MAINTENANCE that changes no state. */
function markFallen(work: Work, primary: MemberName, by: { cause: FailoverCause; proof: EndProof }): void {
  if (work.durable.policy !== "maintenance") setFallen(work, primary, by);
}

function setFallen(work: Work, primary: MemberName, by: { cause: FailoverCause; proof: EndProof }): void {
  if (by.cause === "lease-lost") return setState(work, primary, "shunned", { kind: "failsafe-shun" });
  // Nothing was heard of its server: it is the agent that is gone.
  const isAgentGone = by.proof === "expired" || by.cause === "agent-silent";
  setState(work, primary, "failed", { kind: isAgentGone ? "manager-stopped" : "dataserver-stopped" });
}

function tellCandidates(work: Work): void {
  const { phase } = work.durable;
  if (phase.kind !== "collecting") return;
  const verdicts = work.durable.electorate.members.map((name) => ({ name, why: ineligible(work, phase, name) }));
  const candidates = verdicts.filter(({ why }) => why === null).map(({ name }) => name);
  because(work, { kind: "positions-collecting", op: phase.op, mode: freezeMode(phase), candidates }, phase.op);
  for (const { name, why } of verdicts) {
    if (why !== null) because(work, { kind: "candidate-passed-over", op: phase.op, member: name, why }, phase.op);
  }
}

function collect(work: Work, phase: PhaseOf<"collecting">): void {
  if (isOverBudget(work, phase)) return abort(work, phase, "failover-budget-spent", []);
  if (phase.inquiry.kind === "asking") return inquire(work, phase);
  if (phase.cause === "switch") return handOver(work, phase);
  const eligible = work.durable.electorate.members.filter((name) => ineligible(work, phase, name) === null);
  const ready = eligible.filter((name) => notFinal(work, phase, name) === null);
  const waited = work.live.at - work.live.phaseAt;
  const { failsafeReturnMs, failoverMs } = work.durable.settings;
  const holder = returningHolder(work, phase);
  if (holder !== null && !ready.includes(holder) && waited < failsafeReturnMs) return;
  const complete = ready.length > 0 && ready.length === eligible.length && !isUnheardAwaited(work, phase);
  const mayDecide = complete || (ready.length > 0 && waited >= patienceMs(work, phase));
  const isAwaitingTarget = phase.target !== null && (!ready.includes(phase.target) || isCatchingUp(work, phase));
  if (mayDecide && !isAwaitingTarget) return decide(work, phase, ready, eligible);
  if (waited < failoverMs) return;
  if (phase.target === null || ready.length === 0) return abort(work, phase, "no-candidate", []);
  const code = ready.includes(phase.target) ? "target-behind" : "target-not-eligible";
  abort(work, phase, code, [phase.target]);
}

/** A named target that is not the most advanced first fetches the rest from the one that is (Slony-I's rule). */
function isCatchingUp(work: Work, phase: PhaseOf<"collecting">): boolean {
  const upstream = catchUpFrom(work, phase);
  if (upstream === null || phase.target === null) return false;
  becauseOnce(work, { kind: "catching-up", op: phase.op, member: phase.target, upstream }, phase.op);
  return true;
}

/**
 * Time alone says that the last holder may not write any more. Before anybody is frozen, which would erase the evidence,
 * the replicas look whether its server does so all the same: one that answers that it is writable stops everything.
 */
function inquire(work: Work, phase: PhaseOf<"collecting">): void {
  const { op } = phase;
  const asked = work.durable.electorate.members.filter(
    (name) => name !== phase.deposed && ineligible(work, phase, name) === null,
  );
  const answers = asked.map((name) => ({ name, result: resultOf(work, name, { kind: "ask-upstream", op }) }));
  const alarmed = answers.filter(({ result }) => result?.outcome === "done" && result.value === "writable");
  if (alarmed.length > 0) {
    const names = alarmed.map(({ name }) => name);
    for (const name of names) because(work, { kind: "upstream-asked", op, member: name, answer: "writable" }, op);
    return abort(work, phase, "upstream-writable", names);
  }
  const isOverdue = work.live.at - work.live.phaseAt >= inquiryMs(work);
  if (!isOverdue && (asked.length === 0 || answers.some(({ result }) => !isOver(result)))) return;
  for (const { name, result } of answers) {
    const answer = isOver(result) ? result.value || result.code : "no-answer";
    because(work, { kind: "upstream-asked", op, member: name, answer }, op);
  }
  setPhase(work, { ...phase, inquiry: { kind: "clear" } });
}

/** Everybody comes for the question, asks, and brings the answer. */
function inquiryMs({ durable }: ClusterState): number {
  const { pollMs, pollTimeoutMs } = durable.settings;
  return ASK_UPSTREAM_MS + 2 * pollMs + pollTimeoutMs;
}

/** The planned successor takes over with all that the stopped primary wrote, or the prior primary is opened again. */
function handOver(work: Work, phase: PhaseOf<"collecting">): void {
  const { plan } = work.durable;
  if (plan?.kind !== "switch") throw new Error("a handover without its plan");
  const verdict = judgeHandover(work, plan);
  const isFinal = ineligible(work, phase, plan.target) === null && notFinal(work, phase, plan.target) === null;
  if (verdict === "complete" && isFinal) return succeed(work, phase, plan.target);
  const waited = work.live.at - work.live.phaseAt;
  if ((verdict === "waiting" || verdict === "complete") && waited < patienceMs(work, phase)) return;
  const code = verdict === "waiting" || verdict === "complete" ? "target-incomplete" : verdict;
  const { op } = plan;
  because(work, { kind: "switch-rolled-back", op, member: plan.primary, step: "stopping", code }, op);
  setStep(work, { ...plan, step: { kind: "undoing", code } });
  setPhase(work, { ...phase, cause: "switch-undone" });
}

/** Whom everybody waits for, for a moment: who gave up its lease in good order, or was stopped for a switch. */
function returningHolder(work: Work, phase: PhaseOf<"collecting">): MemberName | null {
  const { plan } = work.durable;
  if (phase.cause === "switch-undone" && plan?.kind === "switch") return plan.primary;
  if (phase.cause === "operator-restart") return phase.deposed;
  return phase.cause === "lease-lost" && !mayNotReturn(work, phase.deposed) ? phase.deposed : null;
}

/**
 * How long positions are waited for. After a vacancy, and to an incarnation that has not heard them yet, the agents come
 * at the pace of rest: each must have had a turn.
 */
function patienceMs(state: ClusterState, phase: PhaseOf<"collecting">): number {
  const { collectMs, pollMs, pollTimeoutMs } = state.durable.settings;
  const isPaceOfRest = phase.cause === "retry" || isUnheardAwaited(state, phase);
  return isPaceOfRest ? collectMs + pollMs + pollTimeoutMs : collectMs;
}

/** Whether a member that this incarnation has not heard yet may still come with more: a FAILED one is not waited for. */
function isUnheardAwaited(state: ClusterState, phase: PhaseOf<"collecting">): boolean {
  return state.durable.electorate.members.some(
    (name) => ineligible(state, phase, name) === "no-report" && state.durable.members[name]?.state !== "failed",
  );
}

/** Whether the last holder is out of the running, so that waiting for it would be waiting for nobody. */
function mayNotReturn(work: Work, holder: MemberName): boolean {
  return member(work, holder).reason.kind !== "failsafe-shun";
}

function isOverBudget(work: Work, phase: PhaseOf<"collecting">): boolean {
  return isBudgeted(phase) && isBudgetSpent(work);
}

function isBudgetSpent(work: Work): boolean {
  return recentFailovers(work).length >= work.durable.settings.budget;
}

/** The automatic failovers inside the budget's window. */
function recentFailovers({ durable, live }: Work): number[] {
  return durable.failoversWallMs.filter((then) => live.wallMs - then < durable.settings.budgetWindowMs);
}

/** What the budget counts: neither an operator's failover nor a holder that gave its lease up in good order. */
function isBudgeted(phase: PhaseOf<"collecting">): boolean {
  const isUncounted = ["lease-lost", "switch", "switch-undone", "operator-restart"].includes(phase.cause);
  return !phase.byOperator && !isUncounted;
}

function decide(work: Work, phase: PhaseOf<"collecting">, ready: MemberName[], eligible: MemberName[]): void {
  const { op } = phase;
  for (const name of eligible.filter((other) => !ready.includes(other))) {
    because(
      work,
      { kind: "candidate-passed-over", op, member: name, why: notFinal(work, phase, name) ?? "no-report" },
      op,
    );
  }
  const candidates = candidatesOf(work, ready, returningHolder(work, phase));
  tellPositions(work, op, ready);
  const choice = choose(candidates);
  const chosenByForce = phase.isForced ? candidates.find((candidate) => candidate.member === phase.target) : undefined;
  if (chosenByForce) return crown(work, phase, chosenByForce, candidates);
  switch (choice.kind) {
    case "none":
      return abort(work, phase, "no-candidate", []);
    case "diverged":
      return abort(work, phase, "candidates-diverged", choice.members);
    case "chosen":
      return crown(work, phase, choice.winner, candidates);
  }
}

/** What each of them holds, as far as is known now. */
export function tellPositions(work: Work, op: number, names: readonly MemberName[]): void {
  for (const name of names) {
    const server = work.live.hosts[name]?.poll.server;
    if (!server?.position) continue;
    const { lsn, timeline } = server.position;
    const { applied, latencyMs } = server;
    because(work, { kind: "candidate-position", op, member: name, lsn, timeline, applied, latencyMs }, op);
  }
}

function crown(work: Work, phase: PhaseOf<"collecting">, best: Candidate, candidates: Candidate[]): void {
  const { op } = phase;
  const winner = phase.target === null ? best : candidates.find((candidate) => candidate.member === phase.target);
  if (!winner) return abort(work, phase, "target-not-eligible", [phase.target ?? best.member]);
  // A named target is no bypass: it may take over only with everything that the most advanced one holds.
  if (!coversPosition(winner.position, best.position)) return abort(work, phase, "target-behind", [best.member]);
  const lost = bytesLost(work, winner, candidates);
  if (lost > 0) because(work, { kind: "possible-loss", op, member: winner.member, bytes: lost }, op);
  if (lost > work.durable.settings.maxLossBytes && !phase.byOperator) {
    return abort(work, phase, "loss-exceeds-limit", [winner.member]);
  }
  if (isBudgeted(phase)) {
    work.durable = { ...work.durable, failoversWallMs: [...recentFailovers(work), work.live.wallMs] };
  }
  const { lsn, timeline } = winner.position;
  because(work, { kind: "candidate-chosen", op, member: winner.member, lsn, timeline }, op);
  if (phase.byOperator && phase.cause !== "switch-undone") tellHandwork(work, phase, winner.member, candidates);
  succeed(work, phase, winner.member);
}

/** An operator's failover tells each of its steps. */
function tellHandwork(
  work: Work,
  { op, deposed }: PhaseOf<"collecting">,
  winner: MemberName,
  candidates: Candidate[],
): void {
  for (const { member: name } of candidates) {
    if (name !== winner) because(work, { kind: "replicator-frozen", op, member: name }, op);
  }
  because(work, { kind: "most-advanced", op, member: winner }, op);
  because(work, { kind: "savepoint-created", op, operation: "failover", wallMs: work.live.wallMs }, op);
  because(work, { kind: "sessions-purging", op, member: deposed }, op);
  because(work, { kind: "replicator-awaited", op, member: deposed }, op);
  because(work, { kind: "replicator-degraded", op, member: deposed }, op);
}

function succeed(work: Work, phase: PhaseOf<"collecting">, winner: MemberName): void {
  const { deposed } = phase;
  if (winner !== deposed && member(work, deposed).state === "online") setFallen(work, deposed, phase);
  mint(work, {
    member: winner,
    parent: parentOf(work, phase, winner),
    op: phase.op,
    how: "promote",
    proof: phase.proof,
  });
}

/** The epoch whose log the winner continues. */
function parentOf(work: Work, { epoch, isForced }: PhaseOf<"collecting">, winner: MemberName): number {
  const { reigns } = work.durable;
  const ownEpoch = work.live.hosts[winner]?.poll.ownEpoch ?? 0;
  // What an operator has put in place by force goes on with its own past, whatever line that is of.
  const isOwn = unseenEpochs(reigns, epoch).includes(ownEpoch) || (isForced && ownEpoch > 0);
  return isOwn ? ownEpoch : lastOpenedEpoch(reigns, epoch);
}

/** How many bytes the winner lacks of the old primary's log, as last heard or last kept with its lease, or of another candidate's. */
function bytesLost(work: Work, winner: Candidate, candidates: Candidate[]): number {
  const { phase } = work.durable;
  const deposed = phase.kind === "collecting" && phase.deposed !== winner.member ? phase.deposed : null;
  const heard = deposed === null ? null : (work.live.hosts[deposed]?.poll.server?.position ?? null);
  const missing = [heard, work.lease?.position ?? null, ...candidates.map(({ position }) => position)]
    .filter((known) => known !== null && comparePositions(known, winner.position) === "covers")
    .map((known) => (known ? Number(lsnDistance(known.lsn, winner.position.lsn)) : 0));
  return Math.max(0, ...missing);
}

interface Minting {
  member: MemberName;
  parent: number;
  op: number;
  how: "adopt" | "promote";
  proof: ProofKind;
}

function mint(work: Work, minting: Minting): void {
  const epoch = work.durable.epoch + 1;
  const { op, how, proof, parent } = minting;
  const position = work.live.hosts[minting.member]?.poll.server?.position;
  if (!position) throw new Error(`no position of ${minting.member} to mint an epoch on`);
  const timeline = how === "adopt" ? position.timeline : nextTimeline(work.durable.reigns, position);
  const reignEntry = {
    epoch,
    member: minting.member,
    parent,
    proof,
    fork: how === "adopt" ? null : position,
    timeline,
    opened: false,
    mintedWallMs: work.live.wallMs,
  };
  work.durable = { ...work.durable, epoch, reigns: [...work.durable.reigns, reignEntry] };
  because(work, { kind: "epoch-minted", epoch, member: minting.member, parent, proof, op }, op);
  setPhase(work, { kind: "reigning", epoch, primary: minting.member, op, how, proof, timeline, opened: false });
}

function abort(work: Work, phase: PhaseOf<"collecting">, code: AbortCode, members: MemberName[]): void {
  const { op, epoch, deposed, proof, cause } = phase;
  because(work, { kind: "failover-aborted", op, deposed, code, members }, op);
  if (isMarkedByAbort(work, deposed)) setState(work, deposed, "shunned", { kind: "failover-aborted" });
  if (work.durable.plan) endPlan(work, code);
  else endOperation(work, code);
  setPhase(work, { kind: "vacant", epoch, deposed, op, proof, cause, code, welcomed: null });
}

/** An operator's word stays; outside AUTOMATIC a holder that gave its lease up in good order is still waited for. */
function isMarkedByAbort(work: Work, deposed: MemberName): boolean {
  const { reason } = member(work, deposed);
  const { policy } = work.durable;
  if (isOperatorsWord(reason) || policy === "maintenance") return false;
  return policy === "automatic" || reason.kind !== "failsafe-shun";
}

/** Nobody has succeeded. As soon as somebody can, and no person needs to decide first, the search begins again. */
function watchVacancy(work: Work, phase: PhaseOf<"vacant">): void {
  // What MAINTENANCE left unmarked is marked when it is over.
  if (member(work, phase.deposed).state === "online") markFallen(work, phase.deposed, phase);
  const next = nextAttempt(work, phase);
  if (next) retrySuccession(work, phase, { kind: "failover", byOperator: false, isForced: false, ...next });
}

interface Attempt {
  kind: OperationRecord["kind"];
  target: MemberName | null;
  cause: FailoverCause;
  byOperator: boolean;
  isForced: boolean;
}

function nextAttempt(
  work: Work,
  phase: PhaseOf<"vacant">,
): (Pick<Attempt, "target" | "cause"> & Partial<Attempt>) | null {
  const { policy, electorate } = work.durable;
  const { deposed, welcomed } = phase;
  if (welcomed !== null) {
    const isReady = ineligible(work, { ...phase, target: welcomed, isForced: true }, welcomed) === null;
    const byForce = { target: welcomed, cause: "retry", byOperator: true, isForced: true } as const;
    return policy === "automatic" && isReady ? byForce : null;
  }
  if (policy !== "automatic") return holdersReturn(work, phase);
  const nowReleased = identity(work, deposed).released >= phase.epoch && phase.proof !== "released";
  if (needsPerson(work, phase) && !(phase.code === "upstream-writable" && nowReleased)) return null;
  const someone = electorate.members.some((name) => ineligible(work, phase, name) === null);
  return someone ? { target: null, cause: "retry" } : null;
}

/**
 * Outside AUTOMATIC only the last primary itself comes back: in MAINTENANCE when its operator has started its server
 * again, in MANUAL when it had given its lease up in good order.
 */
function holdersReturn(work: Work, phase: PhaseOf<"vacant">): Pick<Attempt, "target" | "cause" | "kind"> | null {
  const { deposed, code } = phase;
  const { state, reason } = member(work, deposed);
  const isRestart = work.durable.policy === "maintenance" && state === "online" && code !== "operators-word";
  const isReturn = work.durable.policy === "manual" && reason.kind === "failsafe-shun";
  if (!isRestart && !isReturn) return null;
  if (ineligible(work, { ...phase, target: deposed }, deposed) !== null) return null;
  return { kind: "reopening", target: deposed, cause: isRestart ? "operator-restart" : "lease-lost" };
}

/** Whether a person must decide first. A budget that has room again needs nobody; neither does a lack of candidates. */
function needsPerson(work: Work, phase: PhaseOf<"vacant">): boolean {
  switch (phase.code) {
    case "failover-budget-spent":
      return isBudgetSpent(work);
    case "no-candidate":
    case "not-automatic":
      return false;
    case "candidates-diverged":
    case "loss-exceeds-limit":
    case "operators-word":
    case "promotion-failed":
    case "target-behind":
    case "target-not-eligible":
    case "upstream-writable":
      return true;
  }
}

/** A new attempt at the succession of a reign whose end is already proved. */
export function retrySuccession(work: Work, phase: PhaseOf<"vacant">, attempt: Attempt): number {
  const op = nextOp(work);
  const { epoch, deposed } = phase;
  const { kind, cause, target, byOperator, isForced } = attempt;
  // What its agent has vouched for since is the better proof.
  const proof = identity(work, deposed).released >= epoch ? "released" : phase.proof;
  if (!work.durable.operation) beginOperation(work, op, kind, byOperator);
  because(work, { kind: "failover-started", op, epoch, deposed, cause }, op);
  const inquiry = { kind: proof === "expired" && !isForced ? "asking" : "clear" } as const;
  setPhase(work, {
    kind: "collecting",
    epoch,
    deposed,
    op,
    proof,
    cause,
    inquiry,
    target,
    byOperator,
    isForced,
  });
  tellCandidates(work);
  return op;
}

/** When the phase must be looked at again though nobody speaks, in `at`; null when only events can move it. */
export function phaseDeadline(state: ClusterState): number | null {
  const { phase, settings } = state.durable;
  const since = state.live.phaseAt;
  switch (phase.kind) {
    case "founding":
    case "vacant":
      return null;
    case "reigning": {
      const expiry = expiryAt(state);
      if (phase.opened) return expiry;
      const opening = since + settings.promoteMs;
      // An expiry that is past waits for a witness's poll and must not hide the moment at which the opening is given up.
      return expiry !== null && expiry > state.live.at ? Math.min(expiry, opening) : opening;
    }
    case "deposing":
      return expiryAt(state);
    case "collecting": {
      const stages = [
        ...(phase.inquiry.kind === "asking" ? [since + inquiryMs(state)] : []),
        since + patienceMs(state, phase),
        since + settings.failsafeReturnMs,
        since + settings.failoverMs,
      ].toSorted((a, b) => a - b);
      return stages.find((stage) => stage > state.live.at) ?? since + settings.failoverMs;
    }
  }
}

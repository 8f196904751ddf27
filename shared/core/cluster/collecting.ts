/**
 * The search for a successor: positions are gathered, and the one who takes over is chosen, once it is certain that the
 * old reign is over.
 */
import type { MemberName } from "../../domain/names.ts";
import {
  bytesBeyond,
  commonPoint,
  comparePositions,
  coversPosition,
  lsnDistance,
  type Position,
} from "../../domain/position.ts";
import { lastOpenedEpoch, unseenEpochs } from "../../domain/reign.ts";
import { abort } from "./abort.ts";
import {
  type Candidate,
  candidatesOf,
  catchUpFrom,
  choose,
  eligibleMembers,
  freezeMode,
  ineligible,
  notFinal,
} from "./choose.ts";
import { isHeard } from "./datasources.ts";
import { setFallen } from "./deposed.ts";
import { ASK_UPSTREAM_MS } from "./goals.ts";
import { mint } from "./minting.ts";
import { hasReleased } from "./fork.ts";
import { whyNobodySucceeds } from "./policy.ts";
import { beginSalvage, isFetching, tellTail } from "./salvage.ts";
import { ownEpochOf } from "./restoring.ts";
import type { ClusterState, PhaseOf } from "./state.ts";
import { isOver, judgeHandover, resultOf } from "./switch.ts";
import { awaitsForgotten, awaitsPromises, isOfTime, provenBy } from "./promises.ts";
import { isProtected, type Missing, missingQuorums } from "./sync.ts";
import { type Work, because, becauseOnce, member, setPhase, setStep } from "./work.ts";

export function tellCandidates(work: Work): void {
  const { phase } = work.durable;
  if (phase.kind !== "collecting") return;
  const verdicts = Object.keys(work.durable.members).map((name) => ({ name, why: ineligible(work, phase, name) }));
  const candidates = verdicts.filter(({ why }) => why === null).map(({ name }) => name);
  because(work, { kind: "positions-collecting", op: phase.op, mode: freezeMode(phase), candidates }, phase.op);
  for (const { name, why } of verdicts) {
    if (why !== null) because(work, { kind: "candidate-passed-over", op: phase.op, member: name, why }, phase.op);
  }
}

export function collect(work: Work, given: PhaseOf<"collecting">): void {
  const phase = openToAll(work, given);
  if (isStoodDown(work, phase)) return abort(work, phase, "not-automatic", []);
  if (isOverBudget(work, phase)) return abort(work, phase, "failover-budget-spent", []);
  if (isOfTime(phase.proof) && awaitsPromises(work, phase.epoch)) return noteRelease(work, phase);
  if (phase.proof !== "asserted" && awaitsForgotten(work, phase.epoch)) return;
  if (phase.inquiry.kind === "asking") return inquire(work, phase);
  if (phase.cause === "switch") return handOver(work, phase);
  if (isFetching(work, phase)) return;
  const eligible = eligibleMembers(work, phase);
  const ready = eligible.filter((name) => notFinal(work, phase, name) === null);
  const waited = work.live.at - work.live.phaseAt;
  const { failsafeReturnMs, failoverMs } = work.durable.settings;
  const holder = returningHolder(work, phase);
  // What a switch has stopped holds everything: nobody else is worth the writes that he lacks.
  const returnMs = phase.cause === "switch-undone" ? failoverMs : failsafeReturnMs;
  if (holder !== null && !ready.includes(holder) && waited < returnMs) return;
  const complete = ready.length > 0 && ready.length === eligible.length && !isUnheardAwaited(work, phase);
  const mayDecide = complete || (ready.length > 0 && waited >= patienceMs(work, phase));
  const isAwaitingTarget = phase.target !== null && (!ready.includes(phase.target) || isCatchingUp(work, phase));
  const unread = missingQuorums(work, ready);
  if (mayDecide && !isAwaitingTarget && hasReadQuorums(work, phase, unread)) {
    if (!beginSalvage(work, phase, ready)) decide(work, phase, ready, eligible);
    return;
  }
  if (waited < failoverMs) return;
  if (unread.length > 0 && !goesOnUnread(phase)) return abort(work, phase, "read-quorum-missing", missingIn(unread));
  if (phase.target === null || ready.length === 0) return abort(work, phase, "no-candidate", []);
  const code = ready.includes(phase.target) ? "target-behind" : "target-not-eligible";
  abort(work, phase, code, [phase.target]);
}

/** What another policy had kept for the last holder is anybody's in AUTOMATIC; that one still has its moment to come back. */
function openToAll(work: Work, phase: PhaseOf<"collecting">): PhaseOf<"collecting"> {
  const { target, byOperator, isForced } = phase;
  if (target === null || byOperator || isForced || work.durable.policy !== "automatic") return phase;
  const opened = { ...phase, target: null };
  work.durable = { ...work.durable, phase: opened };
  return opened;
}

/** Whether everything that may have been acknowledged is in what can be read, or an operator goes on without. */
function hasReadQuorums(work: Work, phase: PhaseOf<"collecting">, unread: Missing[]): boolean {
  if (unread.length === 0 || goesOnUnread(phase)) return true;
  const { op } = phase;
  const sets = unread.map(({ version }) => version);
  becauseOnce(work, { kind: "read-quorum-awaited", op, sets, missing: missingIn(unread) }, op);
  return false;
}

function goesOnUnread({ isForced, mayLose }: PhaseOf<"collecting">): boolean {
  return isForced || mayLose;
}

function missingIn(unread: Missing[]): MemberName[] {
  return [...new Set(unread.flatMap(({ missing }) => missing))];
}

/** What time had ended, and promises hold up, its holder may have vouched for since: then they bind nobody any more. */
function noteRelease(work: Work, phase: PhaseOf<"collecting">): void {
  if (!hasReleased(work, { epoch: phase.epoch, primary: phase.deposed })) return;
  if (provenBy(work, phase.epoch, "released") !== "released") return;
  work.durable = { ...work.durable, phase: { ...phase, proof: "released", inquiry: { kind: "clear" } } };
}

/** The operator has taken the decision away from the coordinator while it was still looking. */
function isStoodDown(work: Work, { cause, target, deposed, byOperator, isForced }: PhaseOf<"collecting">): boolean {
  if (byOperator || isForced || work.durable.policy === "automatic") return false;
  // What was for the last holder alone, and was opened to all, is nobody's any more.
  const wasForHolder = cause === "lease-lost" || cause === "operator-restart";
  return whyNobodySucceeds(work, cause) !== null || (wasForHolder && target !== deposed);
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
  const asked = eligibleMembers(work, phase).filter((name) => name !== phase.deposed);
  const answers = asked.map((name) => ({ name, result: resultOf(work, name, { kind: "ask-upstream", op }) }));
  const alarmed = answers.filter(({ result }) => result?.outcome === "done" && result.value === "writable");
  if (alarmed.length > 0) {
    const names = alarmed.map(({ name }) => name);
    for (const name of names) because(work, { kind: "upstream-asked", op, member: name, answer: "writable" }, op);
    return abort(work, phase, "upstream-writable", names);
  }
  const isOverdue = work.live.at - work.live.phaseAt >= inquiryMs(work);
  // Whoever refuses the question has not looked.
  const isAnswered = answers.every(({ result }) => isOver(result) && result.outcome !== "refused");
  if (!isOverdue && (asked.length === 0 || !isAnswered)) return;
  for (const { name, result } of answers) {
    const answer = isOver(result) ? result.value || result.code : "no-answer";
    because(work, { kind: "upstream-asked", op, member: name, answer }, op);
  }
  setPhase(work, { ...phase, inquiry: { kind: "clear" } });
}

/** Everybody comes for the question, asks, and brings the answer. */
export function inquiryMs({ durable }: ClusterState): number {
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
  const { op } = plan;
  const isLost = !isHeard(work, plan.primary);
  const isBehind = verdict === "waiting" || verdict === "complete";
  const code = isLost ? "primary-lost" : isBehind ? "target-incomplete" : verdict;
  because(work, { kind: "switch-rolled-back", op, member: plan.primary, step: "stopping", code }, op);
  setStep(work, { ...plan, step: { kind: "undoing", code } });
  setPhase(work, { ...phase, cause: "switch-undone" });
}

/** Whom everybody waits for, for a moment: who gave up its lease in good order, or was stopped for a switch. */
function returningHolder(work: Work, phase: PhaseOf<"collecting">): MemberName | null {
  const { plan } = work.durable;
  if (phase.cause === "switch-undone" && plan?.kind === "switch") {
    return isHeard(work, plan.primary) ? plan.primary : null;
  }
  if (phase.cause === "operator-restart") return phase.deposed;
  return phase.cause === "lease-lost" && !mayNotReturn(work, phase.deposed) ? phase.deposed : null;
}

/**
 * How long positions are waited for. After a vacancy, and to an incarnation that has not heard them yet, the agents come
 * at the pace of rest: each must have had a turn.
 */
export function patienceMs(state: ClusterState, phase: PhaseOf<"collecting">): number {
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

export function isBudgetSpent(work: Work): boolean {
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
  tellTail(work, phase, winner.member);
  const missing = missingIn(
    missingQuorums(
      work,
      candidates.map((candidate) => candidate.member),
    ),
  );
  if (missing.length > 0) because(work, { kind: "read-quorum-overridden", op, member: winner.member, missing }, op);
  const lost = bytesLost(work, winner, candidates);
  if (lost > 0) because(work, { kind: "possible-loss", op, member: winner.member, bytes: lost }, op);
  // What was never acknowledged is nobody's loss.
  const isLimited = !phase.byOperator && !isProtected(work);
  if (lost > work.durable.settings.maxLossBytes && isLimited) {
    return abort(work, phase, "loss-exceeds-limit", [winner.member]);
  }
  if (isBudgeted(phase)) {
    work.durable = { ...work.durable, failoversWallMs: [...recentFailovers(work), work.live.wallMs] };
  }
  const { lsn, timeline } = winner.position;
  because(work, { kind: "candidate-chosen", op, member: winner.member, lsn, timeline }, op);
  if (phase.byOperator && work.durable.operation?.kind === "failover")
    tellHandwork(work, phase, winner.member, candidates);
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
  const ownEpoch = ownEpochOf(work, winner);
  // What an operator has put in place by force goes on with its own past, whatever line that is of.
  const isOwn = unseenEpochs(reigns, epoch).includes(ownEpoch) || (isForced && ownEpoch > 0);
  return isOwn ? ownEpoch : lastOpenedEpoch(reigns, epoch);
}

/**
 * How many bytes the winner lacks of the old primary's log, as last heard or last kept with its lease, of what a member once
 * had whose data directory is an older copy, or of another candidate's log. Only who was put in its place by force may have
 * gone another way than another candidate.
 */
function bytesLost(work: Work, winner: Candidate, candidates: Candidate[]): number {
  const { phase } = work.durable;
  const deposed = phase.kind === "collecting" && phase.deposed !== winner.member ? phase.deposed : null;
  const heard = deposed === null ? null : (work.live.hosts[deposed]?.poll.server?.position ?? null);
  const lost = Object.values(work.durable.identities).map((known) => known.lost);
  const missing = [heard, work.lease?.position ?? null, ...lost]
    .filter((known) => known !== null && comparePositions(known, winner.position) === "covers")
    .map((known) => (known ? Number(lsnDistance(known.lsn, winner.position.lsn)) : 0));
  const others = candidates.map(({ position }) => bytesLacking(winner.position, position));
  return Math.max(0, ...missing, ...others);
}

/** How much of a log lies beyond what another has in common with it. */
function bytesLacking(own: Position, other: Position): number {
  const common = commonPoint(own, other);
  return common === null ? 0 : bytesBeyond(other, common);
}

/**
 * The succession: how a reign begins, ends and is followed by the next.
 *
 *   founding -> reigning -> (deposing ->) collecting -> reigning ...
 *                                             `-> vacant -> collecting ...
 *
 * The point of no return of every operation is the minting of an epoch. Before it, nothing has happened to anybody;
 * after it, the only way on is another epoch with its own proof that this one is over.
 */
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
import { choose, freezeMode, ineligible, notFinal, type Candidate } from "./choose.ts";
import { judgeFounding } from "./founding.ts";
import { expiryAt, isExpired } from "./lease.ts";
import type { AbortCode, FailoverCause } from "./reason.ts";
import type { ClusterState, EndProof, Phase } from "./state.ts";
import {
  because,
  becauseOnce,
  beginOperation,
  endOperation,
  identity,
  member,
  nextOp,
  setMember,
  setPhase,
  setState,
  type Work,
} from "./work.ts";

type PhaseOf<K extends Phase["kind"]> = Extract<Phase, { kind: K }>;

/** Moves the phase on as far as what is known allows. */
export function advance(work: Work): void {
  // Every turn either mints, ends or waits: a bound catches a rule that would run in circles.
  for (let turn = 0; turn < 8; turn += 1) {
    const before = work.durable.phase;
    advanceOnce(work);
    if (work.durable.phase === before) return;
  }
  throw new Error(`the phase does not settle: ${work.durable.phase.kind}`);
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
  const deposed = Object.values(work.durable.members).filter(
    (other) => other.name !== primary && other.role === "primary" && other.reason.kind !== "failed-over-to",
  );
  // The status word may be the same; what it says of is another thing from now on.
  if (member(work, primary).role !== "primary")
    setMember(work, primary, { role: "primary", sinceWallMs: work.live.wallMs });
  setState(work, primary, "online", { kind: "none" });
  for (const other of deposed) setState(work, other.name, "shunned", { kind: "failed-over-to", to: primary });
  const parent = work.durable.reigns.find((entry) => entry.epoch === epoch)?.parent ?? 0;
  const previous = work.durable.reigns.find((entry) => entry.epoch === parent)?.member;
  if (previous && previous !== primary)
    because(work, { kind: "failover-completed", op, member: primary, deposed: previous, epoch }, op);
  endOperation(work, "");
  setPhase(work, { ...phase, opened: true });
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
    case "unexpectedly-writable":
    case "none":
      return "release-unexplained";
  }
}

function depose(work: Work, phase: PhaseOf<"deposing">): void {
  if (identity(work, phase.primary).released >= phase.epoch) return endReign(work, phase, "released", phase.cause);
  // A promotion leaves only together with its lease: where none was granted in this epoch, nobody was told to open in it.
  const wasGranted = work.lease?.epoch === phase.epoch;
  if (!wasGranted || isExpired(work, phase.epoch)) endReign(work, phase, "expired", phase.cause);
}

/** The proof is there: the reign is over, and the search for a successor begins. */
function endReign(
  work: Work,
  reigned: { epoch: number; primary: MemberName; op: number },
  proof: EndProof,
  cause: FailoverCause,
): void {
  const { epoch, primary } = reigned;
  const op = nextOp(work);
  because(work, {
    kind: "reign-ended",
    epoch,
    member: primary,
    proof,
    cause: proof === "released" ? (work.live.hosts[primary]?.poll.releaseCause ?? "none") : "none",
  });
  markDeposed(work, primary, cause, proof);
  if (!work.durable.operation) beginOperation(work, op, cause === "lease-lost" ? "reopening" : "failover", false);
  else carryOperationOn(work, op, cause);
  because(work, { kind: "failover-started", op, epoch, deposed: primary, cause }, op);
  setPhase(work, {
    kind: "collecting",
    epoch,
    deposed: primary,
    op,
    proof,
    cause,
    target: null,
    byOperator: work.durable.operation?.requestedBy === "operator",
  });
  tellCandidates(work);
}

/** A later operation goes on where one ended: commands of the earlier one die by its number. */
function carryOperationOn(work: Work, op: number, cause: FailoverCause): void {
  const byOperator = work.durable.operation?.requestedBy === "operator";
  endOperation(work, cause === "operator-failed" ? "" : "promotion-failed");
  beginOperation(work, op, "failover", byOperator);
}

function markDeposed(work: Work, primary: MemberName, cause: FailoverCause, proof: EndProof): void {
  if (member(work, primary).reason.kind === "manually-failed") return;
  // Nothing was heard of its server: it is the agent that is gone.
  if (proof === "expired" && cause !== "lease-lost" && cause !== "operator-failed") {
    return setState(work, primary, "failed", { kind: "manager-stopped" });
  }
  switch (cause) {
    case "lease-lost":
      return setState(work, primary, "shunned", { kind: "failsafe-shun" });
    case "agent-silent":
      return setState(work, primary, "failed", { kind: "manager-stopped" });
    case "operator-failed":
      return setState(work, primary, "failed", { kind: "manually-failed" });
    case "server-died":
    case "promotion-failed":
    case "promotion-timed-out":
    case "release-unexplained":
    case "retry":
      return setState(work, primary, "failed", { kind: "dataserver-stopped" });
  }
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
  const eligible = work.durable.electorate.members.filter((name) => ineligible(work, phase, name) === null);
  const ready = eligible.filter((name) => notFinal(work, phase, name) === null);
  const waited = work.live.at - work.live.phaseAt;
  const { failsafeReturnMs, failoverMs } = work.durable.settings;
  const holderMayReturn =
    phase.cause === "lease-lost" && !ready.includes(phase.deposed) && !mayNotReturn(work, phase.deposed);
  if (holderMayReturn && waited < failsafeReturnMs) return;
  const complete = ready.length > 0 && ready.length === eligible.length && !isUnheardAwaited(work, phase);
  if (complete || (ready.length > 0 && waited >= patienceMs(work, phase))) return decide(work, phase, ready, eligible);
  if (waited >= failoverMs) abort(work, phase, "no-candidate", []);
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
  return !phase.byOperator && phase.cause !== "lease-lost";
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
  const candidates = ready.flatMap((name): Candidate[] => {
    const position = work.live.hosts[name]?.poll.server?.position;
    if (!position) return [];
    const preferred = phase.cause === "lease-lost" && name === phase.deposed;
    return [{ member: name, position, priority: member(work, name).priority, preferred }];
  });
  for (const { member: name, position } of candidates) {
    const { lsn, timeline } = position;
    const { applied = null, latencyMs = null } = work.live.hosts[name]?.poll.server ?? {};
    because(work, { kind: "candidate-position", op, member: name, lsn, timeline, applied, latencyMs }, op);
  }
  const choice = choose(candidates);
  switch (choice.kind) {
    case "none":
      return abort(work, phase, "no-candidate", []);
    case "diverged":
      return abort(work, phase, "candidates-diverged", choice.members);
    case "chosen":
      return crown(work, phase, choice.winner, candidates);
  }
}

function crown(work: Work, phase: PhaseOf<"collecting">, best: Candidate, candidates: Candidate[]): void {
  const { op } = phase;
  const winner = phase.target === null ? best : candidates.find((candidate) => candidate.member === phase.target);
  if (!winner) return abort(work, phase, "target-not-eligible", [phase.target ?? best.member]);
  // A named target is no bypass: it may take over only with everything that the most advanced one holds.
  if (!coversPosition(winner.position, best.position)) return abort(work, phase, "target-behind", [best.member]);
  const lost = bytesLost(work, winner);
  if (lost > 0) because(work, { kind: "possible-loss", op, member: winner.member, bytes: lost }, op);
  if (lost > work.durable.settings.maxLossBytes && !phase.byOperator) {
    return abort(work, phase, "loss-exceeds-limit", [winner.member]);
  }
  const { lsn, timeline } = winner.position;
  because(work, { kind: "candidate-chosen", op, member: winner.member, lsn, timeline }, op);
  if (isBudgeted(phase)) {
    work.durable = { ...work.durable, failoversWallMs: [...recentFailovers(work), work.live.wallMs] };
  }
  mint(work, {
    member: winner.member,
    parent: parentOf(work, phase.epoch, winner.member),
    op,
    how: "promote",
    proof: phase.proof,
  });
}

/** The epoch whose log the winner continues. */
function parentOf(work: Work, epoch: number, winner: MemberName): number {
  const { reigns } = work.durable;
  const attempted = work.live.hosts[winner]?.poll.attempted ?? 0;
  return unseenEpochs(reigns, epoch).includes(attempted) ? attempted : lastOpenedEpoch(reigns, epoch);
}

/** How many bytes of the old primary's log, as last heard or last kept with its lease, the winner lacks. */
function bytesLost(work: Work, winner: Candidate): number {
  const { phase } = work.durable;
  const deposed = phase.kind === "collecting" && phase.deposed !== winner.member ? phase.deposed : null;
  const heard = deposed === null ? null : (work.live.hosts[deposed]?.poll.server?.position ?? null);
  const missing = [heard, work.lease?.position ?? null]
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
  const { op, epoch, deposed, proof } = phase;
  because(work, { kind: "failover-aborted", op, deposed, code, members }, op);
  if (member(work, deposed).reason.kind !== "manually-failed") {
    setState(work, deposed, "shunned", { kind: "failover-aborted" });
  }
  endOperation(work, code);
  setPhase(work, { kind: "vacant", epoch, deposed, op, proof, code });
}

/** Nobody could succeed. As soon as somebody can, and no person needs to decide first, the search begins again. */
function watchVacancy(work: Work, phase: PhaseOf<"vacant">): void {
  if (work.durable.policy !== "automatic" || needsPerson(work, phase)) return;
  const someone = work.durable.electorate.members.some((name) => ineligible(work, phase, name) === null);
  if (someone) retrySuccession(work, phase, { target: null, byOperator: false });
}

/** A budget that has room again needs nobody; neither does a lack of candidates. Everything else is for a person to decide. */
function needsPerson(work: Work, phase: PhaseOf<"vacant">): boolean {
  if (phase.code === "failover-budget-spent") return isBudgetSpent(work);
  return phase.code !== "no-candidate";
}

/** A new attempt at the succession of a reign whose end is already proved. */
export function retrySuccession(
  work: Work,
  phase: PhaseOf<"vacant">,
  by: { target: MemberName | null; byOperator: boolean },
): number {
  const op = nextOp(work);
  const { epoch, deposed, proof } = phase;
  beginOperation(work, op, "failover", by.byOperator);
  because(work, { kind: "failover-started", op, epoch, deposed, cause: "retry" }, op);
  setPhase(work, { kind: "collecting", epoch, deposed, op, proof, cause: "retry", ...by });
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
      const stages = [since + patienceMs(state, phase), since + settings.failsafeReturnMs, since + settings.failoverMs];
      return stages.find((stage) => stage > state.live.at) ?? since + settings.failoverMs;
    }
  }
}

/** Nobody reigns: why not, who may come back, and what begins the search again. */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { eligibleMembers, ineligible } from "./choose.ts";
import { isBudgetSpent, tellCandidates } from "./collecting.ts";
import { markFallen } from "./deposed.ts";
import { hasReleased, isForked } from "./fork.ts";
import type { FailoverCause } from "./reason.ts";
import type { EndProof, OperationRecord, PhaseOf } from "./state.ts";
import { isOfTime, provenBy } from "./promises.ts";
import { missingQuorums } from "./sync.ts";
import { type Work, because, beginOperation, member, nextOp, setPhase } from "./work.ts";

/** Nobody has succeeded. As soon as somebody can, and no person needs to decide first, the search begins again. */
export function watchVacancy(work: Work, phase: PhaseOf<"vacant">): void {
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
  mayLose?: boolean;
}

function nextAttempt(
  work: Work,
  phase: PhaseOf<"vacant">,
): (Pick<Attempt, "target" | "cause"> & Partial<Attempt>) | null {
  const { policy } = work.durable;
  const { deposed, welcomed } = phase;
  if (welcomed !== null && !isOperatorsWord(member(work, welcomed).reason)) {
    const isReady = ineligible(work, { ...phase, target: welcomed, isForced: true }, welcomed) === null;
    const byForce = { target: welcomed, cause: "retry", byOperator: true, isForced: true } as const;
    return policy === "automatic" && isReady ? byForce : null;
  }
  if (policy !== "automatic") return holdersReturn(work, phase);
  const nowReleased = hasReleased(work, { epoch: phase.epoch, primary: deposed }) && phase.proof !== "released";
  if (needsPerson(work, phase) && !(phase.code === "upstream-writable" && nowReleased)) return null;
  return eligibleMembers(work, phase).length > 0 ? { target: null, cause: "retry" } : null;
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
  // What stood in its way at once would do so again; one that was only not there in time may come.
  if (code !== "target-not-eligible" && needsPerson(work, phase)) return null;
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
    case "read-quorum-missing":
      return missingQuorums(work, eligibleMembers(work, phase)).length > 0;
    // Outside AUTOMATIC nobody but the last holder was looked for, and nobody had named it.
    case "target-not-eligible":
      return phase.cause !== "lease-lost";
    case "candidates-diverged":
    case "loss-exceeds-limit":
    case "coordinator-restored":
    case "operators-word":
    case "promotion-failed":
    case "target-behind":
    case "upstream-writable":
      return true;
  }
}

/** A new attempt at the succession of a reign whose end is already proved. */
export function retrySuccession(work: Work, phase: PhaseOf<"vacant">, attempt: Attempt): number {
  const op = nextOp(work);
  const { epoch, deposed } = phase;
  const { kind, cause, target, byOperator, isForced, mayLose = false } = attempt;
  const proof = bestProof(work, phase);
  if (!work.durable.operation) beginOperation(work, op, kind, byOperator);
  because(work, { kind: "failover-started", op, epoch, deposed, cause }, op);
  const mustAsk = proof === "expired" && !isForced && !isForked(work, deposed);
  const inquiry = { kind: mustAsk ? "asking" : "clear" } as const;
  setPhase(work, {
    kind: "collecting",
    epoch,
    deposed,
    op,
    proof,
    cause,
    inquiry,
    salvage: { kind: "none" },
    target,
    byOperator,
    isForced,
    mayLose,
  });
  tellCandidates(work);
  return op;
}

/**
 * What its agent has vouched for since is the better proof; unless that is a crown which was refused, and an operator has
 * asserted that the reign before is over.
 */
function bestProof(work: Work, { epoch, deposed, proof }: PhaseOf<"vacant">): EndProof {
  if (!hasReleased(work, { epoch, primary: deposed })) return proof;
  const vouched = provenBy(work, epoch, "released");
  return isOfTime(vouched) && proof === "asserted" ? proof : vouched;
}

/**
 * Where no word of the last holder has ended its reign, an operator who puts another in its place by force vouches that it
 * is over: no promise binds against that.
 */
export function assertOver(work: Work, { epoch, deposed, proof }: PhaseOf<"vacant">): EndProof {
  if (!isOfTime(proof)) return proof;
  because(work, { kind: "reign-ended", epoch, member: deposed, proof: "asserted", cause: "none" });
  return "asserted";
}

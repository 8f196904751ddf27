/** The end of a reign: what it is called, what it means to the operation under way, and whether anybody may succeed now. */
import type { MemberName } from "../../domain/names.ts";
import { tellCandidates } from "./collecting.ts";
import { markDeposed } from "./deposed.ts";
import { interruptDurability } from "./durability.ts";
import { whyNobodySucceeds } from "./policy.ts";
import { isForked } from "./fork.ts";
import { provenBy } from "./promises.ts";
import type { FailoverCause } from "./reason.ts";
import { abandonRecovery } from "./recover.ts";
import type { EndProof } from "./state.ts";
import { dropUnopened } from "./sync.ts";
import { type Work, because, beginOperation, endOperation, endPlan, nextOp, setPhase, setStep } from "./work.ts";

/** The proof is there: the reign is over. The search for a successor begins, or waits for a person. */
export function endReign(
  work: Work,
  reigned: { epoch: number; primary: MemberName; op: number },
  proof: EndProof,
  given: FailoverCause,
): void {
  const { epoch, primary } = reigned;
  interruptDurability(work, "primary-lost");
  const cause = causeWithin(work, primary, given);
  // Those who stopped acknowledging did so by this operation's word, and are frozen by it already.
  const op = proof === "revoked" ? Math.max(reigned.op, work.durable.plan?.op ?? 0) : nextOp(work);
  dropUnopened(work, { epoch, primary });
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
    return setPhase(work, {
      kind: "vacant",
      epoch,
      deposed: primary,
      op,
      proof: provenBy(work, epoch, proof),
      cause,
      code: refusal,
      welcomed: null,
    });
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
    proof: provenBy(work, epoch, proof),
    cause,
    salvage: { kind: "none" },
    inquiry: { kind: mustAsk(work, { epoch, primary }, proof) ? "asking" : "clear" },
    // Outside AUTOMATIC a lease that was lost brings back its own holder, and nobody else.
    target: cause === "lease-lost" && policy !== "automatic" ? primary : null,
    byOperator,
    isForced: false,
    mayLose: false,
  });
  tellCandidates(work);
}

/**
 * Whether the replicas look before they are frozen whether the old server still accepts writes: where nothing but time
 * says that it does not. Behind a kernel door nobody could write to it, nor ask it. Where two have its identity, both may
 * yet live on promises: those end by the freeze.
 */
function mustAsk(work: Work, { epoch, primary }: { epoch: number; primary: MemberName }, proof: EndProof): boolean {
  const { lease } = work;
  return proof === "expired" && !isForked(work, primary) && !(lease?.epoch === epoch && lease.hasLeaseDoor);
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

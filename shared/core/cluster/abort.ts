/** What cannot be finished ends in a vacancy with its reason, never in a half state. */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import type { AbortCode } from "./reason.ts";
import type { PhaseOf } from "./state.ts";
import { type Work, because, endOperation, endPlan, member, setPhase, setState } from "./work.ts";

export function abort(work: Work, phase: PhaseOf<"collecting">, code: AbortCode, members: MemberName[]): void {
  const { op, epoch, deposed, proof, cause } = phase;
  because(work, { kind: "failover-aborted", op, deposed, code, members }, op);
  if (code !== "not-automatic" && isMarkedByAbort(work, deposed))
    setState(work, deposed, "shunned", { kind: "failover-aborted" });
  if (work.durable.plan) endPlan(work, code);
  else endOperation(work, code);
  setPhase(work, { kind: "vacant", epoch, deposed, op, proof, cause, code, welcomed: null });
}

/** An operator's word stays; outside AUTOMATIC a holder that gave its lease up in good order is still waited for. */
function isMarkedByAbort(work: Work, deposed: MemberName): boolean {
  const { reason } = member(work, deposed);
  const { policy } = work.durable;
  if (isOperatorsWord(reason) || policy === "maintenance") return false;
  // That says more of what is to be done.
  if (reason.kind === "log-lost") return false;
  return policy === "automatic" || reason.kind !== "failsafe-shun";
}

/** What the policy leaves to the coordinator, and what waits for a person. */
import type { AbortCode, FailoverCause } from "./reason.ts";
import type { OperationRecord } from "./state.ts";
import type { Work } from "./work.ts";

/** Whether an operator asked for another primary: that is carried through, whoever it is in the end. */
function isOperatorsSuccession(operation: OperationRecord | null): boolean {
  return operation?.requestedBy === "operator" && (operation.kind === "failover" || operation.kind === "switch");
}

/** Why nobody may succeed now; null when the search may begin. What was begun for an operator is finished in every policy. */
export function whyNobodySucceeds(work: Work, cause: FailoverCause): AbortCode | null {
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
      return policy === "automatic" || isOperatorsSuccession(operation) ? null : "not-automatic";
    case "server-died":
    case "agent-silent":
    case "operator-failed":
    case "release-unexplained":
    case "identity-forked":
    case "log-lost":
    case "retry":
      return policy === "automatic" ? null : "not-automatic";
  }
}

/** What a datasource is called whose reign has ended. */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import type { FailoverCause } from "./reason.ts";
import type { EndProof } from "./state.ts";
import { type Work, member, setState } from "./work.ts";

export function markDeposed(work: Work, primary: MemberName, cause: FailoverCause, proof: EndProof): void {
  const { reason } = member(work, primary);
  if (isOperatorsWord(reason)) return;
  switch (cause) {
    case "switch":
    case "switch-undone":
      return setState(work, primary, "offline", { kind: "none" });
    case "operator-offline":
    case "operator-failed":
    case "operator-shunned":
      return setAside(work, primary, cause);
    case "operator-asserted":
      return setState(work, primary, "failed", { kind: "manager-stopped" });
    case "identity-forked":
      return setState(work, primary, "failed", { kind: "identity-forked" });
    case "log-lost":
      return setState(work, primary, "shunned", { kind: "log-lost" });
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

/** Where an operator's word puts a datasource. */
export function setAside(
  work: Work,
  name: MemberName,
  word: Extract<FailoverCause, "operator-failed" | "operator-shunned" | "operator-offline">,
): void {
  switch (word) {
    case "operator-failed":
      return setState(work, name, "failed", { kind: "manually-failed" });
    case "operator-shunned":
      return setState(work, name, "shunned", { kind: "manually-shunned" });
    case "operator-offline":
      return setState(work, name, "offline", { kind: "none" });
  }
}

/** What has happened by itself; in MAINTENANCE that changes no state. */
export function markFallen(work: Work, primary: MemberName, by: { cause: FailoverCause; proof: EndProof }): void {
  if (work.durable.policy !== "maintenance") setFallen(work, primary, by);
}

export function setFallen(work: Work, primary: MemberName, by: { cause: FailoverCause; proof: EndProof }): void {
  if (by.cause === "lease-lost") return setState(work, primary, "shunned", { kind: "failsafe-shun" });
  // Nothing was heard of its server: it is the agent that is gone.
  const isAgentGone = by.proof === "expired" || by.cause === "agent-silent";
  setState(work, primary, "failed", { kind: isAgentGone ? "manager-stopped" : "dataserver-stopped" });
}

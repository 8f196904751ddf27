/** A datasource: a member as the dataservice sees it, in the words that every screen, event and test uses. */
import type { MemberName } from "./names.ts";

export type Role = "primary" | "replica";
export type State = "online" | "offline" | "failed" | "shunned";
export type Policy = "automatic" | "manual" | "maintenance";
export type Durability = "async" | "sync";

/** Why a datasource is in its state. Prose is made of it in the console's renderer, nowhere else. */
export type StateReason =
  | { kind: "none" }
  | { kind: "dataserver-stopped" }
  | { kind: "manager-stopped" }
  | { kind: "manually-failed" }
  | { kind: "manually-shunned" }
  | { kind: "failed-over-to"; to: MemberName }
  /** Its log holds what the primary's lacks, or is of a reign that was passed over: it is not repointed. */
  | { kind: "diverged" }
  /** A rebuild was begun and failed: only another one, or a clone by hand, makes it of use again. */
  | { kind: "needs-provision" }
  /** Two agents speak with its identity, a copied machine's as a rule: neither is heard. */
  | { kind: "identity-forked" }
  /** Its data directory is an older copy of what it was: it lacks log that it was seen to have. */
  | { kind: "log-lost" }
  | { kind: "failsafe-shun" }
  | { kind: "failover-aborted" };

/** The STATUS column. `diminished` is an online datasource with a component down. */
export type StatusWord = "ok" | "diminished" | "warn" | "critical" | "shunned";

/** What the server's own replication does. */
export type ReplicatorState = "online" | "synchronizing" | "offline" | "degraded" | "unknown";
export type DataserverState = "online" | "stopped" | "unknown";
export type ManagerState = "online" | "stopped";

/** Whether two reasons say the same. */
export function stateReasonsEqual(a: StateReason, b: StateReason): boolean {
  if (a.kind === "failed-over-to" && b.kind === "failed-over-to") return a.to === b.to;
  return a.kind === b.kind;
}

/** Whether an operator put the datasource where it is: nothing automatic undoes that (SPEC: G4). */
export function isOperatorsWord(reason: StateReason): boolean {
  return reason.kind === "manually-failed" || reason.kind === "manually-shunned";
}

/**
 * What happened to a dataservice outside of its machine: who was let in, who asks to be told, who was refused. These
 * reasons stand in the same event log, among those of the machine.
 */
import type { Reason } from "#shared/core/cluster/reason.ts";
import type { Right, TokenKind } from "./auth.ts";

export type ShellReason =
  | { kind: "dataservice-created"; by: string }
  | {
      kind: "token-created";
      token: string;
      tokenKind: TokenKind;
      host: string | null;
      label: string | null;
      by: string;
    }
  | {
      kind: "token-revoked";
      token: string;
      tokenKind: TokenKind;
      host: string | null;
      label: string | null;
      by: string;
    }
  /** The address without its path, which may be a secret of the receiver. */
  | { kind: "webhook-created"; webhook: string; origin: string; by: string }
  | { kind: "webhook-deleted"; webhook: string; origin: string; by: string }
  /** A valid token tried what it has no right to; told once a minute for each token. */
  | { kind: "forbidden"; token: string; tokenKind: TokenKind; host: string | null; right: Right };

/** Everything that the event log holds. */
export type StoredReason = Reason | ShellReason;

/** Every kind of event there is: what a webhook may ask for. The compiler refuses this when one is missing. */
const KINDS: Record<StoredReason["kind"], true> = {
  "coordinator-started": true,
  "coordinator-behind-members": true,
  "coordinator-restated": true,
  "member-strayed": true,
  "agent-readmitted": true,
  "agent-started": true,
  "identity-forked": true,
  "identity-settled": true,
  "log-lost": true,
  "log-regained": true,
  "founding-blocked": true,
  founded: true,
  "epoch-minted": true,
  "primary-opened": true,
  "reign-ended": true,
  "datasource-changed": true,
  "failover-started": true,
  "primary-fencing": true,
  "positions-collecting": true,
  "candidate-position": true,
  "candidate-passed-over": true,
  "candidate-chosen": true,
  "possible-loss": true,
  "sync-set-told": true,
  "sync-set-taken": true,
  "sync-sets-covered": true,
  "sync-degraded": true,
  "durability-changing": true,
  "durability-changed": true,
  "durability-unchanged": true,
  "durability-awaited": true,
  "primary-suspected": true,
  "suspicion-over": true,
  "read-quorum-awaited": true,
  "read-quorum-overridden": true,
  "tail-fetching": true,
  "tail-salvaged": true,
  "tail-lost": true,
  "failover-completed": true,
  "failover-aborted": true,
  "command-issued": true,
  "command-result": true,
  "unexpectedly-writable": true,
  "operator-command": true,
  "lease-without-end": true,
  "promises-outstanding": true,
  "electorate-empty": true,
  "policy-changed": true,
  "datasource-set": true,
  "operation-locked": true,
  "operation-unlocked": true,
  "savepoint-created": true,
  "connectors-holding": true,
  "sessions-purging": true,
  "sessions-purged": true,
  "transactions-flushing": true,
  "prior-primary-returning": true,
  "prior-primary-not-back": true,
  "switch-completed": true,
  "switch-rolled-back": true,
  "replicator-frozen": true,
  "catching-up": true,
  "most-advanced": true,
  "replicator-awaited": true,
  "replicator-degraded": true,
  "upstream-asked": true,
  "service-recovering": true,
  "recovery-found": true,
  "recovery-started": true,
  "recovery-verifying": true,
  "recovery-verified": true,
  "recovery-rebuilding": true,
  "recovery-rebuilt": true,
  "recovery-using": true,
  "role-changed": true,
  "recovery-completed": true,
  "recovery-failed": true,
  "service-recovered": true,
  "no-active-primary": true,
  "dataservice-created": true,
  "token-created": true,
  "token-revoked": true,
  "webhook-created": true,
  "webhook-deleted": true,
  forbidden: true,
};

export const EVENT_KINDS: readonly string[] = Object.keys(KINDS);

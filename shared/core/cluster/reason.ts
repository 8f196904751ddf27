/**
 * Why something changed. Every transition of the coordinator's machine gives one; they land in the event log, in the
 * transcripts of operations and in tests. Data only: prose is made of them where people read.
 */
import type { Durability, Policy, Role, State, StateReason } from "../../domain/datasource.ts";
import type { LogPoint, ReleaseCause } from "../../domain/messages.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import type { Lsn } from "../../domain/position.ts";
import type { Epoch, ProofKind } from "../../domain/reign.ts";

/** Why a reign is being ended, or ended by itself. */
export type FailoverCause =
  | "server-died"
  | "lease-lost"
  | "agent-silent"
  | "operator-failed"
  | "operator-shunned"
  | "operator-offline"
  | "operator-asserted"
  | "operator-restart"
  | "switch"
  | "switch-undone"
  | "promotion-failed"
  | "promotion-timed-out"
  | "release-unexplained"
  | "identity-forked"
  | "log-lost"
  | "retry";

/**
 * What gave two agents of one identity away: a newer poll returned an older nonce, was sent at an earlier time of the same
 * clock, knew less than had been kept, was of the same start and of state that lies elsewhere, or was of a start that
 * lives on beside its successor.
 */
export type ForkEvidence = "nonce" | "clock" | "state" | "place" | "start";

/** Why a failover could not finish. */
export type AbortCode =
  | "no-candidate"
  | "promotion-failed"
  | "candidates-diverged"
  | "loss-exceeds-limit"
  | "failover-budget-spent"
  | "target-not-eligible"
  | "target-behind"
  | "upstream-writable"
  | "not-automatic"
  | "coordinator-restored"
  | "operators-word"
  /** Too few of those who may have acknowledged the last writes are there to be read. */
  | "read-quorum-missing";

/** Why a switch was rolled back. */
export type SwitchFailure =
  | "catch-up-timed-out"
  | "target-lost"
  | "primary-lost"
  | "prepare-failed"
  | "hold-timed-out"
  | "drain-failed"
  | "flush-timed-out"
  | "switch-timed-out"
  | "stop-not-clean"
  | "target-incomplete";

/** Why a change of durability did not come to its end. */
export type DurabilityFailure =
  | "primary-lost"
  | "too-few-replicas"
  | "durability-timed-out"
  /** The operator asked for another thing meanwhile. */
  | "durability-superseded";

/** Why a member could not be recovered. */
export type RecoverFailure =
  | "no-active-primary"
  | "manager-stopped"
  | "server-does-not-start"
  | "rebuild-refused"
  | "rebuild-failed"
  | "does-not-stream"
  | "some-not-recovered"
  | "identity-forked"
  | "not-in-time";

export type Reason =
  | { kind: "coordinator-started"; generation: number }
  | { kind: "coordinator-behind-members"; host: HostName; epochSeen: Epoch; opSeen: number; version: number }
  /** All that members know was taken over; `waived` had not reported, and an operator went on without them. */
  | {
      kind: "coordinator-restated";
      epoch: Epoch;
      op: number;
      primary: MemberName | null;
      policy: Policy;
      aside: MemberName[];
      waived: MemberName[];
    }
  /** A member's log is of a lost past whose epoch has a number of ours: nothing of it can be told apart from ours. */
  | { kind: "member-strayed"; member: MemberName; epoch: Epoch }
  /** An operator took an agent without its state for this host's. */
  | { kind: "agent-readmitted"; host: HostName; startCount: number; assumedEpoch: Epoch }
  | { kind: "agent-started"; host: HostName; startCount: number }
  /** Two agents speak with the identity of this host, and neither is heard; an operator has settled it. */
  | { kind: "identity-forked"; host: HostName; startCount: number; evidence: ForkEvidence }
  | { kind: "identity-settled"; host: HostName }
  /** Its log ends at `has` and was seen to reach `had`: its data directory is an older copy, and what it acknowledged counts no more. */
  | { kind: "log-lost"; member: MemberName; had: LogPoint; has: LogPoint }
  /** It reaches that far again, or has gone on in a later timeline. */
  | { kind: "log-regained"; member: MemberName; had: LogPoint; has: LogPoint }
  | { kind: "founding-blocked"; why: FoundingObstacle; members: MemberName[] }
  | { kind: "founded"; primary: MemberName; how: "adopt" | "promote" }
  | { kind: "epoch-minted"; epoch: Epoch; member: MemberName; parent: Epoch; proof: ProofKind; op: number }
  | { kind: "primary-opened"; epoch: Epoch; member: MemberName; op: number }
  | { kind: "reign-ended"; epoch: Epoch; member: MemberName; proof: ProofKind; cause: ReleaseCause }
  | { kind: "datasource-changed"; member: MemberName; role: Role; from: State; to: State; reason: StateReason }
  | { kind: "failover-started"; op: number; epoch: Epoch; deposed: MemberName; cause: FailoverCause }
  | { kind: "primary-fencing"; op: number; epoch: Epoch; member: MemberName; cause: FailoverCause }
  | { kind: "positions-collecting"; op: number; mode: "natural" | "explicit"; candidates: MemberName[] }
  | {
      kind: "candidate-position";
      op: number;
      member: MemberName;
      lsn: Lsn;
      timeline: number;
      /** Display only: how far it has applied its log, and how old the newest applied change is. */
      applied: number | null;
      latencyMs: number | null;
    }
  | { kind: "candidate-passed-over"; op: number; member: MemberName; why: Ineligible }
  | { kind: "candidate-chosen"; op: number; member: MemberName; lsn: Lsn; timeline: number }
  | { kind: "possible-loss"; op: number; member: MemberName; bytes: number }
  /** A primary's server is told a new sync set, goes by it, and is the only one that a failover has to ask about. */
  | { kind: "sync-set-told"; member: MemberName; version: number; k: number; members: MemberName[] }
  | { kind: "sync-set-taken"; member: MemberName; version: number }
  | { kind: "sync-sets-covered"; version: number; retired: number[] }
  | { kind: "sync-degraded"; member: MemberName; k: number; available: number }
  /** What is promised is being changed; `k` is how many are to acknowledge. */
  | { kind: "durability-changing"; op: number; from: Durability; to: Durability; k: number }
  | { kind: "durability-changed"; op: number; to: Durability }
  /** Nothing had been promised yet, and nothing is. */
  | { kind: "durability-unchanged"; op: number; code: DurabilityFailure }
  /** It is what was asked for, and not seen to be in force yet everywhere: that comes by itself. */
  | { kind: "durability-awaited"; op: number; to: Durability; code: DurabilityFailure }
  | { kind: "primary-suspected"; op: number; epoch: Epoch; member: MemberName }
  | { kind: "suspicion-over"; op: number; epoch: Epoch; member: MemberName }
  | { kind: "read-quorum-awaited"; op: number; sets: number[]; missing: MemberName[] }
  | { kind: "read-quorum-overridden"; op: number; member: MemberName; missing: MemberName[] }
  /** The dead primary's log reaches further than the winner's, and its agent lives: the rest is fetched from there. */
  | { kind: "tail-fetching"; op: number; member: MemberName; from: HostName; bytes: number }
  | { kind: "tail-salvaged"; op: number; member: MemberName; from: HostName; bytes: number }
  /** The winner goes on without these bytes of the log; `code` says why they could not be had. */
  | { kind: "tail-lost"; op: number; member: MemberName; from: HostName; bytes: number; code: string }
  | { kind: "failover-completed"; op: number; member: MemberName; deposed: MemberName; epoch: Epoch }
  | { kind: "failover-aborted"; op: number; deposed: MemberName; code: AbortCode; members: MemberName[] }
  | { kind: "command-issued"; member: MemberName; command: string; id: string; op: number }
  | { kind: "command-result"; member: MemberName; id: string; outcome: string; code: string; detail: string }
  | { kind: "unexpectedly-writable"; member: MemberName; epoch: Epoch }
  | { kind: "operator-command"; command: string; member: MemberName | null; by: string; force: boolean }
  /** The primary is silent, and no time ends its lease: only an operator's assertion does. */
  | { kind: "lease-without-end"; member: MemberName; epoch: Epoch }
  /** Time would have ended the reign, but these members have promised its primary that they will not be opened in its place. */
  | { kind: "promises-outstanding"; epoch: Epoch; members: MemberName[] }
  /** Nobody else could be elected: no time ends such a reign, only its holder's own word or an operator's assertion. */
  | { kind: "electorate-empty"; epoch: Epoch; member: MemberName }
  | { kind: "policy-changed"; from: Policy; to: Policy; policyVersion: number }
  /** What a `datasource` command did; for the transcript, in the words its operators wait for. */
  | { kind: "datasource-set"; op: number; member: MemberName; to: State }
  /** An operation of several steps has the dataservice to itself, and lets go of it. The policy itself stays what it is. */
  | { kind: "operation-locked"; op: number; policy: Policy }
  | { kind: "operation-unlocked"; op: number; policy: Policy }
  | { kind: "savepoint-created"; op: number; operation: "switch" | "failover"; wallMs: number }
  | { kind: "connectors-holding"; op: number; waitedFor: HostName[] }
  | { kind: "sessions-purging"; op: number; member: MemberName }
  | { kind: "sessions-purged"; op: number; member: MemberName; count: number }
  | { kind: "transactions-flushing"; op: number; member: MemberName }
  | { kind: "prior-primary-returning"; op: number; member: MemberName }
  | { kind: "prior-primary-not-back"; op: number; member: MemberName }
  | { kind: "switch-completed"; op: number; member: MemberName }
  | { kind: "switch-rolled-back"; op: number; member: MemberName; step: string; code: SwitchFailure }
  | { kind: "replicator-frozen"; op: number; member: MemberName }
  | { kind: "catching-up"; op: number; member: MemberName; upstream: MemberName }
  | { kind: "most-advanced"; op: number; member: MemberName }
  | { kind: "replicator-awaited"; op: number; member: MemberName }
  | { kind: "replicator-degraded"; op: number; member: MemberName }
  | { kind: "upstream-asked"; op: number; member: MemberName; answer: string }
  | { kind: "service-recovering"; op: number }
  | { kind: "recovery-found"; op: number; member: MemberName }
  | { kind: "recovery-started"; op: number; member: MemberName }
  | { kind: "recovery-verifying"; op: number; member: MemberName }
  | { kind: "recovery-verified"; op: number; member: MemberName }
  | { kind: "recovery-rebuilding"; op: number; member: MemberName; fork: LogPoint; end: Lsn; bytes: number }
  | { kind: "recovery-rebuilt"; op: number; member: MemberName; how: string }
  | { kind: "recovery-using"; op: number; member: MemberName; primary: MemberName }
  | { kind: "role-changed"; op: number; member: MemberName; from: Role; to: Role }
  | { kind: "recovery-completed"; op: number; member: MemberName }
  | { kind: "recovery-failed"; op: number; member: MemberName; code: RecoverFailure; detail: string }
  | { kind: "service-recovered"; op: number; count: number }
  | { kind: "no-active-primary"; op: number };

export type FoundingObstacle =
  | "several-systems"
  | "member-has-an-epoch"
  | "another-member-is-writable"
  | "another-member-is-unclear"
  | "primary-not-running"
  | "another-member-is-ahead";

/** Why a member is not promoted. */
export type Ineligible =
  | "not-in-electorate"
  | "shunned"
  | "offline"
  | "failed-by-operator"
  | "identity-forked"
  | "of-another-life"
  | "no-report"
  | "silent"
  | "server-down"
  | "server-writable"
  | "damaged"
  | "no-position"
  | "not-on-lineage"
  /** Its data directory is an older copy: it lacks log that it was seen to have. */
  | "log-lost"
  /** The same, as far as its server has read it yet. */
  | "log-unread"
  | "still-receiving"
  | "not-frozen"
  /** Its server is not seen yet to go by the sync set that it would open with. */
  | "sync-unsettled"
  | "not-seen-since";

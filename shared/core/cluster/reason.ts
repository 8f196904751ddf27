/**
 * Why something changed. Every transition of the coordinator's machine gives one; they land in the event log, in the
 * transcripts of operations and in tests. Data only: prose is made of them where people read.
 */
import type { Role, State, StateReason } from "../../domain/datasource.ts";
import type { ReleaseCause } from "../../domain/messages.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import type { Lsn } from "../../domain/position.ts";
import type { Epoch, ProofKind } from "../../domain/reign.ts";

/** Why a reign is being ended, or ended by itself. */
export type FailoverCause =
  | "server-died"
  | "lease-lost"
  | "agent-silent"
  | "operator-failed"
  | "promotion-failed"
  | "promotion-timed-out"
  | "release-unexplained"
  | "retry";

/** Why a failover could not finish. */
export type AbortCode =
  | "no-candidate"
  | "promotion-failed"
  | "candidates-diverged"
  | "loss-exceeds-limit"
  | "failover-budget-spent"
  | "target-not-eligible"
  | "target-behind";

export type Reason =
  | { kind: "coordinator-started"; generation: number }
  | { kind: "coordinator-behind-members"; host: HostName; epochSeen: Epoch; opSeen: number; version: number }
  | { kind: "agent-started"; host: HostName; startCount: number }
  | { kind: "founding-blocked"; why: FoundingObstacle; members: MemberName[] }
  | { kind: "founded"; primary: MemberName; how: "adopt" | "promote" }
  | { kind: "epoch-minted"; epoch: Epoch; member: MemberName; parent: Epoch; proof: ProofKind; op: number }
  | { kind: "primary-opened"; epoch: Epoch; member: MemberName; op: number }
  | { kind: "reign-ended"; epoch: Epoch; member: MemberName; proof: "released" | "expired"; cause: ReleaseCause }
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
  | { kind: "failover-completed"; op: number; member: MemberName; deposed: MemberName; epoch: Epoch }
  | { kind: "failover-aborted"; op: number; deposed: MemberName; code: AbortCode; members: MemberName[] }
  | { kind: "command-issued"; member: MemberName; command: string; id: string; op: number }
  | { kind: "command-result"; member: MemberName; id: string; outcome: string; code: string; detail: string }
  | { kind: "unexpectedly-writable"; member: MemberName; epoch: Epoch }
  | { kind: "operator-command"; command: string; member: MemberName | null };

export type FoundingObstacle =
  | "several-systems"
  | "member-has-an-epoch"
  | "another-member-is-writable"
  | "primary-not-running";

/** Why a member is not promoted. */
export type Ineligible =
  | "not-in-electorate"
  | "shunned"
  | "offline"
  | "failed-by-operator"
  | "no-report"
  | "silent"
  | "server-down"
  | "server-writable"
  | "no-position"
  | "not-on-lineage"
  | "still-receiving"
  | "not-frozen";

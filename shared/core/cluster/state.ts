/**
 * What the coordinator's machine knows of one dataservice.
 *
 * Three parts, by how they are kept. `durable` is written whenever it changes, before anything is answered. `lease` has
 * a row of its own, because it is the one thing written at rest. `live` is what this incarnation has seen and heard; a
 * fresh incarnation begins without it and waits accordingly.
 */
import type { Clocks } from "../../domain/clocks.ts";
import type { Durability, Policy, Role, State, StateReason } from "../../domain/datasource.ts";
import type { Command, Endpoint, LogPoint, Peer, Poll, Reply, SyncSet } from "../../domain/messages.ts";
import type { DataserviceName, HostName, MemberName } from "../../domain/names.ts";
import type { Position } from "../../domain/position.ts";
import type { Epoch, ProofKind, Reign } from "../../domain/reign.ts";
import type { Settings } from "../../domain/settings.ts";
import type { Voucher } from "../../domain/voucher.ts";
import type { AbortCode, FailoverCause, Reason, SwitchFailure } from "./reason.ts";

/** The proofs by which a reign can have ended. */
export type EndProof = Exclude<ProofKind, "founded">;

/** What is known of the last primary's upstream-side life before anybody is frozen (SPEC: the writable upstream). */
export type Inquiry =
  /** Not needed, or all answers are in and nobody has heard a writable upstream. */
  | { kind: "clear" }
  /** The replicas are being asked. */
  | { kind: "asking" };

/** What is done about the end of the dead primary's log that its successor lacks. */
export type Salvage =
  /** Nothing yet, or there is nothing to be had. */
  | { kind: "none" }
  /** `winner` fetches `bytes`, up to `until`, from the dead server's agent. */
  | { kind: "fetching"; winner: MemberName; from: Peer; until: LogPoint; bytes: number };

/** Where the dataservice stands. A phase carries only its own fields. */
export type Phase =
  /**
   * Waiting for every named member to report; nothing is commanded. `isForced`: an operator has named the first primary
   * although another member holds what it lacks.
   */
  | { kind: "founding"; primary: MemberName; isForced: boolean }
  /** `primary` holds the lease of `epoch`, or is being given it; `opened` once it was seen writable. */
  | {
      kind: "reigning";
      epoch: Epoch;
      primary: MemberName;
      op: number;
      how: "adopt" | "promote";
      proof: ProofKind;
      timeline: number;
      opened: boolean;
      /** Its host is silent: the replicas are being told to stop acknowledging to it. */
      isSuspected: boolean;
    }
  /** The primary is told to fence and gets no extension; its end must be proved. */
  | { kind: "deposing"; epoch: Epoch; primary: MemberName; op: number; cause: FailoverCause }
  /** The reign of `epoch` is over by `proof`; positions are gathered and a successor chosen. */
  | {
      kind: "collecting";
      epoch: Epoch;
      deposed: MemberName;
      op: number;
      proof: EndProof;
      cause: FailoverCause;
      inquiry: Inquiry;
      salvage: Salvage;
      target: MemberName | null;
      byOperator: boolean;
      /** The operator takes the target as it is: whatever it lacks is lost, and said. */
      isForced: boolean;
      /** The operator goes on though not all can be read who may have acknowledged: what only they hold is lost. */
      mayLose: boolean;
    }
  /** The reign of `epoch` is over by `proof`, and nobody could, or may, succeed. */
  | {
      kind: "vacant";
      epoch: Epoch;
      deposed: MemberName;
      op: number;
      proof: EndProof;
      cause: FailoverCause;
      code: AbortCode;
      /** Whom the operator has welcomed to be the next primary. */
      welcomed: MemberName | null;
    };

/**
 * A piece of work of several steps that an operator asked for. Each step is a goal: any incarnation can go on with it,
 * and until an epoch is minted all of it can be undone.
 */
export type Plan = SwitchPlan | RecoverPlan;

export interface SwitchPlan {
  kind: "switch";
  op: number;
  primary: MemberName;
  target: MemberName;
  step: SwitchStep;
}

export type SwitchStep =
  /** The primary writes a checkpoint and the target comes near, while clients go on. */
  | { kind: "preparing" }
  /** Every connector is told to let new connections wait. */
  | { kind: "holding" }
  /** They do; those that were let in just before get the time for a first word. */
  | { kind: "settling" }
  /** The primary's door is shut and its sessions end. */
  | { kind: "draining" }
  /** No session is left; the target must have all up to `until`. */
  | { kind: "flushing"; until: Position }
  /** The primary stops: the reign is being ended. */
  | { kind: "stopping" }
  /** The successor reigns; the prior primary comes back as a replica. */
  | { kind: "returning" }
  /** Not possible after all: the primary's door is being opened again. */
  | { kind: "undoing"; code: SwitchFailure };

export interface RecoverPlan {
  kind: "recover";
  op: number;
  /** Who is being recovered, and who comes after. */
  member: MemberName;
  step: RecoverStep;
  /** Whether all of the dataservice was asked for, or this one. */
  isWhole: boolean;
  waiting: MemberName[];
  recovered: MemberName[];
  failed: MemberName[];
}

export type RecoverStep =
  /** Its server must answer, read-only, and say how far its log reaches; it is started if it is stopped. */
  | { kind: "verifying"; isRebuilt: boolean }
  /** Its log holds what the primary's lacks: it is laid out anew. */
  | { kind: "rebuilding"; fork: LogPoint }
  /** It follows, and streams. */
  | { kind: "following" };

export type PhaseOf<K extends Phase["kind"]> = Extract<Phase, { kind: K }>;

/** What is known of whoever speaks for a host; binds its token to one agent and one server. */
export interface Identity {
  /** The highest start count seen; 0 before the first poll. */
  startCount: number;
  incarnation: string | null;
  /** Where the agent of the highest start count keeps its state; null when it has not said. */
  place: string | null;
  systemId: string | null;
  /** The highest epoch the member has vouched never to write in again. Terminal. */
  released: Epoch;
  /** The highest policy version that the host's agent has confirmed. */
  policyVersion: number;
  /** The operation whose rebuild may have given the host a new data incarnation; 0 when none is expected. */
  rebuildOp: number;
  /** Its log is of a past that was lost, in which an epoch had the number of one of ours: only a new copy is of use. */
  isStray: boolean;
  /** The highest timeline that its server was heard on; 0 before the first word. */
  timeline: number;
  /** Its agent has forgotten what it was, and where its log has been since was not looked at yet (SPEC: ID-15). */
  isUnproven: boolean;
  /** The recovery by which an operator takes a stranger's state for this host's; 0 when none is expected. */
  readmitOp: number;
  /** The last epoch in which its log may hold writes of its own, where its agent has forgotten: 0 when it knows. */
  assumedEpoch: Epoch;
  /** Two agents were seen to speak for it: neither is heard until an operator has settled it (SPEC: ID-10). */
  isForked: boolean;
  /** How often that has happened: what was acknowledged before counts no more. */
  forks: number;
  /** The epoch in which it happened last; 0 when it never did. */
  forkedEpoch: Epoch;
  /** How far its log was seen to reach, when it was found shorter; null once it reaches that far again (SPEC: ID-14). */
  lost: Position | null;
  /** How often its log was found shorter than it was: what was acknowledged before counts no more. */
  losses: number;
  /** The epoch in which that happened last; 0 when it never did. */
  lostEpoch: Epoch;
}

export interface SyncPolicy {
  k: number;
  /** `block`: writes wait for a replica to come back. `degrade`: they go on, unprotected. */
  onLoss: "block" | "degrade";
}

export const DEFAULT_SYNC_POLICY: SyncPolicy = { k: 1, onLoss: "block" };

/** A sync set under which a primary's clients may have been acknowledged. */
export interface OpenSyncSet {
  version: number;
  epoch: Epoch;
  /** The primary that ran under it. */
  primary: MemberName;
  k: number;
  /** An acknowledgement counts only from the data directory that gave it. */
  members: { name: MemberName; incarnation: string }[];
  /** Where the primary's log ended when all of its server was seen to go by the set; null before. */
  from: Position | null;
}

/** What an operator asked for about `durability`, while it is being brought about (SPEC: SYNC-8, SYNC-9). */
export interface DurabilityChange {
  op: number;
  step: DurabilityStep;
}

export type DurabilityStep =
  /** The replicas' servers take up sets: each that may be opened once it is promised has one. */
  | { kind: "preparing" }
  /** The primary was told `set`; nothing is promised of it, and nobody else counts it. */
  | { kind: "arming"; set: OpenSyncSet }
  /** It goes by it, from `set.from` on; enough of its members must hold what was written before. */
  | { kind: "covering"; set: OpenSyncSet }
  /** Synchronous already, and another number of members is to acknowledge. */
  | { kind: "adjusting" }
  /** Asynchronous already; the primary is told to wait for nobody. */
  | { kind: "relaxing" };

export interface MemberRecord {
  name: MemberName;
  priority: number;
  role: Role;
  state: State;
  reason: StateReason;
  sinceWallMs: number;
  endpoint: Endpoint | null;
}

export interface OperationRecord {
  op: number;
  kind: "founding" | "reopening" | OperatorRequest["kind"];
  requestedBy: "automatic" | "operator";
  state: "running" | "succeeded" | "failed";
  code: string;
  startedWallMs: number;
  endedWallMs: number | null;
}

export interface DurableState {
  dataservice: DataserviceName;
  /** What is promised at this moment; `durabilityChange` is what it is on its way to. */
  durability: Durability;
  durabilityChange: DurabilityChange | null;
  settings: Settings;
  policy: Policy;
  policyVersion: number;
  /** The highest epoch minted; never reused. */
  epoch: Epoch;
  /** The highest operation number given out. */
  op: number;
  /** Grows with every durable change. */
  version: number;
  /** Who may be elected; `unconfirmed` are those whom the primary may not know to be on the list. */
  electorate: { version: number; members: MemberName[]; unconfirmed: MemberName[] };
  /** How many must acknowledge in synchronous mode, and what happens when there are fewer. */
  syncPolicy: SyncPolicy;
  /** The highest version of a sync set given out; never reused. */
  syncVersion: number;
  /** What each member's server was told last to go by. Empty where it was asynchronous from the beginning. */
  syncTold: Record<MemberName, SyncSet>;
  /** The sets under which writes may have been acknowledged that are not certain to be everywhere else, oldest first. */
  syncSets: OpenSyncSet[];
  reigns: Reign[];
  members: Record<MemberName, MemberRecord>;
  /** Everyone whose agent may poll: the members and the hosts with a connector only. */
  identities: Record<HostName, Identity>;
  phase: Phase;
  /** The newest command given to each member. */
  commands: Record<MemberName, Command>;
  /** The operation under way, if any. */
  operation: OperationRecord | null;
  /** What the operation under way is made of, where it has steps. */
  plan: Plan | null;
  /**
   * Leases of members whose confirmed policy version is lower have no end: they may not have heard yet that the last
   * MAINTENANCE is over. 0 when there never was one.
   */
  endlessBelow: number;
  /** Wall times of the automatic failovers inside the budget's window. A flapping guard, no safety rule. */
  failoversWallMs: number[];
  /** This state is, or was, of the past: the storage was restored or lost. Null when nothing is known of that. */
  restoration: Restoration | null;
}

export type Restoration =
  /**
   * Members remember more than this coordinator does. Nobody is promoted and nothing commanded until each has reported;
   * `known` is the most that was vouched for so far. A voucher above `ownVersion` is of the time that was lost.
   */
  | { kind: "reporting"; ownVersion: number; known: Voucher }
  /** What could be known was restated; an operator is to look, and to set the policy. */
  | { kind: "unconfirmed" };

/** The newest grant. `serial` grows with every grant and extension. */
export interface LeaseRecord {
  member: MemberName;
  epoch: Epoch;
  ttlMs: number;
  /** How long a fence may take after its end: the larger of the holder's own bound and the setting. */
  fenceMs: number;
  /** Whether the holder's kernel ends its right to write with the lease. */
  hasLeaseDoor: boolean;
  /** Where the agent keeps its state that was granted this epoch: no other place is. Null when it had not said. */
  place: string | null;
  serial: number;
  /** The holder's last reported position: what a successor's loss is measured against. */
  position: Position | null;
}

/** A witness counts the wait for `expired` on its own clock, from its receipt of a nonce issued after the last grant. */
export interface Witness {
  startCount: number;
  serial: number;
  base: Clocks;
}

export interface LiveHost {
  poll: Poll;
  handledAt: number;
  /** The newest nonces sent to this host, each with the lease serial at that moment. */
  issued: { nonce: string; serial: number }[];
  witness: Witness | null;
  /** The newest nonce of this incarnation that this start has returned; null before the first. */
  returned: string | null;
  /** The command sent last: so that it is not repeated with every poll. */
  sent: { id: string; at: number } | null;
  /** Since when a replica that should stream has not; null while it streams. */
  stalledAt: number | null;
  /** The furthest place that its present data directory was seen to reach; null while nothing is known. */
  furthest: Position | null;
  /** What its connector was told last of the writers' door; null where it has none, or was told nothing. */
  door: DoorTold | null;
  /** Until when its earlier starts have promised, in `at`; 0 when none has. */
  promisedUntil: number;
  /** What `poll` was answered with; null where it was refused. */
  reply: ReplyBody | null;
}

/** Whether new writers wait, and whom the others reach. */
export interface DoorTold {
  hold: boolean;
  target: MemberName | null;
}

export interface LiveState {
  generation: number;
  /** Milliseconds of this incarnation: the sum of positive clock differences. */
  at: number;
  /** Display only. */
  wallMs: number;
  /** When the newest grant or extension was handled; the start of the incarnation for an inherited one. */
  leaseAt: number;
  /** When this incarnation saw the phase begin. */
  phaseAt: number;
  /** When this incarnation saw the plan begin, and its present step. */
  planAt: number;
  stepAt: number;
  nonceCounter: number;
  /** The newest nonce when the last reign ended: what was looked at after a later one was seen after that end. */
  endNonce: number;
  hosts: Record<HostName, LiveHost>;
  /** Restarts ordered for stopped servers: how many in a row, and when the next may be. */
  restarts: Record<MemberName, { attempts: number; notBefore: number }>;
  /** Of starts that a later one elsewhere has replaced: when each was heard again first, by its own clocks. */
  elders: Record<HostName, { startCount: number; clocks: Clocks }>;
  /** The highest timeline that any agent has told of its server, one that was refused too: no number up to it is given out. */
  timelineSeen: number;
  /** When contact was made again after nobody was heard for a whole lease; null when that never was. */
  awayUntil: number | null;
  /** Obstacles already told, so that each is told once. */
  told: string[];
}

export interface ClusterState {
  durable: DurableState;
  lease: LeaseRecord | null;
  live: LiveState;
}

/** Coordinator events carry `at` (ms of this incarnation, never backwards) and `wallMs` (display only). */
export type ClusterEvent =
  /** `voucher` is what the poll's `mac` says, if this coordinator has signed it; absent when it has not. */
  | { kind: "poll"; at: number; wallMs: number; poll: Poll; voucher?: Voucher | null }
  | { kind: "tick"; at: number; wallMs: number }
  /** `by` names who asked, for the event log; `force` overrides the guards that say so. */
  | { kind: "command"; at: number; wallMs: number; command: OperatorRequest; by: string; force: boolean };

export type OperatorRequest =
  | { kind: "failover"; to: MemberName | null }
  | { kind: "switch"; to: MemberName | null }
  | { kind: "recover" }
  /** The operator says that the coordinator's storage was restored, or ends the waiting for who has not reported. */
  | { kind: "coordinator-restored" }
  | { kind: "set-policy"; policy: Policy }
  /** `sync` is who is to acknowledge; null asks for asynchronous durability. */
  | { kind: "set-durability"; sync: SyncPolicy | null }
  | { kind: DatasourceRequest; member: MemberName };

export type DatasourceRequest =
  | "datasource-fail"
  | "datasource-shun"
  | "datasource-welcome"
  | "datasource-online"
  | "datasource-offline"
  | "datasource-recover";

/** Why a poll or a command was not accepted. Nothing has changed then. */
export interface Refusal {
  code:
    | "unknown-member"
    | "unsupported-protocol"
    | "stale-poll"
    | "second-agent"
    | "wrong-system"
    | "wrong-incarnation"
    | "forked-identity"
    | "not-founded"
    | "primary-is-healthy"
    | "operation-under-way"
    | "primary-is-live"
    | "no-active-primary"
    | "no-candidate"
    | "target-not-eligible"
    | "needs-force"
    | "coordinator-restoring"
    | "wrong-state";
  detail: string;
}

/** The answer to a poll before the shell adds what only it can make: the MACs and the key of the peer channel. */
export type ReplyBody = Omit<Reply, "mac" | "leaseEnded" | "peerKey"> & {
  leaseEndedEpoch: Epoch | null;
  voucher: Voucher;
};

export type ClusterEffect =
  /** Insert or replace an operation's record. */
  | { kind: "operation"; record: OperationRecord }
  /** Append a reason to an operation's transcript. */
  | { kind: "transcript"; op: number; entry: Reason };

/**
 * What one step yields. The shell persists `durable` if it is another object than before, the lease row if `lease` is
 * another object or `confirm` is set, the effects and the reasons, all in one transaction; only then it answers.
 */
export interface ClusterStep {
  state: ClusterState;
  effects: ClusterEffect[];
  reasons: Reason[];
  /** The answer carries authority: it may leave only behind a real write of this very event. */
  confirm: boolean;
  answer:
    | { kind: "none" }
    | { kind: "reply"; reply: ReplyBody }
    | { kind: "accepted"; op: number }
    | { kind: "refused"; refusal: Refusal };
}

/** What founds a dataservice. */
export interface Founding {
  dataservice: DataserviceName;
  members: { name: MemberName; priority: number }[];
  primary: MemberName;
  routers: HostName[];
  settings: Settings;
  durability: Durability;
  syncPolicy: SyncPolicy;
  wallMs: number;
  /** Its members were founded before, by a coordinator whose storage is lost: they report first. */
  isRestored?: boolean;
}

/** The state of a dataservice that was just created: nobody has reported, nothing is commanded. */
export function foundingState(founding: Founding): DurableState {
  const names = founding.members.map((member) => member.name);
  const identity: Identity = {
    startCount: 0,
    incarnation: null,
    place: null,
    systemId: null,
    released: 0,
    policyVersion: 0,
    rebuildOp: 0,
    isStray: false,
    timeline: 0,
    isUnproven: false,
    readmitOp: 0,
    assumedEpoch: 0,
    isForked: false,
    forks: 0,
    forkedEpoch: 0,
    lost: null,
    losses: 0,
    lostEpoch: 0,
  };
  return {
    dataservice: founding.dataservice,
    durability: founding.durability,
    durabilityChange: null,
    settings: founding.settings,
    policy: "automatic",
    policyVersion: 1,
    epoch: 0,
    op: 0,
    version: 1,
    electorate: { version: 1, members: names, unconfirmed: [] },
    syncPolicy: founding.syncPolicy,
    syncVersion: 0,
    syncTold: {},
    syncSets: [],
    reigns: [],
    members: Object.fromEntries(
      founding.members.map((member): [MemberName, MemberRecord] => [
        member.name,
        {
          name: member.name,
          priority: member.priority,
          role: member.name === founding.primary ? "primary" : "replica",
          state: "offline",
          reason: { kind: "none" },
          sinceWallMs: founding.wallMs,
          endpoint: null,
        },
      ]),
    ),
    identities: Object.fromEntries([...names, ...founding.routers].map((name) => [name, identity])),
    phase: { kind: "founding", primary: founding.primary, isForced: false },
    commands: {},
    operation: null,
    plan: null,
    endlessBelow: 0,
    failoversWallMs: [],
    restoration: founding.isRestored === true ? { kind: "reporting", ownVersion: 0, known: NOTHING_KNOWN } : null,
  };
}

const NOTHING_KNOWN: Voucher = {
  version: 1,
  epoch: 0,
  mintedWallMs: 0,
  op: 0,
  timeline: 0,
  policy: "automatic",
  policyVersion: 1,
  electorateVersion: 1,
  syncVersion: 0,
  sync: "unknown",
  aside: [],
};

/** What a fresh incarnation knows besides what was stored. It has seen no grant: its waits begin now. */
export function freshLive(generation: number, wallMs: number): LiveState {
  return {
    generation,
    at: 0,
    wallMs,
    leaseAt: 0,
    phaseAt: 0,
    planAt: 0,
    stepAt: 0,
    // From the wall clock on: a storage that was restored has had this generation before, and its nonces.
    nonceCounter: Math.floor(wallMs),
    endNonce: Math.floor(wallMs),
    hosts: {},
    restarts: {},
    awayUntil: null,
    elders: {},
    timelineSeen: 0,
    told: [],
  };
}

/**
 * What a member's machine knows. `durable` is on the host's disk before anything that rests on it happens; `live` is of
 * this process; the phase says what the server may be doing.
 */
import type { Clocks } from "../../domain/clocks.ts";
import type { Policy } from "../../domain/datasource.ts";
import type {
  Command,
  CommandResult,
  Endpoint,
  LogPoint,
  PromiseRequest,
  Peer,
  ReleaseCause,
  Reply,
  ServerReport,
  SyncSet,
  Upstream,
} from "../../domain/messages.ts";
import type { DataserviceName, HostName, MemberName } from "../../domain/names.ts";
import type { Lsn, Position } from "../../domain/position.ts";
import type { Epoch } from "../../domain/reign.ts";

/**
 * The right to write as its holder counts it, within one boot of the kernel: from the sending of the poll that brought
 * the lease, or of the oldest request by which all the electorate has promised.
 */
export interface HeldLease {
  epoch: Epoch;
  ttlMs: number;
  base: Clocks;
  bootId: string;
  /** Whether it was granted to a holder with a kernel door: then nothing but the door's end is counted on. */
  hasLeaseDoor: boolean;
}

/** What the kernel is to do with the traffic of the server's port. */
export type DoorWish =
  /** No door: everything passes. */
  | { kind: "none" }
  /** Everything passes until this lease is over, and nothing after it. */
  | { kind: "lease"; lease: HeldLease }
  /** Everything passes: in MAINTENANCE no time ends a lease. */
  | { kind: "endless" };

/** The kernel door as this process knows it. */
export interface LeaseDoor {
  /** Whether this agent makes a door before it opens its server, and says so in each poll. */
  isAble: boolean;
  /** Whether it opens nothing without one. */
  isRequired: boolean;
  /** What the kernel was last asked for; null when it is to be asked anew. */
  asked: DoorWish | null;
  askedId: number;
  /** What the kernel is known to do; null when that is not known. */
  stands: DoorWish | null;
}

/** What this member has promised: not to be opened in the place of `holder` while time alone has ended its reign. */
export interface GivenPromise extends PromiseRequest {
  base: Clocks;
  bootId: string;
}

export interface MemberDurable {
  dataservice: DataserviceName;
  host: HostName;
  startCount: number;
  /** New after a clone, a restore, a rewind or a lost state file. */
  incarnation: string;
  /** Where this state lay when the coordinator last answered; elsewhere it may be a copy. Null before the first answer. */
  place: string | null;
  systemId: string | null;
  /** Until founded, the agent only observes. */
  founded: boolean;
  epochSeen: Epoch;
  opSeen: number;
  attempted: Epoch;
  /** The last epoch of which the opening was seen to have ended well; of any later one it may still be under way. */
  opened: Epoch;
  /** The last epoch in which the log on this disk may hold writes of its own; 0 when it holds none. */
  ownEpoch: Epoch;
  /** A rebuild was begun: what the data directory holds is worth nothing until one is finished. */
  isDamaged: boolean;
  released: Epoch;
  releaseCause: ReleaseCause;
  version: number;
  mac: string;
  policy: Policy;
  policyVersion: number;
  electorate: { version: number; members: MemberName[] };
  /** The newest sync set that this member was told; version 0 when none was. */
  syncSet: SyncSet;
  /** The operation that froze this member; only a `follow` of this or a later one thaws it. */
  frozenOp: number | null;
  /** The epoch whose successor that freeze was for; null when it is not known. */
  frozenEpoch: Epoch | null;
  upstream: Upstream | null;
  lease: HeldLease | null;
  /** How long the promises that this member may ask for bind; 0 while no lease has said so. */
  promiseBindsMs: number;
  /** The promise given last; null when it is over. */
  promise: GivenPromise | null;
  /** The furthest place that the log of this data directory was seen to reach; null while nothing is known. */
  furthest: Position | null;
}

/** The server as last observed by its engine. */
export interface ServerView {
  report: ServerReport;
  engineVersion: string;
  systemId: string | null;
  /** The end of the log: last known while the server does not answer; null before it has read its own log to the end. */
  position: Position | null;
  /** Whether `position` is the end of all that the data directory holds, as seen now: nothing in it is left to be read. */
  isWhole: boolean;
  /** How far the log is applied, as a display number. */
  applied: number | null;
  /** Age of the newest applied change in milliseconds, 0 when all that was received is applied. */
  latencyMs: number | null;
  /** Whether the server's own receiver is streaming now, and from where it is configured to stream. */
  receiver: { streaming: boolean; configured: Endpoint | null };
  /** Where the shutdown checkpoint of a server that was stopped in good order begins; null while it runs or after a crash. */
  shutdownLsn: Lsn | null;
  /** Where the log of a server that died ends, read from its files; null while it runs, after an orderly stop, and where it cannot be read. */
  tail: LogPoint | null;
}

export type TaskKind =
  | "adopt"
  | "promote"
  | "follow"
  | "freeze"
  | "fence"
  | "settle"
  | "start"
  | "prepare"
  | "shut"
  | "reopen"
  | "ask-upstream"
  | "fetch-tail"
  | "rebuild"
  | "sync";

/** Work for the engine. Its end comes back as a `finished` event with the same id. */
export type Task =
  | { id: number; kind: "freeze" | "start" | "prepare" | "reopen"; deadlineMs: number }
  /** With `needsDoor` the server is touched only after the door that was asked for last stands. */
  | { id: number; kind: "adopt"; needsDoor: boolean; deadlineMs: number }
  /** The orderly stop has `patienceMs` before it is hurried; then `deadlineMs` for the rest. */
  | { id: number; kind: "fence"; patienceMs: number; deadlineMs: number }
  /** Wait until nothing of the server's former life can write, and leave a server that was restarted read-only alone. */
  | { id: number; kind: "settle"; deadlineMs: number }
  | { id: number; kind: "shut"; drainMs: number; heir: MemberName; deadlineMs: number }
  | { id: number; kind: "ask-upstream"; upstream: Upstream; deadlineMs: number }
  | { id: number; kind: "fetch-tail"; from: Peer; epoch: Epoch; until: LogPoint; deadlineMs: number }
  | { id: number; kind: "rebuild"; upstream: Upstream; fork: LogPoint; deadlineMs: number }
  /** Have every part of the running server go by this set. Goes on beside whatever else is under way. */
  | { id: number; kind: "sync"; set: SyncSet; deadlineMs: number }
  | { id: number; kind: "promote"; timeline: number; needsDoor: boolean; deadlineMs: number }
  | { id: number; kind: "follow"; upstream: Upstream; deadlineMs: number };

/** A task under way and the command it answers, if any. */
export interface Running {
  id: number;
  kind: TaskKind;
  command: { id: string; op: number } | null;
}

/** A command that waits for the task under way, with the lease that came with it. */
export interface Queued {
  command: Command;
  lease: HeldLease | null;
}

/** The switch door is shut: clients are sent home while replication goes on. It opens by itself after `forMs`. */
export interface Shut {
  base: Clocks;
  forMs: number;
}

export type MemberPhase =
  | { kind: "observing" }
  /** Read-only or down; every epoch attempted so far is released. */
  | { kind: "closed"; running: Running | null; queued: Queued | null }
  | { kind: "opening"; epoch: Epoch; running: Running }
  | { kind: "open"; epoch: Epoch; running: Running | null; shut: Shut | null }
  /** Being made unable to write; `releases` is the epoch vouched for when that is certain. */
  | { kind: "fencing"; releases: Epoch; cause: ReleaseCause; running: Running; restart: boolean; isGentle: boolean };

export interface MemberLive {
  bootId: string;
  /** Where this process's state lies, under this boot; null when that is not told. */
  place: string | null;
  fenceMs: number;
  endpoint: Endpoint;
  view: ServerView;
  /** Since when the server has not answered; null while it does. */
  unresponsiveSince: Clocks | null;
  results: CommandResult[];
  nextTaskId: number;
  /** The newest poll that was answered; older replies are dropped. */
  answeredSeq: number;
  nonce: string | null;
  nonceClocks: Clocks | null;
  /** The newest nonce when the look began that has brought `view`; null before the first reply. */
  lookedAfter: string | null;
  nextPollMs: number;
  /** The freeze that was carried out in this process and not thawed; what `durable` asks for, done. */
  frozenOp: number | null;
  /** The sync set that the running server was seen to go by, and the task that is bringing it there. */
  sync: { applied: number; taskId: number | null };
  /** Whether the data directory was damaged already when the rebuild under way began. */
  wasDamaged: boolean;
  /** When the newest poll that was answered was sent, or this process began. */
  answered: Clocks | null;
  /** When promises were asked for last. */
  asked: Clocks | null;
  /** Who has promised for the epoch, each with the sending of the newest request so answered. */
  promised: { epoch: Epoch; by: Record<MemberName, Clocks> };
  leaseDoor: LeaseDoor;
}

export interface MemberState {
  durable: MemberDurable;
  phase: MemberPhase;
  live: MemberLive;
}

/** Every event carries the three clocks, read when it is handed in. */
export type MemberEvent =
  /** A task ended; the shell has observed the server after it and handed that in first. */
  | {
      kind: "finished";
      clocks: Clocks;
      taskId: number;
      /** The value is what a task found out or counted; a rebuild's is the name of the new data incarnation. */
      outcome: { ok: true; value?: string; detail?: string } | { ok: false; code: string; detail: string };
    }
  /** `after` is the newest nonce when the look began. */
  | { kind: "observed"; clocks: Clocks; view: ServerView; after: string | null }
  /** The answer to poll `seq`, which was sent at `sent`. */
  | { kind: "replied"; clocks: Clocks; sent: Clocks; reply: Reply }
  /** A peer wants a promise; the answer to it carries the same `id`. */
  | { kind: "asked-to-promise"; clocks: Clocks; id: number; request: PromiseRequest }
  /** A member has promised, in answer to a request that was sent at `sent`. */
  | { kind: "promised"; clocks: Clocks; sent: Clocks; by: MemberName; epoch: Epoch }
  /** The kernel has done, or refused, what the door effect `id` asked for. */
  | {
      kind: "door-set";
      clocks: Clocks;
      id: number;
      outcome: { ok: true } | { ok: false; code: string; detail: string };
    }
  | { kind: "tick"; clocks: Clocks };

export type MemberEffect =
  | { kind: "run"; task: Task }
  /** Has the kernel let traffic pass as wished; its end comes back as `door-set` with the same id. */
  | { kind: "door"; id: number; wish: DoorWish }
  /** `concernsOthers`: once the coordinator has heard it, there may be something for the other hosts to fetch. */
  | { kind: "poll"; concernsOthers: boolean }
  /** Ask each of these members for a promise, at once. */
  | { kind: "ask-promises"; of: MemberName[]; request: PromiseRequest }
  /** The answer to a peer: null is the promise. */
  | { kind: "answer-promise"; id: number; refusal: PromiseRefusal | null };

/** Why something changed on the host: for its log and for tests. */
export type MemberReason =
  | { kind: "started"; phase: MemberPhase["kind"] }
  | { kind: "founded" }
  | { kind: "command-taken"; command: Command["kind"]; id: string }
  | { kind: "command-refused"; command: Command["kind"]; id: string; code: RefusalCode }
  | { kind: "opening"; epoch: Epoch }
  | { kind: "opened"; epoch: Epoch }
  | { kind: "lease-extended"; epoch: Epoch }
  /** The whole electorate has promised: the right to write goes on without the coordinator. */
  | { kind: "promises-held"; epoch: Epoch; by: MemberName[] }
  | { kind: "promise-given"; holder: MemberName; epoch: Epoch }
  | { kind: "promise-refused"; holder: MemberName; epoch: Epoch; code: PromiseRefusal }
  | { kind: "fencing"; releases: Epoch; cause: ReleaseCause }
  /** The log ends at `has` and was seen to reach `had`: the data directory is an older copy. */
  | { kind: "log-lost"; had: Position; has: Position }
  | { kind: "fence-failed"; code: string; detail: string }
  | { kind: "released"; epoch: Epoch; cause: ReleaseCause }
  | { kind: "task-ended"; task: TaskKind; ok: boolean; code: string }
  | { kind: "door-opened" }
  | { kind: "lease-door"; stands: DoorWish["kind"] }
  | { kind: "lease-door-failed"; code: string; detail: string }
  | { kind: "late-reply-dropped"; answersSeq: number };

export type RefusalCode =
  | "operation-superseded"
  | "epoch-superseded"
  | "already-attempted"
  | "no-lease"
  | "no-door"
  | "server-down"
  | "server-writable"
  | "wrong-phase"
  | "damaged"
  | "policy"
  | "promised"
  | "not-founded";

/** Why a member does not promise. */
export type PromiseRefusal =
  | "not-founded"
  /** Its state was started elsewhere and no coordinator has answered it there: it may be a copy of the giver that is meant. */
  | "maybe-a-copy"
  | "own-request"
  | "epoch-superseded"
  | "promotion-under-way"
  | "frozen-for-a-successor";

/**
 * What one step yields. The shell writes `durable` when it is another object than before (with fsync when `fsync` is
 * set), and only then performs the effects, in order.
 */
export interface MemberStep {
  state: MemberState;
  fsync: boolean;
  effects: MemberEffect[];
  reasons: MemberReason[];
}

/** A server of which nothing has been seen, or a host that carries none. */
export const UNSEEN: ServerView = {
  report: { state: "stopped" },
  engineVersion: "",
  systemId: null,
  position: null,
  isWhole: false,
  applied: null,
  latencyMs: null,
  receiver: { streaming: false, configured: null },
  shutdownLsn: null,
  tail: null,
};

/** The door of an agent that has none, and whose kernel knows of none. */
export const NO_LEASE_DOOR: LeaseDoor = {
  isAble: false,
  isRequired: false,
  asked: { kind: "none" },
  askedId: 0,
  stands: { kind: "none" },
};

/** What a process begins with: what it was told, and nothing heard or done yet. */
export function freshLive(
  told: Pick<MemberLive, "bootId" | "fenceMs" | "endpoint" | "view" | "nextPollMs"> & { place?: string },
): MemberLive {
  return {
    ...told,
    place: told.place ?? null,
    leaseDoor: NO_LEASE_DOOR,
    unresponsiveSince: null,
    results: [],
    nextTaskId: 1,
    answeredSeq: 0,
    nonce: null,
    nonceClocks: null,
    lookedAfter: null,
    frozenOp: null,
    sync: NO_SYNC,
    wasDamaged: false,
    answered: null,
    asked: null,
    promised: { epoch: 0, by: {} },
  };
}

/** Nothing was seen of this life of the server yet. */
export const NO_SYNC: MemberLive["sync"] = { applied: 0, taskId: null };

/** What an agent begins with when it has no state file yet. */
export function freshDurable(
  names: { dataservice: DataserviceName; host: HostName },
  incarnation: string,
): MemberDurable {
  return {
    ...names,
    startCount: 0,
    incarnation,
    place: null,
    systemId: null,
    founded: false,
    epochSeen: 0,
    opSeen: 0,
    attempted: 0,
    opened: 0,
    ownEpoch: 0,
    isDamaged: false,
    released: 0,
    releaseCause: "none",
    version: 0,
    mac: "",
    policy: "automatic",
    policyVersion: 0,
    electorate: { version: 0, members: [] },
    syncSet: { version: 0, k: 0, members: [] },
    frozenOp: null,
    frozenEpoch: null,
    upstream: null,
    lease: null,
    promiseBindsMs: 0,
    promise: null,
    furthest: null,
  };
}

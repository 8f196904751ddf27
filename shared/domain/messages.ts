/**
 * What an agent tells the coordinator and what the coordinator answers, as the two machines see it. The wire schemas in
 * `protocol/` describe the same shapes and are checked against these types by the compiler.
 *
 * Every time in a reply is a duration that the agent counts from the moment it sent the poll: no instant of one clock
 * is ever compared with another host's.
 */
import type { Clocks } from "./clocks.ts";
import type { Policy } from "./datasource.ts";
import type { DataserviceName, HostName, MemberName } from "./names.ts";
import type { Lsn, Position } from "./position.ts";
import type { Epoch, ProofKind } from "./reign.ts";

/** Where clients and replicas reach a server. */
export interface Endpoint {
  host: string;
  port: number;
}

export interface Upstream extends Endpoint {
  member: MemberName;
}

/** The server as its agent sees it. */
export type ServerReport =
  | { state: "stopped" }
  | { state: "starting" }
  | { state: "unresponsive" }
  /** `inRecovery`: read-only and able to replicate. `writable`: accepts a client's writes at this moment. */
  | { state: "running"; inRecovery: boolean; writable: boolean };

/** The server's own replication. */
export type Receiver =
  /** Receiving from `upstream`. */
  | { state: "streaming"; upstream: MemberName | null }
  /** Told to follow `upstream`, not receiving now; what it had received is final until it streams again. */
  | { state: "ended"; upstream: MemberName | null }
  /** Stopped durably by the freeze of operation `op`. */
  | { state: "frozen"; op: number }
  /** Follows nobody. */
  | { state: "none" };

/**
 * Where the member's machine stands: `observing` is not founded yet; `closed` is read-only or down; `opening`, `open`
 * and `fencing` belong to an epoch.
 */
export type MemberPhase = "observing" | "closed" | "opening" | "open" | "fencing";

/** Why the last reign of a member ended, as its own agent saw it. */
export type ReleaseCause =
  | "server-died"
  | "lease-lost"
  | "commanded"
  | "found-in-recovery"
  | "promotion-failed"
  | "unexpectedly-writable"
  /** The open server's log is shorter than it was: its data directory is an older copy. */
  | "log-lost"
  | "none";

export interface CommandResult {
  id: string;
  op: number;
  outcome: "accepted" | "done" | "failed" | "refused";
  /** A stable word for a failure or refusal; empty otherwise. */
  code: string;
  /** What was found out or counted, in a word the sender of the command understands; empty otherwise. */
  value: string;
  /** For people; nothing is decided upon it. */
  detail: string;
}

/** The connector that an agent runs. */
export interface ConnectorReport {
  pid: number;
  state: "online" | "offline" | "on-hold";
  /** Connections accepted since the connector started, and open now. */
  created: number;
  active: number;
  /** The same by the member that served them. */
  targets: { member: MemberName; created: number; active: number }[];
}

/** How much of a command's result is told, in characters. */
export const MOST_TOLD = { value: 200, detail: 2_000 } as const;

/** A promise that a member has given and that still runs (SPEC: ALONE-4). */
export interface PromiseReport {
  holder: MemberName;
  epoch: Epoch;
  remainingMs: number;
}

/**
 * Who must acknowledge a commit before its client hears of it: `k` of `members`. Versions of a dataservice only grow, and
 * none is used twice. `k` 0 asks nobody: asynchronous.
 */
export interface SyncSet {
  version: number;
  k: number;
  members: MemberName[];
}

/** What a holder that hears no coordinator asks of the members of its electorate. */
export interface PromiseRequest {
  holder: MemberName;
  epoch: Epoch;
  /** How long the giver is bound, counted from when it hears of it. */
  bindsMs: number;
}

export interface MemberServerReport {
  phase: MemberPhase;
  endpoint: Endpoint;
  engine: "postgres";
  engineVersion: string;
  systemId: string | null;
  report: ServerReport;
  /** The newest known position; null before the server has answered once. */
  position: Position | null;
  /** Whether the position is the end of all that the data directory holds: nothing in it is left to be read. */
  isWhole: boolean;
  /** The furthest place that this data directory was seen to reach, as its agent keeps it; null while nothing is known. */
  furthest: Position | null;
  /** How much of the position is applied, as a display number. */
  applied: number | null;
  /** Display only: how old the newest applied change is; 0 when all that was received is applied. */
  latencyMs: number | null;
  receiver: Receiver;
  /**
   * The nonce that was the newest when this look at the server began; null before the first, and of an agent of an earlier
   * version. What was seen is not older than that nonce.
   */
  lookedAfter: string | null;
  /**
   * Where the last shutdown checkpoint of a server that was stopped in good order begins: all that its clients wrote lies
   * before it. Null while the server runs, and after a crash.
   */
  shutdownLsn: Lsn | null;
  /**
   * Where the log of a server that died ends, read from its files: `position` then says the same. Null while the server
   * runs, after a stop in good order, and where the log could not be read.
   */
  tail: LogPoint | null;
  /** The switch door: shut, it lets no client in and sends those inside home, while replication goes on. */
  door: "open" | "shut";
  /** A rebuild of the data directory was begun and not finished: nothing in it can be trusted. */
  isDamaged: boolean;
  /** The set that every part of the running server goes by, seen to be so in this life of it; null when none was. */
  sync: SyncSet | null;
}

export interface Poll {
  protocol: number;
  dataservice: DataserviceName;
  host: HostName;
  /** How often this agent has started; fsynced before the first poll of a start. */
  startCount: number;
  /** Grows with every poll of a start. */
  seq: number;
  /** The nonce of the newest reply received, and the clocks when it was received; null before the first. */
  nonce: string | null;
  nonceClocks: Clocks | null;
  /** Read when the poll is sent. */
  clocks: Clocks;
  epochSeen: Epoch;
  opSeen: number;
  /** The highest epoch this member has set out to open its server in. */
  attempted: Epoch;
  /** The last epoch in which this member's log may hold writes of its own; 0 when it holds none, as after a rebuild. */
  ownEpoch: Epoch;
  /** The highest epoch this member vouches never to write in again. */
  released: Epoch;
  releaseCause: ReleaseCause;
  version: number;
  mac: string;
  incarnation: string;
  /**
   * The boot of the kernel that this agent runs under and the directory that its state lies in: a copy of that state, started
   * elsewhere, says another. Null of an agent of an earlier version.
   */
  place: string | null;
  /** How long this agent may need to fence. */
  fenceMs: number;
  /** Whether the kernel ends this agent's right to write with its lease: then no time for a fence is needed. */
  hasLeaseDoor: boolean;
  electorateVersion: number;
  policyVersion: number;
  /** The version of the newest sync set that this member was told. */
  syncSeen: number;
  /** What is left of the lease; null when none is held. */
  leaseRemainingMs: number | null;
  /** The member's server; null on a host that carries only a connector. */
  server: MemberServerReport | null;
  connector: ConnectorReport | null;
  /** Where this agent's peer channel listens; null when it has none. */
  peer: Endpoint | null;
  results: CommandResult[];
  promises: PromiseReport[];
}

/** `id` names one command for ever; `deadlineMs` counts from the sending of the poll that brought it. */
interface CommandHead {
  id: string;
  op: number;
  epoch: Epoch;
  deadlineMs: number;
}

/** What the coordinator may ask of a member. */
export type Command =
  /** Found this member as the primary of a server that is serving already: nobody's session notices. */
  | ({ kind: "adopt" } & CommandHead)
  /**
   * Open the server in `epoch`; always together with its lease. The log goes on under the number `timeline`, or a
   * higher one: no earlier epoch can have used it.
   */
  | ({ kind: "promote"; proof: ProofKind; timeline: number } & CommandHead)
  /** Stream from `upstream`; thaws a freeze of this or an earlier operation. */
  | ({ kind: "follow"; upstream: Upstream } & CommandHead)
  /** Stop receiving, durably, and report the final position. */
  | ({ kind: "freeze"; proof: ProofKind } & CommandHead)
  /**
   * Make the server unable to write, for certain, and report `released`. The orderly stop may take `patienceMs`, though
   * never longer than the lease runs, before it is hurried.
   */
  | ({ kind: "fence"; patienceMs: number } & CommandHead)
  /** Write a checkpoint while the clients go on, so that the stop that follows is short. */
  | ({ kind: "prepare" } & CommandHead)
  /**
   * Shut the switch door: nobody comes in; idle sessions end at once, those in a transaction when it ends or after
   * `drainMs`. Done when no session is left; its value says how many were ended, and whether the stream of `heir` has
   * confirmed all that they wrote (`shared/domain/shut.ts`). The door opens by itself at the deadline.
   */
  | ({ kind: "shut"; drainMs: number; heir: MemberName } & CommandHead)
  /** Open the switch door again. */
  | ({ kind: "reopen" } & CommandHead)
  /** Ask `upstream` whether it accepts writes. The value is `writable`, `read-only` or `no-answer`. */
  | ({ kind: "ask-upstream"; upstream: Upstream } & CommandHead)
  /**
   * Give up what this server's log holds beyond `fork` and lay the data directory out anew after `upstream`, as the
   * agent's configuration allows; the log that is given up is kept aside first. Leaves the server stopped.
   */
  | ({ kind: "rebuild"; upstream: Upstream; fork: LogPoint } & CommandHead)
  /**
   * Take what the dead server of `from` holds beyond this one's log, up to `until`, from its agent; its epoch is the
   * command's. Done when it is replayed; the value is how many bytes it was.
   */
  | ({ kind: "fetch-tail"; from: Peer; until: LogPoint } & CommandHead)
  /** Start a stopped server, read-only. */
  | ({ kind: "start" } & CommandHead);

/** The right to write in `epoch`, counted from the sending of the poll that brought it. */
export interface Lease {
  epoch: Epoch;
  ttlMs: number;
  /** Whether it is granted to a holder with a kernel door, and no time for a fence is waited when it ends. */
  hasLeaseDoor: boolean;
  /** Who may be promoted; versioned. */
  electorateVersion: number;
  electorate: MemberName[];
  /** How long a promise to its holder binds the one who gives it: the whole wait for this lease's end. */
  promiseBindsMs: number;
}

/** A place in a log. */
export interface LogPoint {
  timeline: number;
  lsn: Lsn;
}

/** Where a connector sends traffic, proved for `validMs` counted from the sending of the poll. */
export type Route =
  /** While `hold` is set, sessions go on and new connections wait. */
  | { service: "read-write"; epoch: Epoch; target: Upstream | null; hold: boolean; validMs: number }
  /** The replicas that may be read from; their newest applied change is not older than `maxLatencyMs`. */
  | { service: "read-only"; epoch: Epoch; targets: Upstream[]; maxLatencyMs: number; validMs: number };

/** What a connector that hears no coordinator asks of a replica: whether it may be read from under this primary's reign. */
export interface ReaderQuestion {
  primary: MemberName;
  epoch: Epoch;
  maxLatencyMs: number;
}

/** Another agent of the dataservice. */
export interface Peer {
  host: HostName;
  endpoint: Endpoint;
}

export interface Reply {
  protocol: number;
  /** The poll this answers. */
  answersSeq: number;
  nonce: string;
  version: number;
  mac: string;
  nextPollMs: number;
  policy: Policy;
  policyVersion: number;
  /** Present when this reply grants or extends; null says nothing about time. */
  lease: Lease | null;
  /** The one authoritative refusal: this epoch is over for its holder. */
  leaseEnded: { epoch: Epoch; mac: string } | null;
  commands: Command[];
  /** What this member's server is to go by, now or once it is the primary; null where nothing is asked of it. */
  sync: SyncSet | null;
  routes: Route[];
  /** Whom this host is to nudge if its poll has brought news: for them something waits, or they are waited for. */
  call: HostName[];
  /** The other agents that can be spoken to, and the key that all of them share for it. */
  peers: Peer[];
  peerKey: string;
}

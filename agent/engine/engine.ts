/**
 * The port between an agent and one database server. An engine carries out; it decides nothing about the cluster.
 * Every method settles within its deadline and none rejects: an expected failure is a value with a stable code.
 */
import type { ServerView } from "#shared/core/member/state.ts";
import type { Endpoint, LogPoint, SyncSet } from "#shared/domain/messages.ts";
import type { Lsn } from "#shared/domain/position.ts";

/** What the engine can see of its server at one moment: the member's machine takes it in as it is. */
export type Observation = ServerView;

/** Something happened that is worth an observation at once. */
export type EngineHint =
  /** The server's process ended, or its connection to us did. */
  | "server-lost"
  /** The stream from the upstream ended, or our own watch on the upstream did. */
  | "upstream-lost";

export type EngineOutcome =
  /** `value`: what was counted or found out, for the coordinator; `detail`: for people. */
  | { ok: true; value?: string; detail?: string }
  /** `code`: a stable lower-case-and-dashes word; `detail`: for people. */
  | { ok: false; code: string; detail: string };

/** One line of `rex agent --check`. */
export interface EngineCheck {
  name: string;
  ok: boolean;
  /** What was found; when not ok, what to do about it. */
  detail: string;
}

/** A piece of a log. */
export interface TailRange {
  timeline: number;
  from: Lsn;
  bytes: number;
  /** How long it is waited for. */
  withinMs: number;
}

export interface ShutTask {
  drainMs: number;
  /** Whose stream is watched for a moment, by its application_name: it may soon have everything. */
  heir: string;
  deadlineMs: number;
}

/** What must be so before a server is opened, and takes its time: everything else is made ready meanwhile. */
export type MayOpen = () => Promise<EngineOutcome>;

export interface Engine {
  /** Where clients and replicas reach this server. */
  readonly endpoint: Endpoint;
  /** Looks at the server. Answers within the probe timeout: a server that does not is `unresponsive`. One probe at a time. */
  observe(): Promise<Observation>;
  /** Calls `listener` on every hint, until `close`. */
  onHint(listener: (hint: EngineHint) => void): void;
  /** Starts a stopped server read-only; ok when it accepts connections in recovery. A running read-only server is fine. */
  start(deadlineMs: number): Promise<EngineOutcome>;
  /** Takes over a server that serves as primary: read-only at its next start; no session notices. */
  adopt(deadlineMs: number): Promise<EngineOutcome>;
  /**
   * Opens a read-only server, its log going on under the number `timeline` or a higher one; ok when it accepts writes
   * and would start read-only again. `mayOpen` is asked last of all: what it refuses is not done.
   */
  promote(timeline: number, deadlineMs: number, mayOpen?: MayOpen): Promise<EngineOutcome>;
  /** Streams from `upstream`, durably; ok when configured and asked to (not: when streaming). */
  follow(upstream: Endpoint, deadlineMs: number): Promise<EngineOutcome>;
  /** Stops receiving, durably; ok when the receiver is down and stays down, also across a restart. */
  freeze(deadlineMs: number): Promise<EngineOutcome>;
  /**
   * Makes the server unable to write, for certain: fast stop, immediate stop, SIGKILL. ok only when no process of the
   * server's tree is left, found by their working directory, not by parentage; zombies do not count.
   */
  fence(limits: { fastMs: number; killMs: number; deadlineMs: number }): Promise<EngineOutcome>;
  /**
   * Waits until nothing of the server's former life can write any more, and leaves a server alone that somebody has
   * started anew: ok when no process is left, or none but those of a postmaster that is in recovery. Orphans of a dead
   * postmaster are killed.
   */
  settle(deadlineMs: number): Promise<EngineOutcome>;
  /** Writes a checkpoint while clients go on, so that an orderly stop soon after is short. */
  prepareStop(deadlineMs: number): Promise<EngineOutcome>;
  /**
   * Shuts the switch door: whoever connects is sent home, idle sessions end at once, those in a transaction when it ends
   * or after `drainMs`; replication goes on. ok when no client session is left; the value is a `shutValue`. The
   * door stays shut until `reopen`, the server's end, or `deadlineMs`, when it opens by itself. It never outlives this
   * process. Fails with `sessions-left`, and the door is open again then.
   */
  shut(task: ShutTask): Promise<EngineOutcome>;
  /** Opens the switch door. An open one is fine. */
  reopen(deadlineMs: number): Promise<EngineOutcome>;
  /** Asks another server whether it accepts writes: the value is `writable`, `read-only` or `no-answer`. */
  askUpstream(upstream: Endpoint, deadlineMs: number): Promise<EngineOutcome>;
  /**
   * Lays the data directory out anew after `upstream`, by pg_rewind or the configured clone command; what the server's
   * own log holds beyond `fork` is kept aside first. Leaves the server stopped, read-only at its next start, its
   * configuration ours. Fails with `rebuild-not-allowed`, `rewind-not-possible`, `rewind-failed`, `clone-failed`,
   * `log-not-kept`, `clone-stuck` (the clone was put in place, does not serve, and could not be taken out again); nothing was changed when it was not allowed or the log could not be kept.
   */
  rebuild(upstream: Endpoint, fork: LogPoint, deadlineMs: number): Promise<EngineOutcome>;
  /**
   * Has every part of the running server wait for `set.k` of `set.members` before it acknowledges a commit, durably; ok
   * when no part of it goes by another set any more. Goes on beside whatever else is under way; a newer call overtakes an
   * older one, which then fails with `superseded`.
   */
  sync(set: SyncSet, deadlineMs: number): Promise<EngineOutcome>;
  /** The log as it lies in a dead server's files; shorter where it ends. Rejects when it cannot be read. */
  readTail(range: Omit<TailRange, "withinMs">): Promise<Buffer>;
  /**
   * Gives a standby that receives nothing what a dead primary's log holds beyond its own, up to `until`, piece by piece
   * from `fetch`. ok when it is replayed; the value is how many bytes it was. Whatever it fails with, the standby is at a
   * place of the same log, and may be promoted there.
   */
  takeTail(until: LogPoint, fetch: (range: TailRange) => Promise<Buffer>, deadlineMs: number): Promise<EngineOutcome>;
  /** Looks at the server and its configuration without changing anything. */
  check(): Promise<EngineCheck[]>;
  /** Lets go of connections, watches and timers. The server goes on. */
  close(): Promise<void>;
}

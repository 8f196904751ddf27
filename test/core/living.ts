/**
 * A dataservice that lives: its agents poll, obey at once and report what came of it, its replicas receive what their
 * source holds, and its connector holds when it is told to. A test says what goes wrong.
 */
import { freshLive } from "#shared/core/cluster/state.ts";
import type { Command, CommandResult, MemberServerReport, Poll } from "#shared/domain/messages.ts";
import { lsnBytes, type Lsn, type Position } from "#shared/domain/position.ts";
import { IN_RECOVERY, pass, poll, ROUTER, send, STOPPED, WRITABLE, type Cluster, type PollPatch } from "./builders.ts";

const TURN_MS = 50;

export interface Misfortune {
  /** Whose agents say nothing. */
  silent?: readonly string[];
  /** What a member makes of a command otherwise than a healthy one; undefined leaves it to be healthy. */
  obey?: (host: string, command: Command) => PollPatch | undefined;
  /** The connector goes on letting everybody in. */
  neverHolds?: boolean;
}

/** Lets `ms` go by. */
export function live(cluster: Cluster, ms: number, misfortune: Misfortune = {}): void {
  const endMs = cluster.atMs + ms;
  while (cluster.atMs < endMs) turn(cluster, misfortune);
}

/** Lets time go by until `isSo`; fails when it is not so within a minute and a half. */
export function liveUntil(cluster: Cluster, isSo: () => boolean, misfortune: Misfortune = {}): void {
  const endMs = cluster.atMs + 90_000;
  while (!isSo()) {
    if (cluster.atMs >= endMs) throw new Error(`it never came to that: ${JSON.stringify(cluster.state.durable.phase)}`);
    turn(cluster, misfortune);
  }
}

/** The coordinator's process is another one: what it had only in memory is gone. */
export function restartCoordinator(cluster: Cluster): void {
  cluster.state = { ...cluster.state, live: freshLive(cluster.state.live.generation + 1, cluster.atMs) };
  cluster.atMs = 0;
}

/** What a member says that could not do as it was told. */
export function failing({ id, op }: Command, code = "engine-failed"): PollPatch {
  return { results: [{ id, op, outcome: "failed", code, value: "", detail: "" }] };
}

/** Merges a patch into what a host says with its next poll. */
export function say(cluster: Cluster, host: string, { server, ...head }: PollPatch): void {
  const last = pollOf(cluster, host);
  cluster.polls[host] = { ...last, ...head, server: last.server && { ...last.server, ...server } };
}

/** The server of a member as its agent reports it. */
export function serverOf(cluster: Cluster, host: string): MemberServerReport {
  const { server } = pollOf(cluster, host);
  if (!server) throw new Error(`no server on ${host}`);
  return server;
}

/** The server's process is gone, and its agent vouches for that with its next poll. */
export function killServer(cluster: Cluster, host: string): void {
  const { attempted, released } = pollOf(cluster, host);
  const wasOpen = attempted > released;
  say(cluster, host, {
    ...(wasOpen ? { released: attempted, releaseCause: "server-died", leaseRemainingMs: null } : {}),
    server: { phase: "closed", report: STOPPED, door: "open", ...(wasOpen ? { receiver: { state: "none" } } : {}) },
  });
}

function pollOf(cluster: Cluster, host: string): Poll {
  const last = cluster.polls[host];
  if (!last) throw new Error(`no host ${host}`);
  return last;
}

function turn(cluster: Cluster, misfortune: Misfortune): void {
  pass(cluster, TURN_MS);
  replicate(cluster);
  send(cluster, { kind: "tick" });
  for (const host of Object.keys(cluster.polls)) {
    if (!misfortune.silent?.includes(host)) speak(cluster, host, misfortune);
  }
}

function speak(cluster: Cluster, host: string, { obey, neverHolds = false }: Misfortune): void {
  const { answer } = poll(cluster, host);
  if (answer.kind !== "reply") return;
  const { commands, policyVersion, routes } = answer.reply;
  say(cluster, host, { policyVersion });
  for (const command of commands) say(cluster, host, obey?.(host, command) ?? obedience(cluster, host, command));
  const readWrite = routes.find((route) => route.service === "read-write");
  const { connector } = pollOf(cluster, host);
  if (host !== ROUTER || !connector || !readWrite) return;
  const isHolding = readWrite.service === "read-write" && readWrite.hold && !neverHolds;
  say(cluster, host, { connector: { ...connector, state: isHolding ? "on-hold" : "online" } });
}

/** A replica has what its source has; when that stops, its stream ends with all of it, until the source is there again. */
function replicate(cluster: Cluster): void {
  for (const [host, { server }] of Object.entries(cluster.polls)) {
    if (server?.receiver.state !== "streaming" && server?.receiver.state !== "ended") continue;
    const { state, upstream } = server.receiver;
    if (upstream === null || server.report.state !== "running") continue;
    const { report, position } = serverOf(cluster, upstream);
    const applied = position && Number(lsnBytes(position.lsn));
    const now = report.state === "running" ? "streaming" : "ended";
    if (state === "ended" && now === "ended") continue;
    say(cluster, host, { server: { position, applied, receiver: { state: now, upstream } } });
  }
}

function done({ id, op }: Command, value = ""): { results: CommandResult[] } {
  return { results: [{ id, op, outcome: "done", code: "", value, detail: "" }] };
}

function obedience(cluster: Cluster, host: string, command: Command): PollPatch {
  const { position } = serverOf(cluster, host);
  switch (command.kind) {
    case "adopt":
    case "promote":
      return {
        ...done(command),
        attempted: command.epoch,
        ownEpoch: command.epoch,
        server: {
          phase: "open",
          report: WRITABLE,
          receiver: { state: "none" },
          position: command.kind === "promote" ? promoted(position, command.timeline) : position,
        },
      };
    case "fence":
      return { ...done(command), ...fenced(cluster, host) };
    case "start":
      return { ...done(command), server: { report: IN_RECOVERY, shutdownLsn: null } };
    case "freeze":
      return { ...done(command), server: { phase: "closed", receiver: { state: "frozen", op: command.op } } };
    case "follow":
      return {
        ...done(command),
        server: { phase: "closed", receiver: { state: "streaming", upstream: command.upstream.member } },
      };
    case "prepare":
      return done(command);
    case "shut":
      return { ...done(command, "2"), server: { door: "shut" } };
    case "reopen":
      return { ...done(command), server: { door: "open" } };
    case "ask-upstream":
      return done(command, "read-only");
    case "fetch-tail": {
      const lsn = command.until.lsn;
      return { ...done(command, "96"), server: { position: position && { ...position, lsn } } };
    }
    case "rebuild":
      return {
        ...done(command),
        ownEpoch: 0,
        incarnation: `${pollOf(cluster, host).incarnation}-rebuilt`,
        server: {
          report: STOPPED,
          isDamaged: false,
          position: serverOf(cluster, command.upstream.member).position,
          receiver: { state: "none" },
        },
      };
  }
}

/** Stopped in good order: its last word is the record of its shutdown. */
function fenced(cluster: Cluster, host: string): PollPatch {
  const { attempted } = pollOf(cluster, host);
  const { position } = serverOf(cluster, host);
  return {
    released: attempted,
    releaseCause: "commanded",
    leaseRemainingMs: null,
    server: {
      phase: "closed",
      report: STOPPED,
      door: "open",
      receiver: { state: "none" },
      shutdownLsn: position && position.lsn,
      position: position && { ...position, lsn: further(position.lsn, 0x80) },
    },
  };
}

/** The same log under a number of its own, a little further. */
function promoted(position: Position | null, timeline: number): Position | null {
  if (!position) return null;
  const history = [...position.history, { timeline: position.timeline, endLsn: position.lsn }];
  return { ...position, timeline, history, lsn: further(position.lsn, 0x100) };
}

/** An LSN so many bytes on. */
export function further(lsn: Lsn, bytes: number): Lsn {
  const sum = lsnBytes(lsn) + BigInt(bytes);
  return `${(sum >> 32n).toString(16).toUpperCase()}/${(sum & 0xffffffffn).toString(16).toUpperCase()}`;
}

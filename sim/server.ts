/**
 * A simulated PostgreSQL: a process that starts in recovery, a log made of timelines, replication by streaming, clients
 * that write as long as anyone lets them.
 *
 * It behaves as the real one where that is inconvenient: two promotions from one position draw the same timeline
 * number unless one reserves it, a replica compares nothing but those numbers, and a killed server takes the unsent end
 * of its log along.
 */
import type { Endpoint } from "#shared/domain/messages.ts";
import type { Position } from "#shared/domain/position.ts";
import type { ServerView } from "#shared/core/member/state.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

const SYSTEM_ID = "7300000000000000001";
/** The branch that every log begins with. */
export const FIRST_BRANCH = 1;
const RECONNECT_MS = 200;
/** A receiver that hears nothing for this long gives its stream up. */
const RECEIVER_TIMEOUT_MS = 2_500;
const KEEPALIVE_MS = 500;

/** A client's write. `isGuarded`: others had to have it before its client heard of it. */
export interface Write {
  branch: number;
  lsn: number;
  isGuarded: boolean;
}

/** A stretch of log. `branch` is what the numbers cannot say: which promotion wrote it. */
interface Segment {
  branch: number;
  timeline: number;
  from: number;
}

/** What a copy of a data directory holds of its log. */
export interface LogCopy {
  segments: Segment[];
  endLsn: number;
  position: Position;
}

type Process =
  | { kind: "stopped" }
  | { kind: "starting"; life: number }
  | { kind: "running"; life: number; inRecovery: boolean };

interface Stream {
  upstream: Server;
  heardAtMs: number;
}

export interface ServerPorts {
  world: World;
  network: Network;
  random: Random;
  /** Whether the end of a dead server's log can be read. */
  readsTails: boolean;
  /** How long what is written may be on its way to a replica. */
  streamsTakeMs: number;
  /** Branch numbers, never drawn twice. */
  nextBranch: () => number;
  serverAt: (endpoint: Endpoint) => Server | null;
  /** The process or its stream ended, or it began to accept or refuse writes. */
  onChange: (server: Server) => void;
  /** Whether a door in the kernel keeps everything from its port. */
  isCutOff: (server: Server) => boolean;
  /** A stream begins. */
  onConnect: (replica: Server, upstream: Server) => void;
  /** A client hears that its write is done. */
  onAcknowledge: (server: Server, write: Write) => void;
}

export class Server {
  readonly name: string;
  readonly endpoint: Endpoint;
  process: Process;
  segments: Segment[] = [{ branch: FIRST_BRANCH, timeline: 1, from: 0 }];
  endLsn = 0x3000060;
  conninfo: Endpoint | null = null;
  /** Whether a start ends in recovery; only a server that was never managed lacks it. */
  standbySignal: boolean;
  isHung = false;
  isAsleep = false;
  /** Clients are sent home; now and then one gets a word in all the same. */
  isDoorShut = false;
  /** Where the shutdown checkpoint of the last orderly stop begins; null after any other end, and while it runs. */
  shutdownLsn: number | null = null;
  /** Whom a commit waits for; kept in the data directory. */
  syncNames: { k: number; members: readonly string[] } = { k: 0, members: [] };
  /** The numbers of the acknowledged writes and where each ended; of this server's own clients. */
  readonly acknowledged: Write[] = [];
  stream: Stream | null = null;
  readonly #ports: ServerPorts;
  readonly #followers = new Set<Server>();
  /** Writes whose clients wait for others, and how far those others have said to have come. */
  #waiting: Write[] = [];
  #flushed = new Map<string, number>();
  #lives = 1;
  #position: Position | null = null;
  #lastView: ServerView | null = null;
  #isConnecting = false;

  constructor(
    ports: ServerPorts,
    name: string,
    options: { endpoint: Endpoint; inRecovery: boolean; standbySignal: boolean },
  ) {
    this.#ports = ports;
    this.name = name;
    this.endpoint = options.endpoint;
    this.standbySignal = options.standbySignal;
    this.process = { kind: "running", life: 1, inRecovery: options.inRecovery };
    this.#writeSoon();
  }

  /** Whether a client's write would be acknowledged at this moment. */
  get accepts(): boolean {
    const isAwake = !this.isHung && !this.isAsleep;
    return this.process.kind === "running" && !this.process.inRecovery && isAwake && !this.isCutOff;
  }

  /** Whether nobody reaches its port. */
  get isCutOff(): boolean {
    return this.#ports.isCutOff(this);
  }

  /** Something outside the process has changed what reaches it. */
  lookAgain(): void {
    this.#changed();
  }

  /** Which of its lives the process is in; null while it is stopped. */
  get life(): number | null {
    return this.process.kind === "stopped" ? null : this.process.life;
  }

  get timeline(): number {
    return this.#newest.timeline;
  }

  get #newest(): Segment {
    return this.segments.at(-1) as Segment;
  }

  get position(): Position {
    this.#position ??= {
      engine: "postgres",
      systemId: SYSTEM_ID,
      timeline: this.timeline,
      lsn: lsnText(this.endLsn),
      history: this.segments.slice(0, -1).flatMap(({ timeline }, index) => {
        const next = this.segments[index + 1] as Segment;
        // What a copied server writes by itself is of another branch, and the numbers do not say so.
        return next.timeline === timeline ? [] : [{ timeline, endLsn: lsnText(next.from) }];
      }),
    };
    return this.#position;
  }

  /** The branch that wrote what lies before `lsn`. */
  branchAt(lsn: number): number {
    return this.segments.findLast((segment) => segment.from < lsn)?.branch ?? FIRST_BRANCH;
  }

  /** What a probe sees. A server that does not answer shows what it last said, except that it receives nothing. */
  view(): ServerView {
    if (this.process.kind === "running" && !this.isHung) {
      this.#lastView = {
        report: { state: "running", inRecovery: this.process.inRecovery, writable: !this.process.inRecovery },
        engineVersion: "18.0",
        systemId: SYSTEM_ID,
        position: this.position,
        isWhole: true,
        applied: this.endLsn,
        latencyMs: 0,
        receiver: { streaming: this.stream !== null, configured: this.conninfo },
        shutdownLsn: null,
        tail: null,
      };
      return this.#lastView;
    }
    const isDown = this.process.kind === "stopped";
    const endOfStopped = isDown && this.shutdownLsn !== null ? lsnText(this.shutdownLsn) : null;
    const hasTail = isDown && this.shutdownLsn === null && this.#ports.readsTails;
    const state = this.isHung ? "unresponsive" : this.process.kind === "starting" ? "starting" : "stopped";
    return {
      report: { state },
      engineVersion: "18.0",
      systemId: SYSTEM_ID,
      position: hasTail ? this.position : this.#lastPosition(endOfStopped),
      isWhole: hasTail,
      applied: this.#lastView?.applied ?? null,
      latencyMs: null,
      receiver: { streaming: false, configured: this.conninfo },
      shutdownLsn: endOfStopped,
      tail: hasTail ? { timeline: this.timeline, lsn: lsnText(this.endLsn) } : null,
    };
  }

  #lastPosition(endOfStopped: string | null): Position | null {
    return endOfStopped === null ? (this.#lastView?.position ?? null) : { ...this.position, lsn: endOfStopped };
  }

  /** An orderly stop: clients go first, the followers are sent everything, the shutdown checkpoint last of all. */
  stopInOrder(): void {
    if (this.process.kind !== "running" || this.isHung) return this.kill();
    const wasPrimary = !this.process.inRecovery;
    const end = this.endLsn;
    if (wasPrimary) {
      this.#advance(end + 0x78);
      this.#feed();
    }
    this.kill();
    this.shutdownLsn = wasPrimary ? end : null;
  }

  /** A copy of the data directory as it is now: of its log, that is. */
  copyOfLog(): LogCopy {
    return { segments: this.segments, endLsn: this.endLsn, position: this.position };
  }

  /** An older copy is put in the place of the data directory, while the server is down. */
  putBack({ segments, endLsn }: LogCopy): void {
    this.kill();
    this.segments = segments;
    this.shutdownLsn = null;
    this.standbySignal = true;
    this.#advance(endLsn);
  }

  /** The data directory becomes a copy of another server's; the log that was there is gone. */
  becomeCopyOf(source: Server): void {
    this.kill();
    this.segments = source.segments;
    this.syncNames = source.syncNames;
    this.shutdownLsn = null;
    this.conninfo = null;
    this.standbySignal = true;
    this.#lastView = null;
    this.#advance(source.endLsn);
  }

  /** Becomes the image of a machine's disk; with `isRunning` of its memory too: then the server goes on where that one was. */
  becomeImageOf(original: Server, isRunning: boolean): void {
    this.segments = original.segments;
    this.syncNames = original.syncNames;
    this.shutdownLsn = original.shutdownLsn;
    this.conninfo = original.conninfo;
    this.standbySignal = original.standbySignal;
    this.#advance(original.endLsn);
    const { process } = original;
    this.process = isRunning && process.kind === "running" ? { ...process, life: this.#lives } : { kind: "stopped" };
    if (this.process.kind === "running" && !this.process.inRecovery) {
      this.segments = [
        ...this.segments,
        { branch: this.#ports.nextBranch(), timeline: this.timeline, from: this.endLsn },
      ];
    }
    this.#changed();
    this.#connectSoon();
  }

  /**
   * Takes what a dead server's disk holds beyond its own log, or a share of that; returns how many bytes, null when it
   * cannot: the logs differ, or it is not there to take it.
   */
  takeTail(dead: Server, share: number): number | null {
    const isStandby = this.process.kind === "running" && this.process.inRecovery && this.stream === null;
    if (!isStandby || this.isHung || this.timeline !== dead.timeline || !this.isPrefixOf(dead)) return null;
    const bytes = Math.floor((dead.endLsn - this.endLsn) * share);
    this.#advance(this.endLsn + bytes);
    this.#feed();
    return bytes;
  }

  /** Every process of the server is gone at once; so are the streams it fed. */
  kill(): void {
    if (this.process.kind === "stopped") return;
    this.process = { kind: "stopped" };
    this.shutdownLsn = null;
    this.isDoorShut = false;
    this.isHung = false;
    this.stream = null;
    this.#waiting = [];
    this.#flushed = new Map();
    this.#dropFollowers();
    this.#changed();
  }

  /** Starts the process, in recovery if the signal file lies there. A second start of a running server does nothing. */
  start(takesMs: number): void {
    if (this.process.kind !== "stopped") return;
    this.#lives += 1;
    const life = this.#lives;
    this.process = { kind: "starting", life };
    this.#ports.world.after(takesMs, () => {
      if (this.process.kind !== "starting" || this.process.life !== life) return;
      this.process = { kind: "running", life, inRecovery: this.standbySignal };
      this.#changed();
      this.#connectSoon();
    });
  }

  /**
   * Opens the server on a new timeline, numbered above those that it knows of and those that are reserved. False when
   * this life of it is over or not in recovery.
   */
  promote(life: number, reservedTimeline: number): boolean {
    if (this.process.kind !== "running" || this.process.life !== life || !this.process.inRecovery) return false;
    this.stream = null;
    const timeline = Math.max(reservedTimeline, ...this.segments.map((segment) => segment.timeline)) + 1;
    this.segments = [...this.segments, { branch: this.#ports.nextBranch(), timeline, from: this.endLsn }];
    this.process = { ...this.process, inRecovery: false };
    this.#advance(this.endLsn + 0x70);
    this.#changed();
    return true;
  }

  /** Points the receiver elsewhere; null stops it durably. */
  follow(upstream: Endpoint | null): void {
    this.conninfo = upstream;
    this.stream = null;
    this.#connectSoon();
  }

  setHung(isHung: boolean): void {
    if (this.process.kind !== "running" || this.isHung === isHung) return;
    this.isHung = isHung;
    this.#changed();
  }

  setAsleep(isAsleep: boolean): void {
    this.isAsleep = isAsleep;
    this.#changed();
  }

  /** What this server would say to somebody at `from` who asks whether it accepts writes. */
  answerTo(from: string): "writable" | "read-only" | "no-answer" {
    const { network } = this.#ports;
    const isUp = this.process.kind === "running" && !this.isHung && !this.isAsleep && !this.isCutOff;
    if (!isUp || !network.reaches(from, this.name) || !network.reaches(this.name, from)) return "no-answer";
    return this.process.kind === "running" && this.process.inRecovery ? "read-only" : "writable";
  }

  /** The server of an address, as this one reaches it. */
  serverAt(endpoint: Endpoint): Server | null {
    return this.#ports.serverAt(endpoint);
  }

  /** Whether its log and `other`'s agree, byte for byte, as far as this one reaches. */
  isPrefixOf(other: Server): boolean {
    if (this.endLsn > other.endLsn) return false;
    return this.segments.every((segment, index) => {
      const end = this.segments[index + 1]?.from ?? this.endLsn;
      return end <= segment.from || other.branchAt(end) === segment.branch;
    });
  }

  #changed(): void {
    this.#ports.onChange(this);
  }

  #advance(endLsn: number): void {
    this.endLsn = endLsn;
    this.#position = null;
  }

  #writeSoon(): void {
    const { world, random } = this.#ports;
    world.after(random.between(20, 200), () => {
      if (this.accepts && (!this.isDoorShut || random.chance(0.05))) {
        this.#advance(this.endLsn + random.whole(0x40, 0x400));
        this.#waiting.push({ branch: this.#newest.branch, lsn: this.endLsn, isGuarded: false });
        this.#release();
        this.#feed();
      }
      this.#writeSoon();
    });
  }

  #feed(): void {
    for (const replica of this.#followers) this.#send(replica);
  }

  /** Sends all that a replica lacks; only what arrives on the same stream counts. */
  #send(replica: Server): void {
    const { world, network, random } = this.#ports;
    const stream = replica.stream;
    if (stream?.upstream !== this || this.isCutOff || !network.reaches(this.name, replica.name)) return;
    const { segments, endLsn } = this;
    world.after(random.between(0.5, this.#ports.streamsTakeMs), () => replica.#receive(stream, { segments, endLsn }));
  }

  #receive(stream: Stream, sent: { segments: Segment[]; endLsn: number }): void {
    if (this.stream !== stream || this.isHung || this.isAsleep) return;
    stream.heardAtMs = this.#ports.world.nowMs;
    if (sent.endLsn <= this.endLsn) return;
    this.segments = sent.segments;
    this.#advance(sent.endLsn);
    this.#confirm(stream);
    this.#feed();
  }

  /** Says how far this replica has flushed. What is under way when its receiver is stopped may still arrive. */
  #confirm({ upstream }: Stream): void {
    const { world, network, random } = this.#ports;
    const { endLsn } = this;
    const { life } = upstream;
    if (!network.reaches(this.name, upstream.name)) return;
    world.after(random.between(0.5, 8), () => {
      const isDeaf = upstream.isHung || upstream.isAsleep || upstream.isCutOff;
      if (life === null || upstream.life !== life || isDeaf) return;
      upstream.#flushed.set(this.name, Math.max(endLsn, upstream.#flushed.get(this.name) ?? 0));
      upstream.#release();
    });
  }

  /** Whether a replica has said that it has flushed all that there is. */
  isConfirmedBy(name: string): boolean {
    return (this.#flushed.get(name) ?? 0) >= this.endLsn;
  }

  /** Lets the clients go whose writes enough others have. */
  #release(): void {
    const { k, members } = this.syncNames;
    const isDone = ({ lsn }: Write): boolean =>
      members.filter((name) => (this.#flushed.get(name) ?? 0) >= lsn).length >= k;
    while (this.#waiting[0] && isDone(this.#waiting[0])) {
      const write = { ...(this.#waiting.shift() as Write), isGuarded: k > 0 };
      this.acknowledged.push(write);
      this.#ports.onAcknowledge(this, write);
    }
  }

  /** What `synchronous_standby_names` says from now on. */
  waitFor(syncNames: { k: number; members: readonly string[] }): void {
    this.syncNames = syncNames;
    if (this.accepts) this.#release();
  }

  #connectSoon(): void {
    if (this.#isConnecting || !this.#wantsStream) return;
    this.#isConnecting = true;
    const { world, random } = this.#ports;
    world.after(RECONNECT_MS + random.between(0, 300), () => {
      this.#isConnecting = false;
      this.#connect();
    });
  }

  get #wantsStream(): boolean {
    return this.conninfo !== null && this.stream === null && this.process.kind === "running" && this.process.inRecovery;
  }

  #connect(): void {
    if (!this.#wantsStream || !this.conninfo) return;
    const upstream = this.#ports.serverAt(this.conninfo);
    if (!upstream || this.isHung || this.isAsleep || !this.#mayStreamFrom(upstream)) return this.#connectSoon();
    this.stream = { upstream, heardAtMs: this.#ports.world.nowMs };
    upstream.#followers.add(this);
    this.#ports.onConnect(this, upstream);
    upstream.#send(this);
    this.#confirm(this.stream);
    this.#ports.onChange(this);
    this.#watch(this.stream);
  }

  /** The rule of the real server: numbers only. */
  #mayStreamFrom(upstream: Server): boolean {
    const isUp = upstream.process.kind === "running" && !upstream.isHung && !upstream.isAsleep && !upstream.isCutOff;
    const { network } = this.#ports;
    if (!isUp || !network.reaches(this.name, upstream.name) || !network.reaches(upstream.name, this.name)) return false;
    const index = upstream.segments.findLastIndex((segment) => segment.timeline === this.timeline);
    if (index === -1) return false;
    return this.endLsn <= (upstream.segments[index + 1]?.from ?? upstream.endLsn);
  }

  /** Ends the stream when the upstream is gone or has not been heard for too long; sends what was missed meanwhile. */
  #watch(stream: Stream): void {
    const { world, network, random } = this.#ports;
    const life = stream.upstream.life;
    const check = (): void => {
      if (this.stream !== stream) return;
      const { upstream } = stream;
      const isSameLife = upstream.process.kind === "running" && upstream.life === life;
      const isReachable = network.reaches(upstream.name, this.name) && !upstream.isCutOff;
      if (isReachable && !isSameLife) return this.#lose(stream);
      if (isReachable && !upstream.isHung && !upstream.isAsleep) {
        stream.heardAtMs = world.nowMs;
        upstream.#send(this);
      }
      if (world.nowMs - stream.heardAtMs > RECEIVER_TIMEOUT_MS) return this.#lose(stream);
      world.after(KEEPALIVE_MS, check);
    };
    world.after(random.between(0, KEEPALIVE_MS), check);
  }

  #lose(stream: Stream): void {
    if (this.stream !== stream) return;
    this.stream = null;
    stream.upstream.#followers.delete(this);
    this.#ports.onChange(this);
    this.#connectSoon();
  }

  /** The followers' sockets are reset when the process ends: they hear of it soon, wherever the network still reaches. */
  #dropFollowers(): void {
    const { world, network, random } = this.#ports;
    for (const replica of this.#followers) {
      const { stream } = replica;
      if (stream?.upstream !== this) this.#followers.delete(replica);
      else if (network.reaches(this.name, replica.name) && !this.isCutOff)
        world.after(random.between(1, 20), () => replica.#lose(stream));
    }
  }
}

function lsnText(bytes: number): string {
  const high = Math.floor(bytes / 2 ** 32);
  return `${high.toString(16).toUpperCase()}/${(bytes % 2 ** 32).toString(16).toUpperCase()}`;
}

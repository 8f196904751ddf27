/** This agent on the peer channel: what it has learnt of the others, what it hears from them, what it tells them. */
import { Agent } from "node:http";
import type { LookupFunction, Socket } from "node:net";
import type {
  Endpoint,
  Peer,
  PromiseRequest,
  ReaderQuestion,
  Reply,
  Route,
  Upstream,
} from "#shared/domain/messages.ts";
import { SpacedSignal } from "../connector/spaced-signal.ts";
import { type AddressBookPort, withNewest } from "./address-book.ts";
import { type Addressed, askPeer, tunnelThrough } from "./asking.ts";
import { PROMISE } from "./promise.ts";
import type { PeerDesk } from "./requests.ts";
import { READER, readReader } from "./reader.ts";
import { readRoute, ROUTE } from "./route.ts";
import { PeerSender } from "./sender.ts";
import { listenToPeers } from "./server.ts";
import { LONGEST_ANSWER_BYTES, TAIL, type TailRequest } from "./tail.ts";
import { Carrier, type Destination } from "./tunnel.ts";

/** However many nudges come, the coordinator is not asked more often for them. */
const NUDGE_SPACING_MS = 20;
/** A promise is asked for again after a tenth of a lease; an answer that takes longer counts from its own request. */
const ASK_TIMEOUT_MS = 1_000;
const ROUTE_TIMEOUT_MS = 500;
/** Through how many peers a poll is carried at once. */
const MAX_TUNNELS = 3;

export interface PeerChannelOptions {
  /** This host's name. */
  self: string;
  host: string;
  /** 0: the system chooses. */
  port: number;
  /** A peer hints that something has happened. */
  onNudge: () => void;
  onFailure: (peer: string, error: Error) => void;
  /** What peers may ask of this agent besides; without it nothing is promised, proved or given. */
  desk?: Partial<Omit<PeerDesk, "onNudge">>;
  /** Where this agent's coordinator is: polls of peers are carried there; without it none are. */
  coordinator?: Destination;
  /** What was learnt before, and where it is kept; without it a start begins with nobody. */
  book?: AddressBookPort;
  /** Says where the name of a peer, or of the coordinator, leads; the system's own without it. */
  lookup?: LookupFunction;
}

interface Learnt {
  /** The others that the newest reply names: a coordinator that has just begun has heard few. */
  peers: readonly Peer[];
  /** Where each of them was last said to be, the newest first. */
  known: readonly Peer[];
  key: string | null;
  /** The member that the newest route for writers names. */
  writers: string | null;
}

interface Question {
  method: string;
  path: string;
  body: string;
}

/** A way to the coordinator through a peer. */
export type Detour = (signal: AbortSignal) => Promise<Socket>;

const CLOSED_DESK: Omit<PeerDesk, "onNudge"> = {
  onPromise: () => Promise.resolve("not-founded"),
  route: () => null,
  readable: () => null,
  giveTail: () => Promise.resolve(null),
};
const nowWallMs = (): number => Date.now();

export class PeerChannel {
  readonly endpoint: Endpoint;
  readonly #sender: PeerSender;
  readonly #nudged: SpacedSignal;
  readonly #stopListening: () => Promise<void>;
  readonly #learnt: Learnt;
  readonly #book: AddressBookPort | undefined;
  readonly #self: string;
  readonly #onFailure: PeerChannelOptions["onFailure"];
  readonly #lookup: LookupFunction | undefined;
  readonly #asking: Agent;

  private constructor(parts: {
    endpoint: Endpoint;
    sender: PeerSender;
    nudged: SpacedSignal;
    close: () => Promise<void>;
    learnt: Learnt;
    book: AddressBookPort | undefined;
    self: string;
    onFailure: PeerChannelOptions["onFailure"];
    lookup: LookupFunction | undefined;
  }) {
    this.#lookup = parts.lookup;
    this.#asking = new Agent({ keepAlive: true, maxSockets: 4, lookup: parts.lookup });
    this.#book = parts.book;
    this.#self = parts.self;
    this.#onFailure = parts.onFailure;
    this.endpoint = parts.endpoint;
    this.#sender = parts.sender;
    this.#nudged = parts.nudged;
    this.#stopListening = parts.close;
    this.#learnt = parts.learnt;
  }

  /** Rejects with the system's error when it cannot listen. */
  static async open(options: PeerChannelOptions): Promise<PeerChannel> {
    const { self, host, port, onNudge, onFailure, coordinator, book, lookup } = options;
    const kept = book?.read() ?? null;
    const learnt: Learnt = {
      peers: [],
      known: kept?.peers ?? [],
      key: kept?.key ?? null,
      writers: kept?.writers ?? null,
    };
    const nudged = new SpacedSignal(NUDGE_SPACING_MS, onNudge);
    const desk = { ...CLOSED_DESK, ...options.desk, onNudge: () => nudged.raise() };
    const carrier = coordinator ? new Carrier(coordinator, lookup) : null;
    const carry = (asker: Socket, head: Buffer): void => (carrier ? carrier.carry(asker, head) : void asker.destroy());
    const listening = { self, key: () => learnt.key, nowWallMs, desk, carry };
    // Where the others look for this agent, as long as no coordinator tells them otherwise.
    const before = port === 0 ? (kept?.port ?? null) : null;
    const server = await (before === null
      ? listenToPeers({ host, port }, listening)
      : listenToPeers({ host, port: before }, listening).catch(() => listenToPeers({ host, port }, listening)));
    const sender = new PeerSender({ self, nowWallMs, onFailure, lookup });
    const close = async (): Promise<void> => {
      carrier?.close();
      await server.close();
    };
    const endpoint = { host, port: server.port };
    return new PeerChannel({ endpoint, sender, nudged, close, learnt, book, self, onFailure, lookup });
  }

  /** Takes who the others are, and where may be written, from a reply, and keeps it for the next start. */
  learn({ peers, peerKey, routes = [] }: Pick<Reply, "peers" | "peerKey"> & Partial<Pick<Reply, "routes">>): void {
    const learnt = this.#learnt;
    learnt.peers = peers;
    learnt.known = withNewest(peers, learnt.known);
    learnt.key = peerKey === "" ? null : peerKey;
    for (const route of routes) {
      if (route.service === "read-write" && route.target) learnt.writers = route.target.member;
    }
    const { known, key, writers } = learnt;
    if (key !== null) this.#book?.keep({ key, port: this.endpoint.port, peers: [...known], writers });
  }

  /** The member that the newest route for writers named, in this process or one before it. */
  get writers(): string | null {
    return this.#learnt.writers;
  }

  /** Hints to those of these hosts that are known to poll at once; nothing waits for it. */
  nudge(hosts: readonly string[]): void {
    const { key, peers } = this.#learnt;
    if (key === null) return;
    const called = peers.filter(({ host }) => hosts.includes(host));
    this.#sender.nudge(this.#reachable(called), key);
  }

  /** Asks each of these members for a promise; `onPromise` hears of every one that was given, and of nothing else. */
  askPromises(of: readonly string[], request: PromiseRequest, onPromise: (by: string) => void): void {
    for (const to of of) {
      this.#ask(to, { ...PROMISE, body: JSON.stringify(request) }, ASK_TIMEOUT_MS).then(
        ({ status, body }) => (status === 200 ? onPromise(to) : this.#onFailure(to, new Error(`no promise: ${body}`))),
        (error: Error) => this.#onFailure(to, error),
      );
    }
  }

  /** What the agent of `member` proves of its own reign; null when it proves nothing. */
  askRoute(member: string): Promise<Route | null> {
    return this.#wordOf(member, { ...ROUTE, body: "" }, readRoute);
  }

  /** Where the server of `member` may be read from, by its own agent's word; null when it gives none. */
  askReader(member: string, question: ReaderQuestion): Promise<Upstream | null> {
    return this.#wordOf(member, { ...READER, body: JSON.stringify(question) }, readReader);
  }

  /** Asks a peer for a piece of its dead server's log. Rejects when it does not come in time. */
  async fetchTail({ host: to, endpoint }: Peer, wanted: TailRequest, withinMs: number): Promise<Buffer> {
    const { key } = this.#learnt;
    if (key === null) throw new Error("no key for the peer channel yet");
    const question = { ...TAIL, body: JSON.stringify(wanted) };
    const timeoutMs = Math.max(1, Math.floor(withinMs));
    const asking = { agent: this.#asking, timeoutMs, nowWallMs, maxBytes: LONGEST_ANSWER_BYTES };
    const { status, body } = await askPeer({ from: this.#self, to, endpoint, key }, question, asking);
    if (status !== 200) throw new Error(`${to} answers HTTP ${status}`);
    return Buffer.from(body, "base64");
  }

  /** Ways to the coordinator through other agents. */
  detours(): Detour[] {
    return this.#reachable(this.#learnt.known)
      .slice(0, MAX_TUNNELS)
      .flatMap(({ host }) => {
        const addressed = this.#addressOf(host);
        return addressed
          ? [(signal: AbortSignal) => tunnelThrough(addressed, { signal, nowWallMs, lookup: this.#lookup })]
          : [];
      });
  }

  /** What a member's agent says of itself; null when it says nothing, or not in time. */
  async #wordOf<T>(member: string, question: Question, read: (body: string) => T | null): Promise<T | null> {
    try {
      const { status, body } = await this.#ask(member, question, ROUTE_TIMEOUT_MS);
      return status === 200 ? read(body) : null;
    } catch (error) {
      this.#onFailure(member, error as Error);
      return null;
    }
  }

  #ask(to: string, question: Question, timeoutMs: number) {
    const addressed = this.#addressOf(to);
    if (!addressed) return Promise.reject(new Error(`no address of '${to}' is known`));
    return askPeer(addressed, question, { agent: this.#asking, timeoutMs, nowWallMs });
  }

  #addressOf(to: string): Addressed | null {
    const { key, known } = this.#learnt;
    const [peer] = this.#reachable(known.filter(({ host }) => host === to));
    return peer && key !== null ? { from: this.#self, to, endpoint: peer.endpoint, key } : null;
  }

  /** A peer's loopback address is another host's only when all of them share one. */
  #reachable(peers: readonly Peer[]): Peer[] {
    const isLocal = isLoopback(this.endpoint.host);
    return peers.filter(({ endpoint }) => isLocal || !isLoopback(endpoint.host));
  }

  async close(): Promise<void> {
    this.#nudged.close();
    this.#sender.close();
    this.#asking.destroy();
    await this.#stopListening();
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

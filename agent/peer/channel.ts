/** This agent on the peer channel: what it has learnt of the others, what it hears from them, what it tells them. */
import type { Endpoint, Peer, Reply } from "#shared/domain/messages.ts";
import { SpacedSignal } from "../connector/spaced-signal.ts";
import { PeerSender } from "./sender.ts";
import { listenToPeers } from "./server.ts";

/** However many nudges come, the coordinator is not asked more often for them. */
const NUDGE_SPACING_MS = 20;

export interface PeerChannelOptions {
  /** This host's name. */
  self: string;
  host: string;
  /** 0: the system chooses. */
  port: number;
  /** A peer hints that something has happened. */
  onNudge: () => void;
  onFailure: (peer: string, error: Error) => void;
}

export class PeerChannel {
  readonly endpoint: Endpoint;
  readonly #sender: PeerSender;
  readonly #nudged: SpacedSignal;
  readonly #stopListening: () => Promise<void>;
  readonly #learnt: { peers: readonly Peer[]; key: string | null };

  private constructor(parts: {
    endpoint: Endpoint;
    sender: PeerSender;
    nudged: SpacedSignal;
    close: () => Promise<void>;
    learnt: { peers: readonly Peer[]; key: string | null };
  }) {
    this.endpoint = parts.endpoint;
    this.#sender = parts.sender;
    this.#nudged = parts.nudged;
    this.#stopListening = parts.close;
    this.#learnt = parts.learnt;
  }

  /** Rejects with the system's error when it cannot listen. */
  static async open({ self, host, port, onNudge, onFailure }: PeerChannelOptions): Promise<PeerChannel> {
    const learnt: { peers: readonly Peer[]; key: string | null } = { peers: [], key: null };
    const nowWallMs = () => Date.now();
    const nudged = new SpacedSignal(NUDGE_SPACING_MS, onNudge);
    const desk = { onNudge: () => nudged.raise() };
    const server = await listenToPeers({ host, port }, { self, key: () => learnt.key, nowWallMs, desk });
    const sender = new PeerSender({ self, nowWallMs, onFailure });
    return new PeerChannel({ endpoint: { host, port: server.port }, sender, nudged, close: server.close, learnt });
  }

  /** Takes who the others are from a reply. */
  learn({ peers, peerKey }: Pick<Reply, "peers" | "peerKey">): void {
    this.#learnt.peers = peers;
    this.#learnt.key = peerKey === "" ? null : peerKey;
  }

  /** Hints to all the others to poll at once; nothing waits for it. */
  nudge(): void {
    const { peers, key } = this.#learnt;
    if (key === null) return;
    const isLocal = isLoopback(this.endpoint.host);
    // A peer's loopback address is another host's only when all of them share one.
    this.#sender.nudge(
      peers.filter(({ endpoint }) => isLocal || !isLoopback(endpoint.host)),
      key,
    );
  }

  async close(): Promise<void> {
    this.#nudged.close();
    this.#sender.close();
    await this.#stopListening();
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/** The asking side of the peer channel: nobody waits for it, and what fails is not told twice. */
import { Agent, request } from "node:http";
import type { LookupFunction } from "node:net";
import type { Endpoint, Peer } from "#shared/domain/messages.ts";
import { settleAtTheEnd } from "./asking.ts";
import { NUDGE } from "./nudge.ts";
import { sign, SIGNATURE_HEADER } from "./signature.ts";

const TIMEOUT_MS = 300;

export interface PeerSenderOptions {
  self: string;
  nowWallMs: () => number;
  /** What did not reach its peer, for a log at its lowest level. */
  onFailure: (peer: string, error: Error) => void;
  /** Says where a peer's name leads; the system's own without it. */
  lookup?: LookupFunction | undefined;
}

/** Whom a request is for, where he listens, and the key that he holds. */
interface Addressed {
  to: string;
  endpoint: Endpoint;
  key: string;
}

export class PeerSender {
  readonly #options: PeerSenderOptions;
  readonly #agent: Agent;
  /** The peers that a nudge is on its way to, each with the one that is due after it. */
  readonly #underWay = new Map<string, Addressed | null>();

  constructor(options: PeerSenderOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, lookup: options.lookup });
  }

  /** Hints to each of them. One on its way to a peer is followed by one more, however many are wanted meanwhile. */
  nudge(peers: readonly Peer[], key: string): void {
    for (const { host: to, endpoint } of peers) {
      const addressed = { to, endpoint, key };
      if (this.#underWay.has(to)) this.#underWay.set(to, addressed);
      else void this.#nudgeOne(addressed);
    }
  }

  close(): void {
    this.#underWay.clear();
    this.#agent.destroy();
  }

  async #nudgeOne(first: Addressed): Promise<void> {
    let next: Addressed | null = first;
    while (next) {
      this.#underWay.set(first.to, null);
      try {
        await this.#send(next);
      } catch (error) {
        this.#options.onFailure(first.to, error as Error);
      }
      next = this.#underWay.get(first.to) ?? null;
    }
    this.#underWay.delete(first.to);
  }

  #send({ to, endpoint, key }: Addressed): Promise<void> {
    const { self: from, nowWallMs } = this.#options;
    const signature = sign(key, { ...NUDGE, from, to, atWallMs: nowWallMs() });
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...endpoint,
          ...NUDGE,
          agent: this.#agent,
          headers: { [SIGNATURE_HEADER]: signature, "content-length": NUDGE.body.length },
          signal: AbortSignal.timeout(TIMEOUT_MS),
        },
        (response) => {
          response.resume();
          response.once("end", () =>
            response.statusCode === 204 ? resolve() : reject(new Error(`HTTP ${response.statusCode}`)),
          );
          response.once("error", reject);
        },
      );
      outgoing.once("error", reject);
      settleAtTheEnd(outgoing, reject);
      outgoing.end(NUDGE.body);
    });
  }
}

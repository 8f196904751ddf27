/**
 * Empties the outbox, beside everything else that the object does: nothing waits for a receiver.
 *
 * Of each webhook only the oldest pending delivery is under way, so that events arrive in their order; one that fails
 * holds up its own webhook and no other. What is under way is known to this incarnation only: the next one finds it
 * pending and sends it again.
 */
import { backoffMs, send, TRY_MS } from "./delivery.ts";
import type { Head, Outbox } from "./outbox.ts";

const MOST_UNDER_WAY = 4;
/** By then a try has ended, or this incarnation has. */
const BACKSTOP_MS = TRY_MS + 5_000;

export interface DelivererPort {
  outbox: Outbox;
  allowInsecure: boolean;
  wallMs: () => number;
  /** Writes how a try ended, unless this incarnation may not write any more; then looks what is due next. */
  record: (work: () => void) => void;
}

export class Deliverer {
  readonly #port: DelivererPort;
  readonly #underWay = new Map<string, AbortController>();
  /** When something may be due, wall time; null while nothing is pending. */
  #lookAtMs: number | null = null;

  constructor(port: DelivererPort) {
    this.#port = port;
  }

  /** Starts what is due. Costs nothing while nothing is pending. */
  deliverDue(): void {
    const { outbox } = this.#port;
    const nowMs = this.#port.wallMs();
    const isTime = this.#lookAtMs !== null && nowMs >= this.#lookAtMs;
    if (!outbox.takeNews() && !isTime) return;
    const heads = outbox.heads();
    for (const head of heads) {
      const isFree = !this.#underWay.has(head.webhook) && this.#underWay.size < MOST_UNDER_WAY;
      if (isFree && head.nextTryWallMs <= nowMs) void this.#try(head);
    }
    this.#lookAtMs = heads.length === 0 ? null : Math.min(...heads.map((head) => lookAtMs(head, nowMs)));
  }

  /** When the object must be awake for a delivery at the latest, wall time; null while nothing is pending. */
  dueMs(): number | null {
    return this.#lookAtMs;
  }

  /** Ends what is under way to one webhook, or to all. */
  abandon(webhook?: string): void {
    const abandoned = webhook === undefined ? [...this.#underWay.keys()] : [webhook];
    for (const id of abandoned) this.#underWay.get(id)?.abort();
  }

  async #try(head: Head): Promise<void> {
    const { allowInsecure, wallMs, record, outbox } = this.#port;
    const abandoned = new AbortController();
    this.#underWay.set(head.webhook, abandoned);
    const letter = { ...head, id: `msg_${head.webhook}_${head.n}` };
    const error = await send(letter, { wallMs: wallMs(), allowInsecure, signal: abandoned.signal });
    this.#underWay.delete(head.webhook);
    if (abandoned.signal.aborted) {
      // Its place is free for another webhook.
      this.#lookAtMs = wallMs();
      return;
    }
    record(() => {
      if (error === null) outbox.delivered(head, wallMs());
      else outbox.failed(head, { error, wallMs: wallMs(), nextTryWallMs: this.#nextTry(head) });
    });
  }

  #nextTry(head: Head): number | null {
    const waitMs = backoffMs(head.tries + 1, Math.random());
    return waitMs === null ? null : this.#port.wallMs() + waitMs;
  }
}

/** What is due is under way now, or waits for a free place: every end of a try looks again, and this in its stead. */
function lookAtMs({ nextTryWallMs }: Head, nowMs: number): number {
  return nextTryWallMs <= nowMs ? nowMs + BACKSTOP_MS : nextTryWallMs;
}

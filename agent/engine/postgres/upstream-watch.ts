/**
 * An idle connection to the upstream's server. When the upstream dies the kernel closes it within milliseconds, long before
 * any timeout of the stream.
 *
 * It is a replication connection that asks for nothing: it needs no right that the stream does not have, is no client
 * backend that a drain would wait for or disconnect, lives through a fast stop for as long as the stream does, and counts
 * for no synchronous set.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Endpoint } from "#shared/domain/messages.ts";
import { ServerConnection, type ConnectionTarget } from "./connection.ts";
import { Deadline, within } from "./deadline.ts";

const CONNECT_TIMEOUT_MS = 2_000;
const BACKOFF_MS = { first: 250, last: 2_000 };
/** How long the local receiver may outlive the watch before the loss is told anyway. */
const SETTLE_MS = 300;
const SETTLE_EVERY_MS = 5;

export interface UpstreamWatchOptions {
  targetOf: (upstream: Endpoint) => ConnectionTarget;
  /** Whether the local receiver has ended, so that what it received is final. */
  hasReceiverEnded: () => Promise<boolean>;
  onLost: () => void;
}

export class UpstreamWatch {
  readonly #options: UpstreamWatchOptions;
  #upstream: Endpoint | null = null;
  #connection: ServerConnection | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: UpstreamWatchOptions) {
    this.#options = options;
  }

  /** Watches `upstream` from now on; null watches nobody. */
  watch(upstream: Endpoint | null): void {
    if (isSame(upstream, this.#upstream)) return;
    this.close();
    this.#upstream = upstream;
    if (upstream) this.#connect(upstream, BACKOFF_MS.first);
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#connection?.discard();
    this.#timer = null;
    this.#connection = null;
    this.#upstream = null;
  }

  #connect(upstream: Endpoint, backoffMs: number): void {
    const connection = new ServerConnection(
      this.#options.targetOf(upstream),
      () => void this.#ended(connection, upstream),
    );
    this.#connection = connection;
    within(connection.connect(), CONNECT_TIMEOUT_MS, "the upstream").catch(() => {
      connection.discard();
      // An upstream that cannot be watched is still streamed from: the polls see the stream's end, only later.
      if (this.#connection === connection) this.#retry(upstream, backoffMs);
    });
  }

  #retry(upstream: Endpoint, backoffMs: number): void {
    const next = Math.min(BACKOFF_MS.last, backoffMs * 2);
    this.#timer = setTimeout(() => this.#connect(upstream, next), backoffMs);
    this.#timer.unref();
  }

  async #ended(connection: ServerConnection, upstream: Endpoint): Promise<void> {
    if (this.#connection !== connection) return;
    const deadline = new Deadline(SETTLE_MS);
    while (!deadline.isOver && !(await this.#options.hasReceiverEnded())) await pause(SETTLE_EVERY_MS);
    if (this.#connection !== connection) return;
    this.#options.onLost();
    this.#retry(upstream, BACKOFF_MS.first);
  }
}

function isSame(a: Endpoint | null, b: Endpoint | null): boolean {
  return a === b || (a !== null && b !== null && a.host === b.host && a.port === b.port);
}

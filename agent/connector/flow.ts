/**
 * One direction of a session: chunks from `source` to `destination`, each only when `mayForward` says so at that moment.
 *
 * At most one chunk is under way. Bytes that wait in a stream's queue would be written later without another look at
 * the proof, so a chunk that the kernel did not take whole stops the reading until it has.
 */
import type { Socket } from "node:net";

export interface FlowOptions {
  source: Socket;
  destination: Socket;
  /** Bytes of the source that were read before the flow began. */
  first: Buffer;
  mayForward: () => boolean;
}

export class Flow {
  readonly #source: Socket;
  readonly #destination: Socket;
  readonly #mayForward: () => boolean;
  #waiting: Buffer | null;
  #isFlushing = false;
  #hasForwarded = false;
  #sourceEnded: boolean;

  /** Takes over reading a paused `source`; nothing moves before the first `advance`. */
  constructor({ source, destination, first, mayForward }: FlowOptions) {
    this.#source = source;
    this.#destination = destination;
    this.#mayForward = mayForward;
    this.#waiting = first.length > 0 ? first : null;
    this.#sourceEnded = source.readableEnded;
    source.on("data", (chunk: Buffer) => {
      this.#waiting = chunk;
      this.advance();
    });
    source.once("end", () => {
      this.#sourceEnded = true;
      this.advance();
    });
  }

  /** Whether any byte has gone through. */
  get hasForwarded(): boolean {
    return this.#hasForwarded;
  }

  /** Moves on if it may. Called for each chunk, and when a proof has come that may let a waiting chunk pass. */
  advance(): void {
    if (this.#isFlushing) return;
    if (this.#waiting && !this.#forward(this.#waiting)) {
      this.#source.pause();
      return;
    }
    // An end carries no bytes and acknowledges nothing: it is passed on without a proof.
    if (this.#sourceEnded) this.#destination.end();
    else if (this.#source.isPaused()) this.#source.resume();
  }

  /** Whether `chunk` is wholly on its way. */
  #forward(chunk: Buffer): boolean {
    if (!this.#mayForward()) return false;
    this.#waiting = null;
    this.#hasForwarded = true;
    this.#destination.write(chunk, this.#flushed);
    this.#isFlushing = this.#destination.writableLength > 0;
    return !this.#isFlushing;
  }

  readonly #flushed = (): void => {
    // The callback of a chunk that went out at once may come while a later one is still being written.
    if (!this.#isFlushing || this.#destination.writableLength > 0) return;
    this.#isFlushing = false;
    this.advance();
  };
}

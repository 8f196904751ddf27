/**
 * Where the agent's log goes: to stderr, and never at the agent's cost. A reader that stands still is not waited for, lines
 * beyond what can be kept for him are dropped and counted, and a disk without room loses them: an agent that waited for
 * either would miss its lease.
 */
import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";

const STDERR = 2;
/** Hours of an agent at rest, minutes of one in trouble. */
const MOST_BYTES = 1_048_576;
/** pino's number for it: the last words of a broken rule are always kept. */
const FATAL = 60;
const METADATA = Symbol.for("pino.metadata");

export class LogStream {
  /** Has pino say which level each line is of. */
  readonly [METADATA] = true;
  lastLevel = 0;
  readonly #out: Writable;
  readonly #onFlow: (dropped: number) => void;
  #dropped = 0;

  /** `onFlow`: somebody reads again, and this many lines were dropped meanwhile. */
  constructor(out: Writable, onFlow: (dropped: number) => void) {
    this.#out = out;
    this.#onFlow = onFlow;
    out.on("drain", () => this.#flows());
    // A reader that is gone reads nothing any more, and nothing can be told of it.
    out.on("error", () => {});
  }

  write(line: string): void {
    if (this.#out.writableLength < MOST_BYTES || this.lastLevel >= FATAL) this.#out.write(line);
    else this.#dropped += 1;
  }

  /** Settles when everything is written, or after this long. */
  async flush(withinMs: number): Promise<void> {
    if (this.#out.writableLength === 0) return;
    await Promise.race([new Promise((resolve) => this.#out.once("drain", resolve)), pause(withinMs)]);
  }

  #flows(): void {
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.#onFlow(dropped);
  }
}

/** This process's stderr. A file takes each line at once or not at all; only a pipe or a socket has somebody who may not read. */
export function stderrOut(): Writable {
  const stat = fstatSync(STDERR);
  return stat.isFIFO() || stat.isSocket() ? process.stderr : new FileOut(STDERR);
}

class FileOut extends Writable {
  readonly #fd: number;

  constructor(fd: number) {
    super({ decodeStrings: false });
    this.#fd = fd;
  }

  override _write(line: string, _encoding: string, done: () => void): void {
    try {
      writeSync(this.#fd, line);
    } catch {
      // Nothing can be said of it where nothing can be written.
    }
    done();
  }
}

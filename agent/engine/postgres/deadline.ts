/** Deadlines that no step of the wall clock can move. */
import { performance } from "node:perf_hooks";

/** How long something may still take. */
export class Deadline {
  readonly #endMs: number;

  constructor(fromNowMs: number) {
    this.#endMs = performance.now() + fromNowMs;
  }

  get remainingMs(): number {
    return Math.max(0, this.#endMs - performance.now());
  }

  get isOver(): boolean {
    return this.remainingMs === 0;
  }
}

/** The wait for something ran out of time. */
export class OutOfTime extends Error {
  constructor(awaited: string) {
    super(`no answer in time: ${awaited}`);
  }
}

/** Settles as `promise` does, or rejects with OutOfTime after `ms`. */
export async function within<T>(promise: Promise<T>, ms: number, awaited: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new OutOfTime(awaited)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Three clocks of one host, read together. An agent's elapsed time is the largest of the three when it counts its own
 * right to write, and the smallest when it counts somebody else's: a clock that stood still or was stepped then errs
 * on the safe side.
 */
export interface Clocks {
  /** Monotonic, the same for all processes of the host; stands still while the machine sleeps. */
  monoMs: number;
  /** Since the kernel booted, sleep included. */
  bootMs: number;
  /** Wall time; anyone may set it. */
  wallMs: number;
}

/** The most time that can have passed between two readings of one host. */
export function largestElapsedMs(from: Clocks, to: Clocks): number {
  return Math.max(to.monoMs - from.monoMs, to.bootMs - from.bootMs, to.wallMs - from.wallMs);
}

/** The least time that has passed between two readings of one host; never below zero. */
export function smallestElapsedMs(from: Clocks, to: Clocks): number {
  return Math.max(0, Math.min(to.monoMs - from.monoMs, to.bootMs - from.bootMs, to.wallMs - from.wallMs));
}

/** Waiting for something that can only be seen by looking: always with a deadline, and saying what was missing. */
import { setTimeout as pause } from "node:timers/promises";

/** What one look found: the thing itself, or what it still lacks, in words for people. */
export type Look<T> = { found: T } | { missing: string };

/** Looks until it is there. Throws an Error that says what was missing when the deadline has passed. */
export async function until<T>(
  what: string,
  limits: { deadlineMs: number; everyMs: number },
  look: () => Promise<Look<T>> | Look<T>,
): Promise<T> {
  const end = performance.now() + limits.deadlineMs;
  for (;;) {
    const seen = await look();
    if ("found" in seen) return seen.found;
    if (performance.now() >= end)
      throw new Error(`${what}: not within ${limits.deadlineMs / 1_000} s: ${seen.missing}`);
    await pause(limits.everyMs);
  }
}

/** Time passed on one host: the largest reading for one's own right, the smallest for somebody else's. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { largestElapsedMs, smallestElapsedMs, type Clocks } from "#shared/domain/clocks.ts";

const START: Clocks = { monoMs: 1_000, bootMs: 50_000, wallMs: 1_800_000_000_000 };

function after(mono: number, boot: number, wall: number): Clocks {
  return { monoMs: START.monoMs + mono, bootMs: START.bootMs + boot, wallMs: START.wallMs + wall };
}

describe("elapsed time", () => {
  test.each([
    ["clocks that agree", after(700, 700, 700), 700, 700],
    ["a machine that slept", after(100, 9_000, 9_000), 9_000, 100],
    ["a wall clock stepped forward", after(100, 100, 60_000), 60_000, 100],
    ["a wall clock stepped back", after(100, 100, -60_000), 100, 0],
    ["no time at all", START, 0, 0],
  ])("of %s", (_, now, largest, smallest) => {
    expect(largestElapsedMs(START, now)).toBe(largest);
    expect(smallestElapsedMs(START, now)).toBe(smallest);
  });

  test("the smallest is never negative and never above the largest, while one clock runs forward", () => {
    const step = fc.integer({ min: -100_000, max: 100_000 });
    fc.assert(
      fc.property(fc.nat({ max: 100_000 }), step, step, (mono, boot, wall) => {
        const now = after(mono, boot, wall);
        expect(smallestElapsedMs(START, now)).toBeGreaterThanOrEqual(0);
        expect(smallestElapsedMs(START, now)).toBeLessThanOrEqual(largestElapsedMs(START, now));
      }),
    );
  });
});

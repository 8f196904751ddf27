/** Settings that contradict each other are named, with what would do instead. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkSettings, DEFAULT_SETTINGS, expiryWaitMs, type Settings } from "#shared/domain/settings.ts";

function problemsOf(patch: Partial<Settings>): string[] {
  return checkSettings({ ...DEFAULT_SETTINGS, ...patch }).map(({ key }) => key);
}

describe("settings", () => {
  test("as shipped can stand", () => {
    expect(checkSettings(DEFAULT_SETTINGS)).toEqual([]);
  });

  test.each(Object.keys(DEFAULT_SETTINGS) as (keyof Settings)[])("%s is a whole number, 0 or more", (key) => {
    for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(problemsOf({ [key]: value })).toContain(key);
  });

  test("polls in an operation come no closer than 50 ms", () => {
    expect(problemsOf({ pollInOperationMs: 9 })).toEqual(["pollInOperationMs"]);
    expect(problemsOf({ pollInOperationMs: 10 })).toEqual([]);
  });

  test("polls at rest are no closer than those in an operation", () => {
    expect(problemsOf({ pollMs: 60, pollInOperationMs: 70 })).toEqual(["pollMs"]);
  });

  test("a lease survives one lost renewal: exactly at the bound it does not", () => {
    expect(problemsOf({ ttlMs: 3_000 })).toEqual(["ttlMs"]);
    expect(problemsOf({ ttlMs: 3_001 })).toEqual([]);
  });

  test("a lease is no longer than members can be bound by a promise, and the remedy is one that can stand", () => {
    const [problem] = checkSettings({ ...DEFAULT_SETTINGS, ttlMs: 3_600_000 });
    expect(problem).toMatchObject({ key: "ttlMs", value: 3_600_000 });
    const most = Number(/at most (\d+):/.exec(problem?.remedy ?? "")?.[1]);
    expect(problemsOf({ ttlMs: most })).toEqual([]);
    expect(problemsOf({ ttlMs: most + 1 })).toEqual(["ttlMs"]);
  });

  test("the remedy for a short lease is one that can stand", () => {
    fc.assert(
      fc.property(fc.integer({ min: 50, max: 5_000 }), fc.integer({ min: 50, max: 5_000 }), (pollMs, pollTimeoutMs) => {
        const [problem] = checkSettings({ ...DEFAULT_SETTINGS, ttlMs: 1_000, pollMs, pollTimeoutMs });
        const named = problem ? Number(/more than (\d+)/.exec(problem.remedy)?.[1]) : 1_000;
        expect(problemsOf({ ttlMs: named + 1, pollMs, pollTimeoutMs })).toEqual([]);
      }),
    );
  });
});

describe("the wait for an expired lease", () => {
  test("is the largest lease, the largest fence and the margin", () => {
    expect(expiryWaitMs({ ttlMs: 5_000, fenceMs: 1_500 }, DEFAULT_SETTINGS)).toBe(7_000);
    expect(expiryWaitMs({ ttlMs: 9_000, fenceMs: 100 }, DEFAULT_SETTINGS)).toBe(11_000);
    expect(expiryWaitMs({ ttlMs: 100, fenceMs: 4_000 }, DEFAULT_SETTINGS)).toBe(9_500);
  });
});

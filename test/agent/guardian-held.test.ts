/** What the guardian concludes from what it knows. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Clocks } from "#shared/domain/clocks.ts";
import { judge, newest, SILENCE_MS, type Attendance, type Held } from "../../agent/guardian/held.ts";

const BOOT = "boot";
const FENCE_MS = 1_500;
const BASE: Clocks = { monoMs: 1_000, bootMs: 2_000, wallMs: 3_000 };
const TTL_MS = 5_000;

function held(patch: Partial<Held> = {}): Held {
  const lease = { epoch: 3, ttlMs: TTL_MS, base: BASE, bootId: BOOT, hasLeaseDoor: false };
  return { attempted: 3, released: 2, policy: "automatic", policyVersion: 1, lease, ...patch };
}

function after(ms: number, clock?: keyof Clocks): Clocks {
  if (clock) return { ...BASE, [clock]: BASE[clock] + ms };
  return { monoMs: BASE.monoMs + ms, bootMs: BASE.bootMs + ms, wallMs: BASE.wallMs + ms };
}

function verdict(known: Held, attendance: Attendance, clocks: Clocks) {
  return judge(known, { attendance, fenceMs: FENCE_MS }, { bootId: BOOT, clocks });
}

describe("the lease's end", () => {
  test.each([
    ["gone", 0],
    ["silent", SILENCE_MS],
    ["fencing", 900],
  ] as const)("an agent that is %s is given %i ms past it", (attendance, patienceMs) => {
    const endMs = TTL_MS + patienceMs;
    expect(verdict(held(), attendance, after(endMs - 1))).toEqual({ kind: "wait", forMs: 1, isOver: patienceMs > 0 });
    expect(verdict(held(), attendance, after(endMs))).toEqual({ kind: "kill" });
  });

  test.each(["monoMs", "bootMs", "wallMs"] as const)("counts by %s when that is the largest", (clock) => {
    expect(verdict(held(), "gone", after(TTL_MS, clock))).toEqual({ kind: "kill" });
  });

  test("who wakes up late has had his patience", () => {
    for (const attendance of ["gone", "silent", "fencing"] as const) {
      expect(verdict(held(), attendance, after(TTL_MS + FENCE_MS))).toEqual({ kind: "kill" });
    }
  });

  test.each([
    ["no lease", { lease: null }],
    ["the lease of another epoch", { attempted: 4 }],
    [
      "a lease of another boot",
      { lease: { epoch: 3, ttlMs: TTL_MS, base: BASE, bootId: "another", hasLeaseDoor: false } },
    ],
    ["maintenance, but no lease", { policy: "maintenance", lease: null }],
  ] as [string, Partial<Held>][])("with %s nothing covers the server", (_, patch) => {
    expect(verdict(held(patch), "gone", after(0))).toEqual({ kind: "kill" });
  });

  test("in maintenance no time ends it; with nothing attempted that is not released there is nothing to end", () => {
    expect(verdict(held({ policy: "maintenance" }), "gone", after(1_000_000))).toEqual({ kind: "rest" });
    expect(verdict(held({ released: 3 }), "gone", after(1_000_000))).toEqual({ kind: "rest" });
  });
});

describe("what is known from two sources", () => {
  const later = { epoch: 3, ttlMs: TTL_MS, base: after(10), bootId: BOOT, hasLeaseDoor: false };

  test("the later lease counts, whichever way round; one of another boot never", () => {
    expect(newest(held(), held({ lease: later }), BOOT).lease).toEqual(later);
    expect(newest(held({ lease: later }), held(), BOOT).lease).toEqual(later);
    const foreign = { ...later, bootId: "another", epoch: 9 };
    expect(newest(held(), held({ lease: foreign }), BOOT).lease).toEqual(held().lease);
    expect(newest(held({ lease: foreign }), held(), BOOT).lease).toEqual(held().lease);
    expect(newest(held(), held({ lease: null }), BOOT).lease).toEqual(held().lease);
  });

  test("the newer policy counts, and numbers only grow", () => {
    const count = fc.nat({ max: 5 });
    const arbitrary = fc.record({ attempted: count, released: count, policyVersion: count });
    fc.assert(
      fc.property(arbitrary, arbitrary, (a, b) => {
        const [one, other] = [held({ ...a, policy: "manual" }), held({ ...b, policy: "maintenance" })];
        const joined = newest(one, other, BOOT);
        expect(joined.attempted).toBe(Math.max(a.attempted, b.attempted));
        expect(joined.released).toBe(Math.max(a.released, b.released));
        expect(joined.policy).toBe(b.policyVersion > a.policyVersion ? "maintenance" : "manual");
      }),
    );
  });
});

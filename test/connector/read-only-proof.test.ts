import { describe, expect, test } from "vitest";
import * as fc from "fast-check";
import { READ_ONLY, type ReadOnlyState } from "../../agent/connector/read-only-proof.ts";
import type { ReadOnlyRoute } from "../../agent/connector/route-rules.ts";
import { readers, upstream } from "./peers.ts";

type Arrival = [ReadOnlyRoute, number];

function accept(...routes: Arrival[]): ReadOnlyState {
  return routes.reduce((state, [next, sentMs]) => READ_ONLY.accept(state, next, sentMs).state, READ_ONLY.unheard);
}

const course = { epoch: 4, target: upstream("db2", 2) };
const both = { db2: 2, db3: 3 };

describe("a list of replicas", () => {
  test("covers each of them until its duration, counted from the sending of the request, is over", () => {
    const state = accept([readers(4, both, 500), 1_000]);
    expect(READ_ONLY.covers(state, course, 1_499)).toBe(true);
    expect(READ_ONLY.covers(state, course, 1_500)).toBe(false);
    expect(READ_ONLY.dialable(state, 1_499).map(({ target }) => target.member)).toEqual(["db2", "db3"]);
    expect(READ_ONLY.dialable(state, 1_500)).toEqual([]);
    expect(READ_ONLY.isSuperseded(state, course)).toBe(false);
  });

  test("supersedes what it does not name, in the same epoch and in a higher one", () => {
    for (const epoch of [4, 5]) {
      const state = accept([readers(4, both), 0], [readers(epoch, { db3: 3 }), 10]);
      expect(READ_ONLY.isSuperseded(state, course)).toBe(true);
      expect(READ_ONLY.covers(state, course, 11)).toBe(false);
    }
  });

  test("supersedes a replica that moved to another address", () => {
    const state = accept([readers(4, both), 0], [readers(4, { db2: 9 }), 10]);
    expect(READ_ONLY.isSuperseded(state, course)).toBe(true);
  });

  test("of a higher epoch keeps the sessions of the replicas that it names", () => {
    const state = accept([readers(4, both), 0], [readers(5, { db2: 2 }), 10]);
    expect(READ_ONLY.isSuperseded(state, course)).toBe(false);
    expect(READ_ONLY.covers(state, course, 11)).toBe(true);
  });

  test("of a lower epoch is ignored, also when it was sent later", () => {
    const before = accept([readers(5, { db3: 3 }), 0]);
    expect(READ_ONLY.accept(before, readers(4, both), 10)).toEqual({ state: before, change: "ignored" });
  });

  test("that was sent before the newest one is ignored, also when it would run longer", () => {
    const before = accept([readers(4, { db3: 3 }, 100), 10]);
    expect(READ_ONLY.accept(before, readers(4, both), 5)).toEqual({ state: before, change: "ignored" });
  });

  test("without numbers is ignored", () => {
    expect(READ_ONLY.accept(READ_ONLY.unheard, readers(1, both, Number.NaN), 0).change).toBe("ignored");
    expect(READ_ONLY.accept(READ_ONLY.unheard, readers(1, both), Number.NaN).change).toBe("ignored");
  });

  test("is news only when it names others", () => {
    const before = accept([readers(4, both), 0]);
    expect(READ_ONLY.accept(before, readers(5, { db3: 3, db2: 2 }), 1).change).toBe("renewed");
    expect(READ_ONLY.accept(before, readers(4, { db2: 2 }), 1).change).toBe("changed");
    expect(READ_ONLY.accept(before, readers(4, { ...both, db4: 4 }), 1).change).toBe("changed");
  });
});

test("in any order of arrival, a moment is covered only by the newest list of the highest epoch", () => {
  const arrival = fc.record({
    epoch: fc.integer({ min: 1, max: 3 }),
    names: fc.subarray(["db2", "db3"] as const),
    validMs: fc.integer({ min: 0, max: 100 }),
    sentMs: fc.integer({ min: 0, max: 100 }),
  });
  const arrivals = fc.uniqueArray(arrival, { maxLength: 12, selector: ({ epoch, sentMs }) => `${epoch} ${sentMs}` });
  fc.assert(
    fc.property(arrivals, fc.integer({ min: 0, max: 220 }), (heard, nowMs) => {
      const lists = heard.map(({ epoch, names, validMs, sentMs }): Arrival => {
        const ports = Object.fromEntries(names.map((name) => [name, both[name]]));
        return [readers(epoch, ports, validMs), sentMs];
      });
      const state = accept(...lists);
      const newest = heard.toSorted((a, b) => b.epoch - a.epoch || b.sentMs - a.sentMs)[0];
      for (const name of ["db2", "db3"] as const) {
        const at = { epoch: 1, target: upstream(name, both[name]) };
        const isNamed = newest?.names.includes(name) ?? false;
        expect(READ_ONLY.isSuperseded(state, at)).toBe(!isNamed);
        expect(READ_ONLY.covers(state, at, nowMs)).toBe(
          isNamed && newest !== undefined && nowMs < newest.sentMs + newest.validMs,
        );
      }
    }),
  );
});

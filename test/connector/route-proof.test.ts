import { describe, expect, test } from "vitest";
import * as fc from "fast-check";
import {
  acceptRoute,
  covers,
  dialable,
  isSuperseded,
  NO_ROUTE,
  type RouteState,
} from "../../agent/connector/route-proof.ts";
import type { ReadWriteRoute } from "../../agent/connector/route-rules.ts";
import { holding, route } from "./peers.ts";

function accept(...routes: [ReadWriteRoute, number][]): RouteState {
  return routes.reduce((state, [next, sentMs]) => acceptRoute(state, next, sentMs).state, NO_ROUTE);
}

const target = { member: "db1", host: "127.0.0.1", port: 1 };
const course = { epoch: 4, target };

describe("a route", () => {
  test("covers until its duration, counted from the sending of the request, is over", () => {
    const state = accept([route(4, 1, 500), 1_000]);
    expect(covers(state, course, 1_499)).toBe(true);
    expect(covers(state, course, 1_500)).toBe(false);
    expect(dialable(state, 1_500)).toBe(null);
  });

  test("that arrives late never shortens a longer proof of the same reign", () => {
    const state = accept([route(4, 1, 500), 1_000], [route(4, 1, 500), 900]);
    expect(covers(state, course, 1_499)).toBe(true);
  });

  test("of a lower epoch is ignored", () => {
    const before = accept([route(4, 1), 0]);
    expect(acceptRoute(before, route(3, 2), 10)).toEqual({ state: before, change: "ignored" });
  });

  test("of a higher epoch supersedes, with or without a primary, also at the same address", () => {
    for (const port of [1, 2, null]) {
      const state = accept([route(4, 1), 0], [route(5, port), 10]);
      expect(isSuperseded(state, course)).toBe(true);
      expect(covers(state, course, 11)).toBe(false);
    }
  });

  test("to another address in the same epoch supersedes, unless it is older", () => {
    expect(isSuperseded(accept([route(4, 1), 10], [route(4, 2), 20]), course)).toBe(true);
    expect(isSuperseded(accept([route(4, 1), 10], [route(4, 2), 5]), course)).toBe(false);
  });

  test("without a primary in the same epoch holds new connections and leaves open ones their proof", () => {
    const state = accept([route(4, 1, 500), 0], [route(4, null), 10]);
    expect(dialable(state, 20)).toBe(null);
    expect(covers(state, course, 499)).toBe(true);
    expect(isSuperseded(state, course)).toBe(false);
  });

  test("that was sent before the word to hold does not release the held", () => {
    for (const word of [route(4, null), holding(route(4, 1))]) {
      const held: [ReadWriteRoute, number][] = [
        [route(4, 1, 500), 0],
        [word, 10],
      ];
      expect(dialable(accept(...held, [route(4, 1), 5]), 20)).toBe(null);
      expect(dialable(accept(...held, [route(4, 1), 15]), 20)).toMatchObject({ epoch: 4 });
    }
  });

  test("that holds renews the proof of open sessions, and a late one holds nobody", () => {
    const held = acceptRoute(accept([route(4, 1, 500), 0]), holding(route(4, 1, 500)), 10);
    expect(held.change).toBe("changed");
    expect(covers(held.state, course, 509)).toBe(true);
    expect(isSuperseded(held.state, course)).toBe(false);
    expect(acceptRoute(held.state, holding(route(4, 1, 500)), 20).change).toBe("renewed");

    const late = acceptRoute(accept([route(4, 1, 500), 10]), holding(route(4, 1, 500)), 5);
    expect(late.change).toBe("renewed");
    expect(dialable(late.state, 20)).toMatchObject({ epoch: 4 });
  });

  test("that holds in a new reign cuts the old one and lets nobody in", () => {
    const state = accept([route(4, 1), 0], [holding(route(5, 2)), 10]);
    expect(isSuperseded(state, course)).toBe(true);
    expect(dialable(state, 20)).toBe(null);
    expect(dialable(accept([route(4, 1), 0], [holding(route(5, 2)), 10], [route(5, 2), 20]), 20)).toMatchObject({
      epoch: 5,
    });
  });

  test("without numbers is ignored", () => {
    expect(acceptRoute(NO_ROUTE, route(1, 1, Number.NaN), 0).change).toBe("ignored");
    expect(acceptRoute(NO_ROUTE, route(1, 1), Number.NaN).change).toBe("ignored");
  });
});

test("in any order of arrival, a moment is covered only if a proof of the newest reign covers it", () => {
  const arrival = fc.record({
    epoch: fc.integer({ min: 1, max: 3 }),
    port: fc.option(fc.integer({ min: 1, max: 2 }), { nil: null }),
    validMs: fc.integer({ min: 0, max: 100 }),
    sentMs: fc.integer({ min: 0, max: 100 }),
  });
  fc.assert(
    fc.property(fc.array(arrival, { maxLength: 12 }), fc.integer({ min: 0, max: 220 }), (arrivals, nowMs) => {
      const state = accept(
        ...arrivals.map((a): [ReadWriteRoute, number] => [route(a.epoch, a.port, a.validMs), a.sentMs]),
      );
      const highest = Math.max(0, ...arrivals.map((a) => a.epoch));
      const isProved = (epoch: number, port: number): boolean =>
        epoch === highest && arrivals.some((a) => a.epoch === epoch && a.port === port && nowMs < a.sentMs + a.validMs);
      const courses = [1, 2, 3].flatMap((epoch) => [1, 2].map((port) => ({ epoch, target: { ...target, port } })));
      const covered = courses.filter((candidate) => covers(state, candidate, nowMs));
      expect(covered.filter(({ epoch, target: { port } }) => !isProved(epoch, port))).toEqual([]);
      expect(covered.length).toBeLessThanOrEqual(1);
    }),
  );
});

/** Positions are a partial order, also where timeline numbers were given out twice. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  comparePositions,
  coversPosition,
  lsnBytes,
  lsnDistance,
  positionNumber,
  type Coverage,
  type Position,
  type TimelineEnd,
} from "#shared/domain/position.ts";

const swapped: Record<Coverage, Coverage> = {
  equal: "equal",
  covers: "behind",
  behind: "covers",
  diverged: "diverged",
};

function lsn(bytes: number): string {
  return `0/${bytes.toString(16).toUpperCase()}`;
}

/** One line of log: where it left its parent, and the timelines before it. */
interface Branch {
  timeline: number;
  startsAt: number;
  history: TimelineEnd[];
}

const ROOT: Branch = { timeline: 1, startsAt: 0, history: [] };

/** A promotion: which branch it continued, and how far into it. */
const promotion = fc.record({ from: fc.nat(), into: fc.nat({ max: 3 }) });
const reading = fc.record({ of: fc.nat(), into: fc.nat({ max: 5 }) });

type Promotion = typeof promotion extends fc.Arbitrary<infer T> ? T : never;
type Reading = typeof reading extends fc.Arbitrary<infer T> ? T : never;

/** Numbers are given out as real servers do: the next one that this line has not used, so two lines may share one. */
function branchesOf(promotions: readonly Promotion[]): Branch[] {
  const branches = [ROOT];
  for (const { from, into } of promotions) {
    const parent = branches[from % branches.length] ?? ROOT;
    const startsAt = parent.startsAt + into;
    const end = { timeline: parent.timeline, endLsn: lsn(startsAt) };
    branches.push({ timeline: parent.timeline + 1, startsAt, history: [...parent.history, end] });
  }
  return branches;
}

function positionAt(branches: readonly Branch[], { of, into }: Reading): Position {
  const branch = branches[of % branches.length] ?? ROOT;
  return {
    engine: "postgres",
    systemId: "7300000000000000001",
    timeline: branch.timeline,
    lsn: lsn(branch.startsAt + into),
    history: branch.history,
  };
}

const threePositions = fc
  .tuple(fc.array(promotion, { maxLength: 6 }), fc.tuple(reading, reading, reading))
  .map(([promotions, [a, b, c]]) => {
    const branches = branchesOf(promotions);
    return [positionAt(branches, a), positionAt(branches, b), positionAt(branches, c)] as const;
  });

type Law = (a: Position, b: Position, c: Position) => boolean;

function always(law: Law): () => void {
  return () =>
    fc.assert(
      fc.property(threePositions, ([a, b, c]) => law(a, b, c)),
      { numRuns: 2_000 },
    );
}

function isSamePlace(a: Position, b: Position): boolean {
  return a.timeline === b.timeline && a.lsn === b.lsn && JSON.stringify(a.history) === JSON.stringify(b.history);
}

describe("the order of positions", () => {
  test("is reflexive", () => {
    expect(always((a) => comparePositions(a, a) === "equal")).not.toThrow();
  });

  test("is turned round by swapping: covers and behind, and diverged stays", () => {
    expect(always((a, b) => comparePositions(b, a) === swapped[comparePositions(a, b)])).not.toThrow();
  });

  test("is antisymmetric: two that cover each other are the same place", () => {
    const law: Law = (a, b) => !coversPosition(a, b) || !coversPosition(b, a) || isSamePlace(a, b);
    expect(always(law)).not.toThrow();
  });

  test("is transitive", () => {
    const law: Law = (a, b, c) => !coversPosition(a, b) || !coversPosition(b, c) || coversPosition(a, c);
    expect(always(law)).not.toThrow();
  });
});

function at(timeline: number, place: string, history: [number, string][] = [], systemId = "1"): Position {
  const ends = history.map(([past, endLsn]) => ({ timeline: past, endLsn }));
  return { engine: "postgres", systemId, timeline, lsn: place, history: ends };
}

describe("forked timelines", () => {
  const fork: [number, string][] = [[1, "0/3000000"]];
  const cases: [string, Position, Position, Coverage][] = [
    [
      "the successor covers what the old primary had at the fork",
      at(2, "0/3000100", fork),
      at(1, "0/3000000"),
      "covers",
    ],
    ["an old primary that wrote past the fork has diverged", at(2, "0/3000100", fork), at(1, "0/3000001"), "diverged"],
    ["a replica that stopped before the fork is behind", at(1, "0/2FFFFFF"), at(2, "0/3000000", fork), "behind"],
    [
      "the same number from another fork has diverged",
      at(2, "0/4000000", fork),
      at(2, "0/4000000", [[1, "0/3000001"]]),
      "diverged",
    ],
    ["two forks of one timeline have diverged", at(2, "0/4000000", fork), at(3, "0/4000000", fork), "diverged"],
    ["another system shares no history", at(1, "0/3000000"), at(1, "0/3000000", [], "2"), "diverged"],
    ["the halves are numbers and not text", at(1, "1/0"), at(1, "0/FFFFFFFF"), "covers"],
    ["and have no fixed width", at(1, "0/A000000"), at(1, "0/10000000"), "behind"],
  ];

  test.each(cases)("%s", (_, a, b, expected) => {
    expect(comparePositions(a, b)).toBe(expected);
    expect(comparePositions(b, a)).toBe(swapped[expected]);
  });
});

describe("an LSN", () => {
  test("is two hexadecimal halves", () => {
    expect(lsnBytes("1/2")).toBe(0x1_0000_0002n);
    expect(lsnBytes("FFFFFFFF/FFFFFFFF")).toBe(0xffff_ffff_ffff_ffffn);
    expect(lsnDistance("0/10", "0/F")).toBe(1n);
    expect(positionNumber(at(1, "0/3000060"))).toBe(50_331_744);
  });

  test.each(["", "0", "0/", "/0", "0/3000060/1", "0/123456789", "x/1", " 0/1"])("is not %j", (text) => {
    expect(() => lsnBytes(text)).toThrow("not an LSN");
  });
});

test("the same timeline number, come to by different ways, is a divergence", () => {
  const byTwo = {
    engine: "postgres",
    systemId: "1",
    timeline: 3,
    lsn: "0/5000000",
    history: [
      { timeline: 1, endLsn: "0/3000000" },
      { timeline: 2, endLsn: "0/4000000" },
    ],
  } as const;
  const direct = { ...byTwo, history: [{ timeline: 1, endLsn: "0/3000000" }] };
  expect(comparePositions({ ...byTwo, history: [...byTwo.history] }, direct)).toBe("diverged");
  expect(comparePositions(direct, { ...byTwo, history: [...byTwo.history] })).toBe("diverged");
  // A history that is not known yet says nothing.
  expect(comparePositions({ ...direct, history: [] }, direct)).toBe("equal");
});

/** Who descends from whom: what timeline numbers cannot tell, the reign table does. */
import { describe, expect, test } from "vitest";
import type { Position } from "#shared/domain/position.ts";
import {
  ancestry,
  exactFork,
  lastOpenedEpoch,
  nextTimeline,
  onLineage,
  TIMELINE_LEEWAY,
  unseenEpochs,
  type Reign,
} from "#shared/domain/reign.ts";

function at(timeline: number, lsn: string, history: [number, string][] = []): Position {
  const ends = history.map(([past, endLsn]) => ({ timeline: past, endLsn }));
  return { engine: "postgres", systemId: "1", timeline, lsn, history: ends };
}

function reign(epoch: number, member: string, parent: number, fork: Position | null, opened = true): Reign {
  return {
    epoch,
    member,
    parent,
    proof: epoch === 1 ? "founded" : "released",
    fork,
    timeline: epoch,
    opened,
    mintedWallMs: 0,
  };
}

const FORK = at(1, "0/3000000");
const AFTER: [number, string][] = [[1, "0/3000000"]];

describe("two promotions from one position", () => {
  // db2 was promoted unseen in epoch 2; db3 in epoch 3, from the very same place, on a number of its own.
  const reigns = [reign(1, "db1", 0, null), reign(2, "db2", 1, FORK, false), reign(3, "db3", 1, FORK)];
  const position = at(2, "0/3000100", AFTER);

  test("the one that reigns is on the line", () => {
    expect(onLineage(reigns, 3, { ownEpoch: 3, position })).toBe(true);
  });
  test("the other one is not, though its position looks the same", () => {
    expect(onLineage(reigns, 3, { ownEpoch: 2, position })).toBe(false);
  });
  test("a replica that never opened is told by its timeline", () => {
    expect(onLineage(reigns, 3, { ownEpoch: 0, position })).toBe(false);
    expect(onLineage(reigns, 3, { ownEpoch: 0, position: at(3, "0/3000100", AFTER) })).toBe(true);
    expect(onLineage(reigns, 3, { ownEpoch: 0, position: at(1, "0/3000000") })).toBe(true);
    expect(onLineage(reigns, 3, { ownEpoch: 0, position: at(1, "0/3000001") })).toBe(false);
  });
});

describe("a former primary", () => {
  const reigns = [reign(1, "db1", 0, null), reign(2, "db2", 1, FORK)];

  test.each([
    ["stopped at the fork", at(1, "0/3000000"), true],
    ["stopped before the fork", at(1, "0/2000000"), true],
    ["wrote past the fork", at(1, "0/3000001"), false],
    ["has followed its successor since", at(2, "0/3000100", AFTER), true],
  ])("that %s", (_, position, expected) => {
    expect(onLineage(reigns, 2, { ownEpoch: 1, position })).toBe(expected);
  });

  test("of an epoch that nobody remembers is on no line", () => {
    expect(onLineage(reigns, 2, { ownEpoch: 7, position: FORK })).toBe(false);
  });
  test("whose successor was adopted has no fork to be measured against", () => {
    expect(onLineage([reign(1, "db1", 0, null), reign(2, "db2", 1, null)], 2, { ownEpoch: 1, position: FORK })).toBe(
      true,
    );
  });
});

describe("the epoch whose log goes on", () => {
  const reigns = [
    reign(1, "db1", 0, null),
    reign(2, "db2", 1, FORK, false),
    reign(3, "db3", 2, FORK, false),
    reign(4, "db4", 1, FORK),
  ];

  test.each([
    [1, 1],
    [2, 1],
    [3, 1],
    [4, 4],
    [9, 9],
  ])("of %i is that of %i", (epoch, expected) => {
    expect(lastOpenedEpoch(reigns, epoch)).toBe(expected);
  });
  test("of a founding that was never opened is its own: there is none before", () => {
    expect(lastOpenedEpoch([reign(1, "db1", 0, null, false)], 1)).toBe(1);
  });
});

describe("ancestry", () => {
  const reigns = [reign(1, "db1", 0, null), reign(2, "db2", 1, FORK), reign(3, "db3", 1, FORK)];

  test("runs back to the founding and leaves out whoever was passed over", () => {
    expect(ancestry(reigns, 3).map(({ epoch }) => epoch)).toEqual([3, 1]);
  });
  test("of no epoch is empty", () => {
    expect(ancestry(reigns, 0)).toEqual([]);
  });
  test("ends at a gap and at a circle", () => {
    expect(ancestry([reign(3, "db3", 2, FORK)], 3).map(({ epoch }) => epoch)).toEqual([3]);
    const circle = [reign(1, "db1", 2, null), reign(2, "db2", 1, FORK)];
    expect(ancestry(circle, 2).map(({ epoch }) => epoch)).toEqual([2, 1]);
  });
});

describe("epochs in which somebody may have opened unseen", () => {
  const founded = reign(1, "db1", 0, null);

  test("are those since the last opened one, newest first", () => {
    const reigns = [founded, reign(2, "db2", 1, FORK, false), reign(3, "db2", 2, FORK, false)];
    expect(unseenEpochs(reigns, 3)).toEqual([3, 2]);
  });
  test("are none where the newest was seen open", () => {
    expect(unseenEpochs([founded, reign(2, "db2", 1, FORK)], 2)).toEqual([]);
  });
  test("are only those of the line itself", () => {
    const reigns = [founded, reign(2, "db2", 1, FORK, false), reign(3, "db3", 1, FORK, false)];
    expect(unseenEpochs(reigns, 3)).toEqual([3]);
  });
  test("reach back to a founding that nobody saw open", () => {
    expect(unseenEpochs([reign(1, "db1", 0, null, false)], 1)).toEqual([1]);
  });
});

describe("the exact fork", () => {
  test("is where the new primary's own history says that it left", () => {
    const primary = at(2, "0/3000100", [[1, "0/2FFFFA0"]]);
    expect(exactFork(at(1, "0/3000000"), primary)).toEqual(at(1, "0/2FFFFA0"));
    const follower = at(2, "0/3000080", [[1, "0/2FFFFA0"]]);
    const reigns = [reign(1, "db1", 0, null), reign(2, "db2", 1, exactFork(at(1, "0/3000000"), primary))];
    expect(onLineage(reigns, 2, { ownEpoch: 1, position: follower })).toBe(true);
  });
  test("stays as reported while that history is not known", () => {
    expect(exactFork(FORK, at(2, "0/3000100"))).toEqual(FORK);
  });
});

describe("the number of the next timeline", () => {
  test("is above every one given out, also to an epoch that nobody saw", () => {
    const reigns = [reign(1, "db1", 0, null), reign(2, "db2", 1, FORK, false)];
    expect(nextTimeline(reigns, at(1, "0/3000000"))).toBe(3);
  });
  test("and above the winner's own", () => {
    expect(nextTimeline([], at(7, "0/3000000"))).toBe(8);
  });
  test("and above what was told of, as far as that can be", () => {
    expect(nextTimeline([], at(7, "0/3000000"), 9)).toBe(10);
    expect(nextTimeline([], at(7, "0/3000000"), 4_000_000_000)).toBe(7 + TIMELINE_LEEWAY + 1);
  });
});

/** The figures that a run is judged by, on histories written by hand. */
import { expect, test } from "vitest";
import {
  byServer,
  cutsSince,
  dualWrites,
  errorsOpened,
  longestGapMs,
  lostNumbers,
  median,
  outageMs,
  type Ack,
  type ReignAck,
} from "../../demo/figures.ts";

function ack(n: number, server: number, ackedAtMs: number): Ack {
  return { n, server, timeline: server, sentAtMs: ackedAtMs - 2, ackedAtMs };
}

function probed(member: string, timeline: number, sentAtMs: number, ackedAtMs: number): ReignAck {
  return { member, timeline, sentAtMs, ackedAtMs };
}

test("the outage lies between the last acknowledgement and the first of another server, whatever their order in the list", () => {
  expect(outageMs([ack(4, 2, 450), ack(1, 1, 100), ack(2, 1, 110), ack(3, 2, 430)], 1)).toBe(320);
});

test("without an acknowledgement by another server there is no outage to tell", () => {
  expect(outageMs([ack(1, 1, 100), ack(2, 1, 900)], 1)).toBeNull();
});

test("the longest pause is looked for within the given time; one that has not ended counts too", () => {
  const acks = [ack(1, 1, 0), ack(2, 1, 500), ack(3, 1, 510), ack(4, 1, 540)];
  expect(longestGapMs(acks, { sinceMs: 400, untilMs: 545 })).toBe(30);
  expect(longestGapMs(acks, { sinceMs: 0, untilMs: 545 })).toBe(500);
  expect(longestGapMs(acks, { sinceMs: 400, untilMs: 700 })).toBe(160);
});

test("lost is what was acknowledged and is not there; more than was acknowledged is no loss", () => {
  expect(lostNumbers([ack(1, 1, 1), ack(2, 1, 2), ack(3, 1, 3)], new Set([1, 3, 9]))).toEqual([2]);
});

const errors = [
  { n: 1, openedAtMs: 99, atMs: 130, message: "cut" },
  { n: 2, openedAtMs: 100, atMs: 101, message: "refused" },
  { n: 3, openedAtMs: 200, atMs: 205, message: "refused" },
];

test("a connection counts by when it was opened", () => {
  expect(errorsOpened(errors, { sinceMs: 100 }).map(({ n }) => n)).toEqual([2, 3]);
  expect(errorsOpened(errors, { sinceMs: 100, untilMs: 199 }).map(({ n }) => n)).toEqual([2]);
});

test("a cut counts by when it came", () => {
  expect(cutsSince(errors, 102)).toBe(2);
});

test("a late write of a passed-over server is seen by its port and timeline too", () => {
  const late = { ...ack(3, 1, 310), timeline: 1 };
  const writes = [{ ...ack(1, 1, 1), timeline: 1 }, { ...ack(2, 2, 300), timeline: 2 }, late];
  expect(dualWrites(byServer(writes))).toEqual(byServer([late]));
});

test("one reign after the other is no dual write", () => {
  expect(
    dualWrites([probed("a", 1, 0, 1), probed("a", 1, 20, 21), probed("b", 2, 300, 301), probed("b", 2, 320, 321)]),
  ).toEqual([]);
});

test("a write sent to the old primary after the new one's first acknowledgement is one", () => {
  const late = probed("a", 1, 302, 303);
  expect(dualWrites([probed("a", 1, 0, 1), probed("b", 2, 300, 301), late])).toEqual([late]);
});

test("a write that was in flight when the new primary's first acknowledgement came is none", () => {
  expect(dualWrites([probed("a", 1, 0, 1), probed("a", 1, 300, 305), probed("b", 2, 299, 301)])).toEqual([]);
});

test("two members on one timeline are two reigns all the same", () => {
  const late = probed("a", 2, 310, 311);
  expect(dualWrites([probed("a", 2, 0, 1), probed("b", 2, 300, 301), late])).toEqual([late]);
});

test("a member that reigns again, on a new timeline, is no dual writer", () => {
  expect(dualWrites([probed("a", 1, 0, 1), probed("b", 2, 10, 11), probed("a", 3, 20, 21)])).toEqual([]);
});

test("the median of an even count lies between the two in the middle", () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([5, 1, 3])).toBe(3);
});

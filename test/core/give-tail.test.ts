/** Whether a member gives the end of its log away: only of a server that is dead, in an epoch that it has released. */
import { expect, test } from "vitest";
import { freshDurable, freshLive, UNSEEN, type MemberState } from "#shared/core/member/state.ts";
import { mayGiveTail } from "#shared/core/member/tail.ts";

const TAIL = { timeline: 2, lsn: "0/3000700" };
const CLAIM = { epoch: 3, until: TAIL };

function dead(): MemberState {
  const durable = freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation");
  const told = { bootId: "boot", fenceMs: 1_500, endpoint: { host: "db1", port: 5432 }, nextPollMs: 1_000 };
  return {
    durable: { ...durable, founded: true, attempted: 3, released: 3 },
    phase: { kind: "closed", running: null, queued: null },
    live: freshLive({ ...told, view: { ...UNSEEN, tail: TAIL } }),
  };
}

test("a dead primary's is given, as far as it reaches", () => {
  expect(mayGiveTail(dead(), CLAIM)).toBe(true);
  expect(mayGiveTail(dead(), { ...CLAIM, until: { timeline: 2, lsn: "0/3000600" } })).toBe(true);
  expect(mayGiveTail(dead(), { ...CLAIM, until: { timeline: 2, lsn: "0/3000701" } })).toBe(false);
  expect(mayGiveTail(dead(), { ...CLAIM, until: { timeline: 1, lsn: "0/3000600" } })).toBe(false);
});

test.each<[string, (state: MemberState) => MemberState]>([
  ["it reigned in another epoch", (state) => ({ ...state, durable: { ...state.durable, attempted: 4 } })],
  ["it has not released it", (state) => ({ ...state, durable: { ...state.durable, released: 2 } })],
  ["its directory is being laid out anew", (state) => ({ ...state, durable: { ...state.durable, isDamaged: true } })],
  ["it only observes", (state) => ({ ...state, phase: { kind: "observing" } })],
  ["its end is not known", (state) => ({ ...state, live: { ...state.live, view: { ...UNSEEN, tail: null } } })],
  [
    "its server lives",
    (state) => {
      const view = { ...state.live.view, report: { state: "running", inRecovery: true, writable: false } as const };
      return { ...state, live: { ...state.live, view } };
    },
  ],
])("nothing is given when %s", (_, altered) => {
  expect(mayGiveTail(altered(dead()), CLAIM)).toBe(false);
});

/** What a standby that was restarted says of its log: all that it holds, or only what it has come to. */
import { expect, test } from "vitest";
import { hasReadItsLog, isLogWhole, type LogFacts } from "../../agent/engine/postgres/end-of-log.ts";

const END = { timeline: 1, lsn: "0/3000A28" };
const RESTARTED: LogFacts = {
  inRecovery: true,
  identified: END,
  current: null,
  received: null,
  replayed: END.lsn,
  controlTimeline: 1,
  stream: null,
  startupWaitsFor: null,
};

test.each(["RecoveryRetrieveRetryInterval", "RecoveryWalStream"])(
  "is all there is when it waits for more: %s",
  (at) => {
    const facts = { ...RESTARTED, startupWaitsFor: at };
    expect(hasReadItsLog(facts)).toBe(true);
    expect(isLogWhole(facts, END)).toBe(true);
  },
);

test("is not called all there is while its replay is paused, nor when that goes on", () => {
  const paused = { ...RESTARTED, startupWaitsFor: "RecoveryPause" };
  expect(hasReadItsLog(paused)).toBe(true);
  expect(isLogWhole(paused, END)).toBe(false);
  // It has taken up its own log again, whose end it has not seen.
  expect(isLogWhole({ ...RESTARTED, startupWaitsFor: null }, END)).toBe(false);
  // It is not always caught waiting.
  expect(isLogWhole({ ...RESTARTED, startupWaitsFor: null }, END, true)).toBe(true);
  expect(isLogWhole({ ...RESTARTED, startupWaitsFor: "RecoveryApplyDelay" }, END)).toBe(false);
});

test("is all there is once it has received, as far as that is on the timeline that it replays", () => {
  expect(isLogWhole({ ...RESTARTED, received: "0/3000000" }, END)).toBe(true);
  expect(isLogWhole({ ...RESTARTED, received: "0/4000000" }, END)).toBe(false);
  expect(isLogWhole({ ...RESTARTED, received: "0/3000000", identified: null }, END)).toBe(false);
});

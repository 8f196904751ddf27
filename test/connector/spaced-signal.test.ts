import { expect, test } from "vitest";
import { SpacedSignal } from "../../agent/connector/spaced-signal.ts";
import { inTime } from "./peers.ts";

test("the first signal passes at once, those that come too early follow as one", async () => {
  const atMs: number[] = [];
  const second = Promise.withResolvers<void>();
  const signal = new SpacedSignal(40, () => {
    if (atMs.push(performance.now()) === 2) second.resolve();
  });
  signal.raise();
  expect(atMs.length).toBe(1);
  for (let early = 0; early < 5; early += 1) signal.raise();
  expect(atMs.length).toBe(1);
  await inTime(second.promise, "the signal that was owed");
  expect((atMs[1] ?? 0) - (atMs[0] ?? 0)).toBeGreaterThanOrEqual(39);
  signal.close();
  expect(atMs.length).toBe(2);
});

test("nothing is signalled after the close", async () => {
  let signals = 0;
  const signal = new SpacedSignal(10, () => {
    signals += 1;
  });
  signal.raise();
  signal.raise();
  signal.close();
  // A timer that is due after the one that was cancelled: the loop fires them in that order.
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(signals).toBe(1);
});

/**
 * Operators who change what is promised, in both directions and at any moment: what was acknowledged while others had to
 * have it is on every later primary.
 */
import { expect, test } from "vitest";
import { CHANGING_DURABILITY } from "../../sim/changing-durability.ts";
import { runSeed } from "../../sim/run.ts";

const SEEDS = 25;

test.each(Object.entries(CHANGING_DURABILITY))("%s: nothing is broken", { timeout: 120_000 }, (_, scenario) => {
  const told = { promised: 0, withdrawn: 0, interrupted: 0 };
  const broken: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { trace, violation } = runSeed(seed, { scenario });
    const count = (what: RegExp) => trace.filter((line) => what.test(line)).length;
    told.promised += count(/"kind":"durability-changed","op":\d+,"to":"sync"/);
    told.withdrawn += count(/"kind":"durability-changed","op":\d+,"to":"async"/);
    told.interrupted += count(/"kind":"durability-(unchanged|awaited)"/);
    if (violation) broken.push(`${seed}: ${violation.rule} ${violation.what}`);
  }
  expect(broken).toEqual([]);
  // Both directions come to their end, and are cut short, often enough to be judged.
  expect(Math.min(told.promised, told.withdrawn)).toBeGreaterThan(SEEDS / 4);
  expect(told.interrupted).toBeGreaterThan(0);
});

/** In the worlds that have a name the whole machines hold: a fault that is caught there is caught for itself. */
import { expect, test } from "vitest";
import { runSeed } from "../../sim/run.ts";
import { WORLDS } from "../../sim/worlds.ts";

const SEEDS = 12;
/** Once broken in these worlds. */
const BROKEN: Record<string, number[]> = { "synchronous-two": [1, 52, 93], switches: [42] };

test.each(Object.entries(WORLDS))("%s: nothing is broken", { timeout: 120_000 }, (world, scenario) => {
  const seeds = new Set([...Array.from({ length: SEEDS }, (_, index) => index + 1), ...(BROKEN[world] ?? [])]);
  const broken = [...seeds].flatMap((seed) => {
    const { violation } = runSeed(seed, { scenario });
    return violation ? [[seed, violation.rule, violation.what]] : [];
  });
  expect(broken).toEqual([]);
});

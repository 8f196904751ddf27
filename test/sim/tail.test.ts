/** Primaries that die with much that they have sent to nobody, under agents that live. */
import { beforeAll, describe, expect, test } from "vitest";
import { FAIR_WEATHER } from "../../sim/network.ts";
import { runSeed, type Outcome } from "../../sim/run.ts";
import type { Scenario } from "../../sim/scenario.ts";

const SEEDS = 40;
const CRASHES: Partial<Scenario> = {
  primaryServes: true,
  durability: "async",
  onlyCoordinatorFailsFromMs: null,
  isUntimely: false,
  weather: FAIR_WEATHER,
  chaosFromMs: 4_000,
  chaosUntilMs: 30_000,
  faultEveryMs: 6_000,
  faults: ["server-crash"],
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  streamsTakeMs: 300,
  readsTails: true,
};

function outcomesOf(scenario: Partial<Scenario>): Outcome[] {
  return Array.from({ length: SEEDS }, (_, index) => runSeed(index + 1, { scenario: { ...CRASHES, ...scenario } }));
}

function told(outcomes: Outcome[], text: string): number {
  return outcomes.reduce((sum, { trace }) => sum + trace.filter((line) => line.includes(text)).length, 0);
}

/** In how many runs something was lost: how much depends on who was the last, and how far behind. */
function losing(outcomes: Outcome[]): number {
  return outcomes.filter(({ lost }) => lost > 0).length;
}

describe("primaries that die with a tail", () => {
  let salvaging: Outcome[];
  let without: Outcome[];
  beforeAll(() => {
    salvaging = outcomesOf({});
    without = outcomesOf({ readsTails: false });
  }, 60_000);

  test("break no rule", () => {
    const violations = [...salvaging, ...without].flatMap(({ seed, violation }) =>
      violation ? [[seed, violation]] : [],
    );
    expect(violations).toEqual([]);
  });

  test("lose something where it cannot be read, hardly ever where it can, and say so", () => {
    expect(told(salvaging, '"kind":"tail-salvaged"')).toBeGreaterThan(20);
    expect(losing(without)).toBeGreaterThan(20);
    const untold = salvaging.filter(
      ({ trace, lost }) => lost > 0 && !trace.some((line) => line.includes("possible-loss")),
    );
    expect(untold.map(({ seed, lost }) => [seed, lost])).toEqual([]);
    expect(losing(salvaging)).toBeLessThan(losing(without) / 4);
  });
});

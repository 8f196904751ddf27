import { describe, expect, it } from "vitest";
import { runSeed, type Alterations } from "../../sim/run.ts";
import { MUTANTS } from "./mutants.ts";

const SEEDS = 300;
/** Every mutant must fall within so many seeds. */
const MUTANT_SEEDS = 300;
/** Where the hunt for a mutant begins that falls rarely. */
const HUNT_FROM: Record<string, number> = { "a member obeys late replies and lower operations": 400 };

describe("the real machines", () => {
  it(`hold every rule in ${SEEDS} seeds, and each seed is one and the same story twice`, { timeout: 120_000 }, () => {
    const broken: string[] = [];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const { violation, trace } = runSeed(seed);
      if (violation) broken.push(`seed ${seed}: ${violation.rule}: ${violation.what}`);
      const again = runSeed(seed).trace;
      if (again.length !== trace.length || again.some((line, index) => line !== trace[index])) {
        broken.push(`seed ${seed}: two runs differ`);
      }
    }
    expect(broken).toEqual([]);
  });

  it(
    "are really attacked: the seeds hold failovers and lost writes, and mostly end with a primary",
    { timeout: 60_000 },
    () => {
      const outcomes = Array.from({ length: 100 }, (_, index) => runSeed(index + 1));
      const epochs = outcomes.reduce((sum, outcome) => sum + outcome.epochs, 0);
      expect(epochs).toBeGreaterThan(150);
      expect(outcomes.filter((outcome) => outcome.rest.kind === "reigning").length).toBeGreaterThan(90);
      expect(outcomes.some((outcome) => outcome.acknowledged > 0 && outcome.lost > 0)).toBe(true);
    },
  );
});

describe("machines with one rule less", () => {
  for (const [name, machines] of Object.entries(MUTANTS)) {
    it(`are caught: ${name}`, { timeout: 120_000 }, () => {
      expect(firstBroken(HUNT_FROM[name] ?? 1, { machines })).not.toBeNull();
    });
  }
});

describe("a world with one duty less", () => {
  it("is caught when promotions reserve no timeline numbers", { timeout: 120_000 }, () => {
    expect(firstBroken(300, { scenario: { reservesTimelines: false } })).toMatch(/^(G5|L1)$/);
  });
});

/** The first rule that is broken from seed `from` on; null when none is. */
function firstBroken(from: number, alterations: Alterations): string | null {
  for (let seed = from; seed < from + MUTANT_SEEDS; seed += 1) {
    const { violation } = runSeed(seed, alterations);
    if (violation) return violation.rule;
  }
  return null;
}

/** A simulator that attacks nothing proves nothing: what its seeds must hold. */
import { describe, expect, test } from "vitest";
import { runSeed, type Outcome } from "../../sim/run.ts";
import type { Scenario } from "../../sim/scenario.ts";

const BY_FORCE: Partial<Scenario> = {
  faults: [
    "operator-force",
    "operator-force",
    "agent-partition",
    "server-partition",
    "server-crash",
    "operator-recover",
  ],
  faultEveryMs: 1_000,
  chaosFromMs: 2_000,
  chaosUntilMs: 30_000,
  onlyCoordinatorFailsFromMs: null,
};

const outcomes: Outcome[] = Array.from({ length: 230 }, (_, index) => runSeed(index + 1));

/** Operators who vouch and welcome by force: rare enough in the seeds to be looked for in a world of their own. */
const byForce: Outcome[] = Array.from({ length: 100 }, (_, index) => runSeed(index + 1, { scenario: BY_FORCE }));

/** How many seeds' traces tell of something. */
function seedsWith(text: string, among = outcomes): number {
  return among.filter(({ trace }) => trace.some((line) => line.includes(text))).length;
}

describe("the seeds", () => {
  test("hold failovers and lost writes, and mostly end with a primary", () => {
    expect(outcomes.reduce((sum, { epochs }) => sum + epochs, 0)).toBeGreaterThan(300);
    expect(outcomes.filter(({ rest }) => rest.kind === "reigning").length).toBeGreaterThan(120);
    expect(outcomes.some(({ acknowledged, lost }) => acknowledged > 0 && lost > 0)).toBe(true);
  });

  test.each([
    "switch-completed",
    "switch-rolled-back",
    '"step":"stopping"',
    "recovery-completed",
    "recovery-rebuilt",
    "policy-changed",
    "upstream-asked",
    '"proof":"expired"',
    "possible-loss",
    "withheld",
  ])("hold %s", (text) => {
    expect(seedsWith(text)).toBeGreaterThan(1);
  });
});

describe("the seeds of operators who use force", () => {
  test.each(['"proof":"asserted"', "recovery-failed", "failover-aborted"])("hold %s", (text) => {
    expect(seedsWith(text, byForce)).toBeGreaterThan(1);
  });

  test("break nothing", () => {
    expect(
      byForce.flatMap(({ seed, violation }) => (violation ? [[seed, violation.rule, violation.what]] : [])),
    ).toEqual([]);
  });
});

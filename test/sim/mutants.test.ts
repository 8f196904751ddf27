/** The power of the checkers: whatever lacks a rule is caught, and by which of them is said here. */
import { describe, expect, test } from "vitest";
import { FAIR_WEATHER } from "../../sim/network.ts";
import type { Alterations } from "../../sim/run.ts";
import type { Scenario } from "../../sim/scenario.ts";
import { MUTANTS } from "./mutants.ts";
import { firstBroken } from "./sound.ts";

interface Hunt {
  /** Where the hunt begins: some mutants fall rarely. */
  from: number;
  /** The checkers that may be the first to see it. */
  by: string[];
  scenario?: Partial<Scenario>;
}

/** Within so many seeds every mutant must fall. */
const SEEDS = 700;

/** Operators that change their minds, and agents that do not hear of it for a while. */
const POLICIES: Partial<Scenario> = {
  weather: FAIR_WEATHER,
  faults: ["operator-policy", "operator-policy", "agent-partition", "agent-partition"],
  faultEveryMs: 2_500,
  chaosFromMs: 2_000,
  chaosUntilMs: 60_000,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  // The question to the upstream is a second net under this rule.
  answersUpstream: false,
};

/** Leases that run out, again and again, with nobody to promise anything and no second net under them. */
const AT_THE_END: Partial<Scenario> = {
  weather: FAIR_WEATHER,
  durability: "async",
  onlyCoordinatorFailsFromMs: null,
  faults: ["last-word"],
  faultEveryMs: 6_000,
  chaosFromMs: 3_000,
  chaosUntilMs: 45_000,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  answersUpstream: false,
  hasGuardian: false,
  hasTunnel: false,
  hasLateReplies: true,
};

/** Nobody but the kernel ends the right to write of a host whose agent is dead or stands still. */
const BEHIND_DOORS: Partial<Scenario> = {
  hasLeaseDoor: true,
  hasGuardian: false,
  onlyCoordinatorFailsFromMs: null,
  durability: "async",
  faults: ["agent-partition", "agent-crash", "agent-pause", "last-word"],
  faultEveryMs: 2_000,
  taskFailureP: 0,
};

const HUNTS: Record<keyof typeof MUTANTS, Hunt> = {
  "the coordinator believes its own clock alone": { from: 150, by: ["G1"] },
  "the coordinator waits for the lease, not for the fence": { from: 1, by: ["G1"], scenario: AT_THE_END },
  "the holder counts its lease from the receipt of the reply": { from: 1, by: ["G1"], scenario: AT_THE_END },
  "the holder takes the smallest of its clocks": { from: 1, by: ["G1", "L1"] },
  "a member obeys late replies and lower operations": { from: 100, by: ["G3", "L1", "switch"] },
  "what a member vouched for is not synced": { from: 1, by: ["G3"] },
  "an epoch is called released as soon as its fence begins": { from: 1, by: ["G3"] },
  "a switch crowns its target without a look at what the old primary wrote last": { from: 1, by: ["switch"] },
  "a lease without an end has one as soon as MAINTENANCE is over": { from: 1, by: ["G1"], scenario: POLICIES },
  "a reopening in MAINTENANCE that fails hands over": { from: 2050, by: ["policy"] },
  "nobody's log is compared with the line that reigns": { from: 1400, by: ["G5", "L1"] },
  "a member says that it has a door, and there is none": { from: 1, by: ["G1"], scenario: BEHIND_DOORS },
  "a door is set for a whole lease from when it is set": { from: 60, by: ["G1"], scenario: BEHIND_DOORS },
};

describe("machines with one rule less", () => {
  test("are all hunted", () => {
    expect(Object.keys(HUNTS)).toEqual(Object.keys(MUTANTS));
  });

  for (const [name, machines] of Object.entries(MUTANTS)) {
    test(`are caught: ${name}`, { timeout: 240_000 }, () => {
      const { from, by, scenario = {} } = HUNTS[name] ?? { from: 1, by: [] };
      // Behind a door in the kernel less can go wrong: who lacks a rule must be caught where there is none.
      const alterations: Alterations = { machines, scenario: { hasLeaseDoor: false, ...scenario } };
      expect(by).toContain(firstBroken({ from, seeds: SEEDS }, alterations)?.rule);
    });
  }

  test(
    "are caught by nothing but their lack: the whole machines hold in the same altered world",
    { timeout: 120_000 },
    () => {
      expect(firstBroken({ from: 1, seeds: 40 }, { scenario: POLICIES })).toBeNull();
      expect(firstBroken({ from: 1, seeds: 40 }, { scenario: AT_THE_END })).toBeNull();
      expect(firstBroken({ from: 1, seeds: 100 }, { scenario: BEHIND_DOORS })).toBeNull();
    },
  );
});

describe("a world with one duty less", () => {
  test("is caught when promotions reserve no timeline numbers", { timeout: 240_000 }, () => {
    const broken = firstBroken(
      { from: 300, seeds: SEEDS },
      { scenario: { reservesTimelines: false, hasLeaseDoor: false } },
    );
    expect(["G5", "L1"]).toContain(broken?.rule);
  });
});

/** What promises are worth: the safety of a primary that the coordinator does not hear rests on the members alone. */
import { expect, test } from "vitest";
import { FAIR_WEATHER } from "../../sim/network.ts";
import { REAL_MACHINES, type Machines } from "../../sim/machines.ts";
import { runSeed } from "../../sim/run.ts";
import type { Scenario } from "../../sim/scenario.ts";

const { cluster, member } = REAL_MACHINES;
const SEEDS = 15;

/** Agents are cut off from the coordinator, one after the other, and no other net is spread below. */
const CUT_OFF: Partial<Scenario> = {
  durability: "async",
  weather: FAIR_WEATHER,
  faults: ["agent-partition"],
  faultEveryMs: 6_000,
  chaosFromMs: 3_000,
  chaosUntilMs: 60_000,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  hasGuardian: true,
  hasTunnel: false,
  answersUpstream: false,
  isUntimely: false,
  onlyCoordinatorFailsFromMs: null,
};

/** Hears of no promise. */
const deaf: Machines["cluster"] = {
  ...cluster,
  step: (state, event) =>
    cluster.step(state, event.kind === "poll" ? { ...event, poll: { ...event.poll, promises: [] } } : event),
};

/** Forgets what it has promised at once. */
const faithless: Machines["member"] = {
  ...member,
  step: (state, event) => {
    const result = member.step(state, event);
    const { promise } = result.state.durable;
    if (!promise) return result;
    const durable = { ...result.state.durable, promise: { ...promise, bindsMs: 0 } };
    return { ...result, state: { ...result.state, durable } };
  },
};

function runAll(machines: Machines) {
  let refusals = 0;
  const broken = new Set<string>();
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { trace, violation } = runSeed(seed, { machines, scenario: CUT_OFF });
    refusals += trace.filter((line) => line.includes('"code":"promised"')).length;
    if (violation) broken.add(violation.rule);
  }
  return { refusals, broken: [...broken] };
}

test("a coordinator that hears of promises crowns nobody in vain", { timeout: 60_000 }, () => {
  expect(runAll({ cluster, member })).toEqual({ refusals: 0, broken: [] });
});

test(
  "a coordinator that hears of none crowns in vain, and there is one writer all the same",
  { timeout: 60_000 },
  () => {
    const { refusals, broken } = runAll({ cluster: deaf, member });
    expect(refusals).toBeGreaterThan(0);
    expect(broken).toEqual([]);
  },
);

test("members that do not keep their promises are caught", { timeout: 60_000 }, () => {
  expect(runAll({ cluster: deaf, member: faithless }).broken).toContain("G1");
});

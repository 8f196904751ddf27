/**
 * Copied machines: beside a member there is suddenly another with its agent's state and its server, its disk only or its
 * memory too, that speaks in its name. No two servers write but the two of one copy of an open one.
 */
import { expect, test } from "vitest";
import { COPIED_MACHINES } from "../../sim/copied-machines.ts";
import { REAL_MACHINES, type Machines } from "../../sim/machines.ts";
import { runSeed } from "../../sim/run.ts";

const { cluster, member } = REAL_MACHINES;
const SEEDS = 25;

/** Never asks where an agent's state lies. */
const trusting: Machines["cluster"] = {
  ...cluster,
  step: (state, event) =>
    cluster.step(state, event.kind === "poll" ? { ...event, poll: { ...event.poll, place: null } } : event),
};

function runAll(machines: Machines) {
  const told = { copies: 0, forks: 0 };
  const broken: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { trace, violation } = runSeed(seed, { machines, scenario: COPIED_MACHINES });
    told.copies += trace.filter((line) => line.includes("fault agent-cloned")).length;
    told.forks += trace.filter((line) => line.includes('"kind":"identity-forked","host"')).length;
    if (violation) broken.push(`${seed}: ${violation.rule} ${violation.what}`);
  }
  return { told, broken };
}

test("write nothing beside another member, and are settled by an operator", { timeout: 120_000 }, () => {
  const { told, broken } = runAll({ cluster, member });
  expect(broken).toEqual([]);
  expect(told.copies).toBeGreaterThan(SEEDS);
  expect(told.forks).toBeGreaterThan(SEEDS / 5);
});

test("become second writers where nobody asks where they are", { timeout: 120_000 }, () => {
  const { broken } = runAll({ cluster: trusting, member });
  expect(broken.some((what) => what.includes("G1"))).toBe(true);
});

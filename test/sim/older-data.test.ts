/**
 * Older copies: the data directory of a replica, or of the primary, is put back to what it was seconds before, and its
 * agent remembers. Nobody is opened on what is left, and of no other server is it said.
 */
import { expect, test } from "vitest";
import type { Machines } from "../../sim/machines.ts";
import { REAL_MACHINES } from "../../sim/machines.ts";
import { olderData } from "../../sim/older-data.ts";
import { runSeed } from "../../sim/run.ts";

const { cluster, member } = REAL_MACHINES;
const SEEDS = 60;

/** Hears of no mark, and sees no log to its end. */
const forgetful: Machines["cluster"] = {
  ...cluster,
  step: (state, event) => {
    const hosts = Object.entries(state.live.hosts).map(([name, host]) => [name, { ...host, furthest: null }]);
    const unmarked = { ...state, live: { ...state.live, hosts: Object.fromEntries(hosts) } };
    if (event.kind !== "poll" || !event.poll.server) return cluster.step(unmarked, event);
    const server = { ...event.poll.server, furthest: null };
    return cluster.step(unmarked, { ...event, poll: { ...event.poll, server } });
  },
};

function runAll(machines: Machines) {
  const told = { putBack: 0, lost: 0, regained: 0, reigning: 0 };
  const broken: string[] = [];
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const { trace, violation, rest } = runSeed(seed, { machines, scenario: olderData(seed) });
    told.putBack += trace.filter((line) => line.includes("data directory put back")).length;
    told.lost += trace.filter((line) => line.includes('"kind":"log-lost","member"')).length;
    told.regained += trace.filter((line) => line.includes('"kind":"log-regained"')).length;
    told.reigning += rest.kind === "reigning" ? 1 : 0;
    if (violation) broken.push(`${seed}: ${violation.rule} ${violation.what}`);
  }
  return { told, broken };
}

test("are opened by nobody, and nothing is said of any other", { timeout: 120_000 }, () => {
  const { told, broken } = runAll({ cluster, member });
  expect(broken).toEqual([]);
  expect(told.lost).toBeGreaterThan(SEEDS / 2);
  expect(told.regained).toBeGreaterThan(SEEDS / 4);
  expect(told.reigning).toBeGreaterThan(SEEDS / 3);
});

test("are opened where nobody asks how far they had come", { timeout: 120_000 }, () => {
  const { broken } = runAll({ cluster: forgetful, member });
  expect(broken.some((what) => what.includes("older"))).toBe(true);
});

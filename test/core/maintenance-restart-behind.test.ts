/**
 * Throws "the phase does not settle" at every poll from then on (nothing is persisted any more): outside AUTOMATIC the last
 * holder comes back, its crowning is aborted at once (candidates-diverged, loss-exceeds-limit), and the vacancy begins the same search
 * again within the step. `holdersReturn` in vacancy.ts does not ask `needsPerson`.
 */
import { describe, expect, test } from "vitest";
import { ask, epochOf, IN_RECOVERY, pass, poll, position, releasedPatch, STOPPED } from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { restartCoordinator } from "./living.ts";

describe.each([
  ["maintenance", "server-died"],
  ["manual", "lease-lost"],
] as const)("in %s, after %s", (policy, releaseCause) => {
  test("a last primary that comes back without much of its log waits for a person", () => {
    const cluster = phases["reigning-opened"]();
    ask(cluster, { kind: "set-policy", policy });
    for (const host of ["db3", "db4"]) poll(cluster, host, { server: { report: STOPPED } });
    pass(cluster, 50);
    // Of how far its log once reached nothing is left but what was kept with its lease.
    restartCoordinator(cluster);
    for (const host of ["db3", "db4"]) poll(cluster, host);
    const server = {
      phase: "closed",
      report: IN_RECOVERY,
      receiver: { state: "none" },
      position: position("0/2000000"),
    } as const;
    const back = { ...releasedPatch(epochOf(cluster)), releaseCause, server };
    poll(cluster, "db2", back);
    for (let polls = 0; polls < 10; polls += 1) {
      pass(cluster, 500);
      poll(cluster, "db2");
    }
    expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", code: "loss-exceeds-limit" });
  });
});

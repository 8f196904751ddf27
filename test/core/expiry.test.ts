/** `expired`: the whole wait has passed by the coordinator's own clock and by that of one agent that has run throughout. */
import { describe, expect, test } from "vitest";
import { freshLive } from "#shared/core/cluster/state.ts";
import {
  clocksAt,
  createdCluster,
  openPatch,
  pass,
  phaseOf,
  poll,
  ROUTER,
  runningCluster,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";

/** The lease of db1 was granted at this moment, and the router host has heard a nonce that was issued after it. */
function granted(): Cluster {
  const cluster = runningCluster();
  poll(cluster, "db1", openPatch(1));
  poll(cluster, ROUTER);
  return cluster;
}

describe("a lease has expired", () => {
  test("when both clocks say so", () => {
    const cluster = granted();
    pass(cluster, WAIT_MS - 1);
    poll(cluster, ROUTER);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
    pass(cluster, 1);
    poll(cluster, ROUTER);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 1, proof: "expired" });
  });

  test.each(["monoMs", "bootMs", "wallMs"] as const)("not while one clock of the witness is behind: %s", (clock) => {
    const cluster = granted();
    pass(cluster, WAIT_MS + 500);
    const clocks = clocksAt(cluster.atMs);
    poll(cluster, ROUTER, { clocks: { ...clocks, [clock]: clocks[clock] - 501 } });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
    pass(cluster, 10);
    poll(cluster, ROUTER, { clocks: { ...clocksAt(cluster.atMs), [clock]: clocks[clock] - 500 } });
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired" });
  });

  test("not while the coordinator's own clock is behind", () => {
    const cluster = granted();
    pass(cluster, WAIT_MS - 100);
    poll(cluster, ROUTER, { clocks: clocksAt(cluster.atMs + 10_000) });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
  });

  test("by no witness that was started again meanwhile", () => {
    const cluster = granted();
    pass(cluster, WAIT_MS);
    poll(cluster, ROUTER, { startCount: 2, seq: 1, nonce: null, nonceClocks: null });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
    pass(cluster, WAIT_MS - 1);
    poll(cluster, ROUTER);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
    pass(cluster, 1);
    poll(cluster, ROUTER);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired" });
  });

  test("by no witness that has heard nothing since the last grant", () => {
    const cluster = granted();
    pass(cluster, 4_000);
    poll(cluster, "db1", openPatch(1));
    pass(cluster, WAIT_MS);
    // It returns a nonce of before that grant.
    poll(cluster, ROUTER);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
  });
});

test("two incarnations of a coordinator give out no nonce twice, whatever the wall clock said when they began", () => {
  const nonceOf = (generation: number) => {
    const cluster = createdCluster();
    cluster.state = { ...cluster.state, live: freshLive(generation, 0) };
    const { answer } = poll(cluster, ROUTER);
    return answer.kind === "reply" ? answer.reply.nonce : null;
  };
  expect(nonceOf(1)).not.toBe(nonceOf(2));
});

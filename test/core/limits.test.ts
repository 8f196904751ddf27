/** What a failover that nobody asked for may cost: bytes of the log, and how often. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { ask, openPatch, poll, position, releasedPatch, runningCluster, type Cluster } from "./builders.ts";
import { listen, reasonsOf, refusalOf, type Told } from "./listening.ts";
import { further, killServer, live } from "./living.ts";
import { REPLICAS, round, synchronous, talk } from "./synchronous.ts";

const { maxLossBytes, budgetWindowMs } = DEFAULT_SETTINGS;
const AT = "0/3000000";

function phaseOf({ state }: Cluster) {
  return state.durable.phase;
}

/** db1 had written so many bytes more than anybody received when it died. */
function lacking(bytes: number, cluster = runningCluster()): { cluster: Cluster; told: Told } {
  poll(cluster, "db1", { ...openPatch(1), server: { ...openPatch(1).server, position: position(further(AT, bytes)) } });
  const told = listen(cluster);
  poll(cluster, "db1", releasedPatch(1));
  for (const host of REPLICAS) talk(cluster, host, { server: { receiver: { state: "ended", upstream: "db1" } } });
  return { cluster, told };
}

describe("what would be lost", () => {
  test("stops nobody up to the limit, and is told", () => {
    const { cluster, told } = lacking(maxLossBytes);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
    expect(reasonsOf(told, "possible-loss")).toMatchObject([{ bytes: maxLossBytes }]);
  });

  test("beyond the limit is for a person to accept, whose failover goes on with it", () => {
    const { cluster, told } = lacking(maxLossBytes + 1);
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "loss-exceeds-limit" });
    live(cluster, 5_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "loss-exceeds-limit" });
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }))).toBe("accepted");
    live(cluster, 2_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
    expect(reasonsOf(told, "possible-loss")).toContainEqual(expect.objectContaining({ bytes: maxLossBytes + 1 }));
  });

  test("was acknowledged to nobody where a sync set is in force: no limit holds", () => {
    const cluster = synchronous();
    round(cluster);
    lacking(maxLossBytes + 1, cluster);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
  });
});

describe("the budget of failovers", () => {
  /** One failover is what there is, and it is spent: db2 has succeeded db1, and its server dies as well. */
  function spent(): Cluster {
    const cluster = runningCluster();
    const { durable } = cluster.state;
    cluster.state = { ...cluster.state, durable: { ...durable, settings: { ...durable.settings, budget: 1 } } };
    killServer(cluster, "db1");
    live(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", opened: true });
    killServer(cluster, "db2");
    live(cluster, 2_000);
    return cluster;
  }

  test("ends flapping, until its window has room again", () => {
    const cluster = spent();
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", epoch: 2, code: "failover-budget-spent" });
    live(cluster, budgetWindowMs - 10_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "failover-budget-spent" });
    live(cluster, 12_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 3, opened: true });
  });

  test("does not stand in an operator's way", () => {
    const cluster = spent();
    ask(cluster, { kind: "failover", to: null });
    live(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 3, opened: true });
  });
});

/** What a failover that nobody asked for may cost: bytes of the log, and how often. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  ask,
  IN_RECOVERY,
  openPatch,
  phaseOf,
  poll,
  position,
  releasedPatch,
  runningCluster,
  secondReign,
  setDurable,
  type Cluster,
} from "./builders.ts";
import { listen, reasonsOf, refusalOf, type Told } from "./listening.ts";
import { further, killServer, live } from "./living.ts";
import { endStreams, round, synchronous } from "./synchronous.ts";

const { maxLossBytes, budgetWindowMs } = DEFAULT_SETTINGS;
const AT = "0/3000000";

/** db1 had written so many bytes more than anybody received when it died. */
function lacking(bytes: number, cluster = runningCluster()): { cluster: Cluster; told: Told } {
  poll(cluster, "db1", { ...openPatch(1), server: { ...openPatch(1).server, position: position(further(AT, bytes)) } });
  const told = listen(cluster);
  poll(cluster, "db1", releasedPatch(1));
  endStreams(cluster);
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

test("what a member lacks that was welcomed by force is told, also where it has gone another way than the others", () => {
  const cluster = secondReign();
  ask(cluster, { kind: "set-policy", policy: "manual" });
  // The former primary holds what db2's reign does not, and nothing of db2's reign.
  const server = { phase: "closed", report: IN_RECOVERY, position: position("0/3000080") } as const;
  poll(cluster, "db1", { released: 1, attempted: 1, ownEpoch: 1, server });
  poll(cluster, "db2", releasedPatch(2));
  for (const host of ["db3", "db4"]) poll(cluster, host, { server: { receiver: { state: "ended", upstream: "db2" } } });
  ask(cluster, { kind: "datasource-welcome", member: "db1" }, { force: true });
  const told = listen(cluster);
  ask(cluster, { kind: "set-policy", policy: "automatic" });
  live(cluster, 1_000, { silent: ["db2"] });
  expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ epoch: 3, member: "db1", parent: 1 });
  // Both logs have all up to 0/3000000 in common; db3's reaches 0/3000100.
  expect(reasonsOf(told, "possible-loss")).toMatchObject([{ member: "db1", bytes: 0x100 }]);
});

describe("the budget of failovers", () => {
  /** One failover is what there is, and it is spent: db2 has succeeded db1, and its server dies as well. */
  function spent(): Cluster {
    const cluster = runningCluster();
    const { durable } = cluster.state;
    setDurable(cluster, { settings: { ...durable.settings, budget: 1 } });
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

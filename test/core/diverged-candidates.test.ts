/** Two candidates of which neither holds what the other does: whoever is chosen, somebody's writes are thrown away. */
import { expect, test } from "vitest";
import {
  ask,
  expiredCluster,
  frozenPatch,
  IN_RECOVERY,
  openPatch,
  poll,
  position,
  REPLICAS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { listen, reasonsOf } from "./listening.ts";
import { live, say } from "./living.ts";

/**
 * db2 was crowned and opened, and died before it could say so: it holds what it wrote in epoch 2. db3 holds what db1 wrote
 * behind the place where db2 went on.
 */
function parted(): Cluster {
  const cluster = expiredCluster();
  for (const host of REPLICAS) poll(cluster, host);
  for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
  expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", opened: false });
  say(cluster, "db2", {
    attempted: 2,
    ownEpoch: 2,
    released: 2,
    releaseCause: "server-died",
    leaseRemainingMs: null,
    server: { report: IN_RECOVERY, position: position("0/3000500", 2, [[1, "0/3000000"]]) },
  });
  say(cluster, "db3", { server: { position: position("0/3000800") } });
  return cluster;
}

test("stop a failover: they are named, and nobody is crowned", () => {
  const cluster = parted();
  const told = listen(cluster);
  live(cluster, 20_000, { silent: ["db1"] });
  expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", code: "candidates-diverged" });
  const [aborted, ...more] = reasonsOf(told, "failover-aborted");
  expect(aborted?.members.toSorted()).toEqual(["db2", "db3"]);
  expect(more).toEqual([]);
  expect(reasonsOf(told, "epoch-minted")).toEqual([]);
});

test.each([
  ["nobody", null, false],
  ["one of them", "db3", false],
  ["one of them by force", "db3", true],
])("stop an operator's failover that names %s, too", (_, to, force) => {
  const cluster = parted();
  live(cluster, 20_000, { silent: ["db1"] });
  expect(ask(cluster, { kind: "failover", to }, { force }).answer.kind).toBe("accepted");
  live(cluster, 5_000, { silent: ["db1"] });
  expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", code: "candidates-diverged" });
});

test("are chosen from by a person, who puts aside whose writes may be lost", () => {
  const cluster = parted();
  live(cluster, 20_000, { silent: ["db1"] });
  expect(ask(cluster, { kind: "datasource-shun", member: "db2" }).answer.kind).toBe("accepted");
  expect(ask(cluster, { kind: "failover", to: null }).answer.kind).toBe("accepted");
  live(cluster, 5_000, { silent: ["db1"] });
  expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db3", opened: true });
  expect(cluster.state.durable.members["db2"]).toMatchObject({ state: "shunned" });
});

test("are none where the log of one is all in that of the other", () => {
  const cluster = parted();
  const same: PollPatch = { server: { position: position("0/3000000") } };
  say(cluster, "db3", same);
  live(cluster, 20_000, { silent: ["db1"] });
  expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db2", opened: true });
  expect(openPatch(3).attempted).toBe(cluster.state.durable.epoch);
});

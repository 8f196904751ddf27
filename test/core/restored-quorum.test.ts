/** A restored coordinator whose newest epoch nobody is known to have opened: what it may have acknowledged is asked about. */
import { expect, test } from "vitest";
import { ask, endedPatch, frozenPatch, IN_RECOVERY, MEMBERS, pass, releasedPatch, type Cluster } from "./builders.ts";
import { openPatch, position, streamingPatch } from "./builders.ts";
import { restartCoordinator } from "./living.ts";
import { round, synchronous, talk } from "./synchronous.ts";

/** db1 reigned synchronously and its server has died; epoch 2 was minted for db2, which was told of it. */
function handedToDb2(): Cluster {
  const cluster = synchronous();
  round(cluster);
  talk(cluster, "db1", releasedPatch(1));
  for (let turn = 0; turn < 10 && cluster.state.durable.epoch < 2; turn += 1) {
    pass(cluster, 50);
    for (const host of ["db3", "db4", "db2"]) talk(cluster, host, endedPatch("db1"));
  }
  expect(cluster.state).toMatchObject({ durable: { epoch: 2, phase: { primary: "db2" } } });
  talk(cluster, "db2");
  expect(cluster.state.lease).toMatchObject({ member: "db2", epoch: 2 });
  return cluster;
}

function talkFor(cluster: Cluster, seconds: number, hosts: readonly string[]): void {
  for (let second = 0; second < seconds; second += 1) {
    pass(cluster, 1_000);
    for (const host of hosts)
      talk(cluster, host, cluster.state.durable.phase.kind === "collecting" ? frozenPatch(cluster) : {});
  }
}

test("the last that is known to have written did not begin it, and that says nothing of whom it was given to", () => {
  const cluster = handedToDb2();
  restartCoordinator(cluster);
  ask(cluster, { kind: "coordinator-restored" });
  talk(cluster, "db2", { epochSeen: 2, released: 2, releaseCause: "promotion-failed", leaseRemainingMs: null });
  for (let turn = 0; turn < 4; turn += 1) {
    pass(cluster, 500);
    for (const host of MEMBERS) talk(cluster, host);
  }
  const { phase, syncSets, restoration } = cluster.state.durable;
  expect({ phase, restoration }).toMatchObject({
    phase: { kind: "vacant", epoch: 2, deposed: "db1" },
    restoration: { kind: "unconfirmed" },
  });
  expect(syncSets).toMatchObject([{ epoch: 2, primary: "db1", k: 1 }]);
  // The hosts of db1 and of db3, which alone has acknowledged something, are gone.
  talkFor(cluster, 12, ["db2", "db4"]);
  ask(cluster, { kind: "set-policy", policy: "automatic" });
  ask(cluster, { kind: "failover", to: null });
  talkFor(cluster, 60, ["db2", "db4"]);
  expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "vacant", code: "read-quorum-missing" } });
});

test("its primary was given up for lost, and nobody is crowned without force who may lack what it had acknowledged", () => {
  const cluster = handedToDb2();
  const at = position("0/3000100", 2, [[1, "0/3000000"]]);
  pass(cluster, 50);
  talk(cluster, "db2", {
    ...openPatch(2),
    server: { ...openPatch(2).server, position: at, receiver: { state: "none" } },
  });
  const follow = { server: { ...streamingPatch("db2").server, report: IN_RECOVERY, position: at } };
  for (let turn = 0; turn < 3; turn += 1) {
    pass(cluster, 1_000);
    talk(cluster, "db2");
    for (const host of ["db3", "db4"]) talk(cluster, host, follow);
  }
  ask(cluster, { kind: "datasource-recover", member: "db1" });
  for (let turn = 0; turn < 3; turn += 1) talk(cluster, "db1", follow);
  round(cluster);
  restartCoordinator(cluster);
  ask(cluster, { kind: "coordinator-restored" });
  for (let turn = 0; turn < 9; turn += 1) {
    pass(cluster, 1_000);
    for (const host of ["db1", "db4"]) talk(cluster, host, endedPatch("db2"));
  }
  expect(ask(cluster, { kind: "coordinator-restored" }, { force: true }).answer.kind).toBe("accepted");
  talkFor(cluster, 3, ["db1", "db4"]);
  ask(cluster, { kind: "set-policy", policy: "automatic" });
  ask(cluster, { kind: "failover", to: null });
  talkFor(cluster, 60, ["db1", "db4"]);
  expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "vacant", code: "read-quorum-missing" } });
});

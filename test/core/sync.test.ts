/**
 * Sync sets: every set under which a write may have been acknowledged is asked about until another covers it, and a
 * silent primary is succeeded once its replicas have stopped acknowledging to it.
 */
import { describe, expect, test } from "vitest";
import { missingQuorums } from "#shared/core/cluster/sync.ts";
import { ask, frozenPatch, MEMBERS, pass, poll, position, releasedPatch, REPLICAS, setDurable } from "./builders.ts";
import { restartCoordinator } from "./living.ts";
import { endStreams, round, setsOf, synchronous, talk } from "./synchronous.ts";

const ALL = { k: 1, members: REPLICAS, isTaken: true };

describe("a set", () => {
  test("is stored in the step that tells it, and counts beside the one before", () => {
    const cluster = synchronous();
    pass(cluster, 1_000);
    for (const host of REPLICAS) talk(cluster, host);
    expect(setsOf(cluster)).toEqual([
      { k: 0, members: [], isTaken: false },
      { k: 1, members: REPLICAS, isTaken: false },
    ]);
  });

  test("is the only one when enough of its members hold what was acknowledged before it", () => {
    const cluster = synchronous();
    round(cluster);
    expect(setsOf(cluster)).toEqual([ALL]);
  });

  test("covers nothing while its members are behind the place where it was taken", () => {
    const cluster = synchronous();
    pass(cluster, 1_000);
    talk(cluster, "db1", { server: { position: position("0/4000000") } });
    talk(cluster, "db1");
    for (const host of REPLICAS) talk(cluster, host);
    expect(setsOf(cluster)).toHaveLength(2);
    talk(cluster, "db3", { server: { position: position("0/4000000") } });
    expect(setsOf(cluster)).toEqual([ALL]);
  });

  test("loses a member that has failed, and wins it back when it streams", () => {
    const cluster = synchronous();
    round(cluster);
    round(cluster, ["db4"]);
    round(cluster, ["db4"]);
    round(cluster, ["db4"]);
    expect(setsOf(cluster)).toEqual([{ ...ALL, members: ["db2", "db3"] }]);
    round(cluster);
    round(cluster);
    expect(setsOf(cluster)).toEqual([ALL]);
  });

  test("stays as it is when too few are left and writes are to wait", () => {
    const cluster = synchronous();
    round(cluster);
    for (let turn = 0; turn < 4; turn += 1) round(cluster, REPLICAS);
    expect(setsOf(cluster)).toEqual([ALL]);
  });

  test("asks nobody when too few are left and writes are to go on, and the one before still counts", () => {
    const cluster = synchronous({ onLoss: "degrade" });
    round(cluster);
    for (let turn = 0; turn < 4; turn += 1) round(cluster, REPLICAS);
    expect(setsOf(cluster)).toEqual([ALL, { k: 0, members: [], isTaken: true }]);
  });
});

describe("a failover", () => {
  test("reads one more than those who need not have acknowledged", () => {
    const cluster = synchronous();
    round(cluster);
    expect(missingQuorums(cluster.state, REPLICAS)).toEqual([]);
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
    expect(missingQuorums(cluster.state, ["db2"])).toMatchObject([{ missing: ["db3", "db4"] }]);
  });

  test("asks fewer where more must acknowledge", () => {
    const cluster = synchronous({ k: 2 });
    round(cluster);
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toEqual([]);
    expect(missingQuorums(cluster.state, ["db2"])).toMatchObject([{ missing: ["db3", "db4"] }]);
  });

  test("counts nobody whose data directory is another than the one that acknowledged", () => {
    const cluster = synchronous({ k: 2 });
    round(cluster);
    const { durable } = cluster.state;
    const db3 = durable.identities["db3"];
    if (!db3) throw new Error("no db3");
    const identities = { ...durable.identities, db3: { ...db3, incarnation: "laid-out-anew" } };
    setDurable(cluster, { identities });
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db3", "db4"] }]);
  });

  test("waits for the read quorum, and goes on when it is there", () => {
    const cluster = synchronous();
    round(cluster);
    poll(cluster, "db1", releasedPatch(1));
    endStreams(cluster, ["db2", "db3"]);
    pass(cluster, 5_000);
    for (const host of ["db2", "db3"]) talk(cluster, host);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting" });
    endStreams(cluster, ["db4"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2 });
  });

  test("does not count what was looked at before the reign was over: the stream may have come back for a moment", () => {
    const cluster = synchronous();
    round(cluster);
    // The agent of db4 looks while its stream is down, stands still, and speaks when the primary is dead.
    const early = {
      lookedAfter: cluster.polls["db4"]?.nonce ?? null,
      receiver: { state: "ended", upstream: "db1" },
    } as const;
    poll(cluster, "db1", releasedPatch(1));
    endStreams(cluster, ["db2", "db3"]);
    talk(cluster, "db4", { server: early });
    talk(cluster, "db4", { server: early });
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting" });
    endStreams(cluster, ["db4"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2 });
  });

  test("opens a successor with a set of its own, and the old one still counts", () => {
    const cluster = synchronous();
    round(cluster);
    poll(cluster, "db1", releasedPatch(1));
    endStreams(cluster);
    const { phase, syncSets } = cluster.state.durable;
    expect(phase).toMatchObject({ kind: "reigning", epoch: 2 });
    expect(syncSets.map(({ epoch, k }) => ({ epoch, k }))).toEqual([
      { epoch: 1, k: 1 },
      { epoch: 2, k: 1 },
    ]);
  });
});

describe("a primary that is silent", () => {
  test("is suspected after two seconds, and succeeded when too few are left to acknowledge to it", () => {
    const cluster = synchronous();
    round(cluster);
    pass(cluster, 2_000);
    talk(cluster, "db2");
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 1, isSuspected: true });
    talk(cluster, "db2", frozenPatch(cluster));
    talk(cluster, "db3", frozenPatch(cluster));
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 1 });
    talk(cluster, "db4", frozenPatch(cluster));
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2, proof: "revoked" });
  });

  test("is suspected by no incarnation that is younger than a lease: one that was replaced may still be answering it", () => {
    const cluster = synchronous();
    round(cluster);
    restartCoordinator(cluster);
    for (const host of MEMBERS) talk(cluster, host);
    for (const isSuspected of [false, true]) {
      pass(cluster, 2_000);
      for (const host of REPLICAS) talk(cluster, host);
      expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", isSuspected });
      // It lives, and its coordinator grows older.
      talk(cluster, "db1");
      round(cluster);
    }
  });

  test("is no longer suspected when it is heard, and its replicas follow it again", () => {
    const cluster = synchronous();
    round(cluster);
    pass(cluster, 2_000);
    talk(cluster, "db2");
    talk(cluster, "db2", frozenPatch(cluster));
    talk(cluster, "db1");
    expect(cluster.state.durable.phase).toMatchObject({ epoch: 1, isSuspected: false });
    pass(cluster, 50);
    poll(cluster, "db2");
    expect(cluster.state.durable.commands["db2"]).toMatchObject({ kind: "follow", upstream: { member: "db1" } });
  });

  test("is waited for outside AUTOMATIC", () => {
    const cluster = synchronous();
    round(cluster);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    pass(cluster, 3_000);
    talk(cluster, "db2");
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 1, isSuspected: false });
  });
});

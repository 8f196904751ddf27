/**
 * From asynchronous to synchronous and back: nothing is promised before it is kept, and what was promised is kept after it
 * has been taken back.
 */
import { describe, expect, test } from "vitest";
import { freshLive, type SyncPolicy } from "#shared/core/cluster/state.ts";
import { statusOf } from "#shared/core/cluster/status.ts";
import { isProtected, missingQuorums } from "#shared/core/cluster/sync.ts";
import {
  ask,
  frozenPatch,
  MEMBERS,
  pass,
  poll,
  position,
  releasedPatch,
  REPLICAS,
  runningCluster,
  type Cluster,
} from "./builders.ts";
import { refusalOf } from "./listening.ts";
import { endStreams, round, setsOf, synchronous, talk } from "./synchronous.ts";

const ONE: SyncPolicy = { k: 1, onLoss: "block" };
const AHEAD = position("0/4000000");

/** Asks for a durability; `null` is asynchronous. */
function set(cluster: Cluster, sync: SyncPolicy | null) {
  return ask(cluster, { kind: "set-durability", sync });
}

/** db1 reigns, asynchronously; the others are ONLINE and stream from it. */
function running(): Cluster {
  const cluster = runningCluster();
  round(cluster);
  return cluster;
}

function viewOf({ state }: Cluster) {
  const { durability, operation } = statusOf(state, "rome");
  return { ...durability, step: operation?.step ?? null };
}

function stepOf({ state }: Cluster) {
  return state.durable.durabilityChange?.step.kind ?? null;
}

function toldOf({ state }: Cluster): number[] {
  return MEMBERS.map((name) => state.durable.syncTold[name]?.k ?? -1);
}

/** db1 was told a set, and its server does not go by it yet. */
function armed(sync = ONE): Cluster {
  const cluster = running();
  set(cluster, sync);
  for (const host of REPLICAS) talk(cluster, host);
  for (const host of REPLICAS) talk(cluster, host);
  expect(stepOf(cluster)).toBe("arming");
  return cluster;
}

/** Synchronous, and one set in force. */
function settled(sync = ONE): Cluster {
  const cluster = armed(sync);
  round(cluster);
  expect(cluster.state.durable).toMatchObject({ durability: "sync", durabilityChange: null, operation: null });
  return cluster;
}

/** Asynchronous again; db1's server does not go by that yet. */
function withdrawn(): Cluster {
  const cluster = settled();
  expect(set(cluster, null).answer.kind).toBe("accepted");
  return cluster;
}

/** It does, from a place that nobody else has reached yet. */
function relaxed(): Cluster {
  const cluster = withdrawn();
  talk(cluster, "db1");
  talk(cluster, "db1", { server: { position: AHEAD } });
  expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null, operation: null });
  return cluster;
}

describe("from asynchronous to synchronous", () => {
  test("the replicas' servers come first, then the primary's, and it is promised when enough hold what was before", () => {
    const cluster = running();
    set(cluster, ONE);
    expect(viewOf(cluster)).toEqual({
      mode: "async",
      goal: "sync",
      k: 0,
      members: [],
      settled: false,
      step: "preparing",
    });
    expect(toldOf(cluster)).toEqual([-1, 1, 1, 1]);
    for (const host of REPLICAS) talk(cluster, host);
    for (const host of ["db2", "db3"]) talk(cluster, host);
    expect(stepOf(cluster)).toBe("preparing");
    talk(cluster, "db4");
    expect(stepOf(cluster)).toBe("arming");
    expect(toldOf(cluster)).toEqual([1, 1, 1, 1]);
    talk(cluster, "db1");
    talk(cluster, "db1", { server: { position: AHEAD } });
    expect(viewOf(cluster)).toMatchObject({ mode: "async", step: "covering" });
    expect(isProtected(cluster.state)).toBe(false);
    talk(cluster, "db3", { server: { position: AHEAD } });
    const members = REPLICAS;
    expect(viewOf(cluster)).toEqual({ mode: "sync", goal: "sync", k: 1, members, settled: true, step: null });
    expect(isProtected(cluster.state)).toBe(true);
  });

  test("a failover before it is promised asks nobody, and leaves everybody waiting for nobody", () => {
    const cluster = armed();
    talk(cluster, "db1");
    poll(cluster, "db1", releasedPatch(1));
    expect(missingQuorums(cluster.state, ["db3"])).toEqual([]);
    expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null, syncSets: [] });
    expect(toldOf(cluster)).toEqual([0, 0, 0, 0]);
  });

  test("it is taken back when the operator thinks better of it", () => {
    const cluster = armed();
    const { reasons } = set(cluster, null);
    expect(reasons).toContainEqual(
      expect.objectContaining({ kind: "durability-unchanged", code: "durability-superseded" }),
    );
    round(cluster);
    expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null, syncSets: [] });
    expect(toldOf(cluster)).toEqual([0, 0, 0, 0]);
  });

  test("it is taken back when fewer are left than are to acknowledge: no commit waits for a promise that nobody gave", () => {
    const cluster = armed({ k: 3, onLoss: "degrade" });
    talk(cluster, "db4", { server: { report: { state: "stopped" } } });
    expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null });
    expect(toldOf(cluster)).toEqual([0, 0, 0, 0]);
  });

  test("a member that fails meanwhile is left out, and one set is told after the other", () => {
    const cluster = armed();
    talk(cluster, "db1");
    talk(cluster, "db4", { server: { report: { state: "stopped" } } });
    expect(stepOf(cluster)).toBe("arming");
    expect(cluster.state.durable.syncTold["db1"]?.members).toEqual(["db2", "db3"]);
    round(cluster, ["db4"]);
    expect(viewOf(cluster)).toMatchObject({ mode: "sync", members: ["db2", "db3"] });
  });

  test("what does not come about within two minutes is given up", () => {
    const cluster = armed();
    const before = cluster.atMs;
    while (cluster.atMs < before + 119_000) {
      pass(cluster, 1_000);
      for (const host of MEMBERS) poll(cluster, host);
    }
    expect(stepOf(cluster)).toBe("arming");
    pass(cluster, 1_000);
    for (const host of MEMBERS) poll(cluster, host);
    expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null, operation: null });
  });

  test("a fresh incarnation goes on with it", () => {
    const cluster = armed();
    cluster.state = { ...cluster.state, live: freshLive(2, cluster.atMs) };
    cluster.atMs = 0;
    round(cluster);
    expect(viewOf(cluster)).toMatchObject({ mode: "sync", settled: true });
  });

  test("is refused, with what to do, where it could not be kept", () => {
    const cluster = running();
    expect(refusalOf(set(cluster, { k: 4, onLoss: "block" }))).toBe("target-not-eligible");
    talk(cluster, "db3", { server: { receiver: { state: "ended", upstream: "db1" } } });
    expect(set(cluster, { k: 3, onLoss: "degrade" }).answer).toMatchObject({
      refusal: { code: "target-not-eligible", detail: expect.stringContaining("`recover` db3 first") },
    });
    expect(refusalOf(set(cluster, { k: 2, onLoss: "block" }))).toBe("accepted");
    const vacant = running();
    ask(vacant, { kind: "set-policy", policy: "manual" });
    poll(vacant, "db1", releasedPatch(1));
    expect(refusalOf(set(vacant, ONE))).toBe("no-active-primary");
    expect(refusalOf(set(vacant, null))).toBe("no-active-primary");
  });
});

describe("from synchronous to asynchronous", () => {
  test("nothing more is promised at once, and what was acknowledged is still asked about", () => {
    const cluster = withdrawn();
    expect(viewOf(cluster)).toMatchObject({ mode: "async", goal: "async", settled: false, step: "relaxing" });
    expect(isProtected(cluster.state)).toBe(false);
    expect(setsOf(cluster)).toMatchObject([
      { k: 1, isTaken: true },
      { k: 0, isTaken: false },
    ]);
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
  });

  test("whoever holds the place from which nobody is waited for answers for all before", () => {
    const cluster = relaxed();
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
    talk(cluster, "db3", { server: { position: AHEAD } });
    expect(missingQuorums(cluster.state, ["db3"])).toEqual([]);
    expect(missingQuorums(cluster.state, ["db2"])).toMatchObject([{ missing: ["db3", "db4"] }]);
  });

  test("nobody has to be asked any more when every member holds it, not before", () => {
    const cluster = relaxed();
    for (const host of ["db2", "db3"]) talk(cluster, host, { server: { position: AHEAD } });
    expect(setsOf(cluster)).toHaveLength(2);
    talk(cluster, "db4", { server: { position: AHEAD } });
    expect(setsOf(cluster)).toEqual([]);
    expect(viewOf(cluster)).toMatchObject({ mode: "async", goal: "async", settled: true });
  });

  test("a member that may not be elected now is waited for like any other: it may be when it is back", () => {
    const cluster = relaxed();
    round(cluster, ["db4"]);
    round(cluster, ["db4"]);
    round(cluster, ["db4"]);
    expect(cluster.state.durable.electorate.members).not.toContain("db4");
    for (const host of ["db2", "db3"]) talk(cluster, host, { server: { position: AHEAD } });
    expect(setsOf(cluster)).toHaveLength(2);
  });

  test("a member whose log has left the line holds nothing, however far it reaches", () => {
    const cluster = relaxed();
    for (const host of ["db2", "db3"]) talk(cluster, host, { server: { position: AHEAD } });
    talk(cluster, "db4", { server: { position: AHEAD, receiver: { state: "ended", upstream: "db1" } } });
    expect(setsOf(cluster)).toHaveLength(2);
  });

  test("a successor needs what was acknowledged also after the next failover", () => {
    const cluster = withdrawn();
    poll(cluster, "db1", releasedPatch(1));
    endStreams(cluster);
    expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "reigning", primary: "db2" } });
    expect(missingQuorums(cluster.state, ["db3", "db4"])).toMatchObject([{ missing: ["db2"] }]);
    expect(toldOf(cluster)).toEqual([0, 0, 0, 0]);
  });

  test("however many reigns go by, what is stored stays little", () => {
    const cluster = withdrawn();
    const { durable } = cluster.state;
    const asked = durable.syncSets.find(({ k }) => k === 1);
    if (!asked) throw new Error("no set that asked anybody");
    const place = (version: number, lsn: string | null) => ({
      ...asked,
      version,
      k: 0,
      members: [],
      from: lsn === null ? null : position(lsn),
    });
    const syncSets = [asked, place(11, null), place(12, "0/2000000"), place(13, "0/2000100"), place(14, "0/2000200")];
    cluster.state = { ...cluster.state, durable: { ...durable, syncSets } };
    poll(cluster, "db1", releasedPatch(1));
    endStreams(cluster);
    expect(cluster.state.durable.syncSets.map(({ epoch, from }) => [epoch, from?.lsn ?? null])).toEqual([
      [1, asked.from?.lsn],
      [1, "0/2000000"],
      [1, "0/2000200"],
      [2, null],
    ]);
  });

  test("and back before it was in force: the older set counts until the new one has covered it", () => {
    const cluster = withdrawn();
    set(cluster, ONE);
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
    round(cluster);
    expect(viewOf(cluster)).toMatchObject({ mode: "sync", settled: true });
    expect(setsOf(cluster)).toHaveLength(1);
  });

  test("a change that is taken back tells the primary to wait for nobody, though it had been told so before", () => {
    const cluster = relaxed();
    set(cluster, ONE);
    round(cluster, ["db1"]);
    expect(toldOf(cluster)[0]).toBe(1);
    set(cluster, null);
    expect(toldOf(cluster)[0]).toBe(0);
  });

  test("a primary is suspected no more, and its replicas follow it again", () => {
    const cluster = synchronous();
    round(cluster);
    pass(cluster, 2_000);
    talk(cluster, "db2");
    talk(cluster, "db2", frozenPatch(cluster));
    expect(cluster.state.durable.phase).toMatchObject({ isSuspected: true });
    // As a restored coordinator may find it.
    cluster.state = { ...cluster.state, durable: { ...cluster.state.durable, durability: "async" } };
    talk(cluster, "db2");
    expect(cluster.state.durable.phase).toMatchObject({ isSuspected: false });
  });
});

describe("another number of acknowledgements", () => {
  test("is promised when the set that asks for it is the only one", () => {
    const cluster = settled();
    set(cluster, { k: 2, onLoss: "degrade" });
    expect(viewOf(cluster)).toMatchObject({ mode: "sync", step: "adjusting" });
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
    round(cluster);
    expect(viewOf(cluster)).toMatchObject({ mode: "sync", k: 2, settled: true, step: null });
  });
});

/** Everybody polls twice: so that the second word is said after the first answer. */
function report(cluster: Cluster): void {
  for (let turn = 0; turn < 2; turn += 1) {
    pass(cluster, 500);
    for (const host of MEMBERS) poll(cluster, host);
  }
}

/** The coordinator's storage becomes what it was in `past`. */
function restore(cluster: Cluster, past: Cluster): void {
  cluster.state = { ...past.state, live: freshLive(2, cluster.atMs) };
  cluster.atMs = 0;
}

describe("a coordinator that was restored", () => {
  test("to a time before it was synchronous learns that it is, from what members keep", () => {
    const cluster = settled({ k: 2, onLoss: "degrade" });
    restore(cluster, running());
    report(cluster);
    expect(cluster.state.durable).toMatchObject({
      durability: "sync",
      syncPolicy: { k: 2, onLoss: "degrade" },
      syncSets: [{ version: 0, k: 1 }, {}],
    });
  });

  test("to a time when it was synchronous learns that it is no more, and still asks who may hold what was acknowledged", () => {
    const cluster = settled();
    const past: Cluster = { ...cluster };
    set(cluster, null);
    round(cluster);
    expect(setsOf(cluster)).toEqual([]);
    restore(cluster, past);
    report(cluster);
    expect(cluster.state.durable).toMatchObject({ durability: "async", restoration: { kind: "unconfirmed" } });
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toMatchObject([{ missing: ["db4"] }]);
    round(cluster);
    expect(setsOf(cluster)).toEqual([]);
  });

  test("has forgotten a change that was under way: nothing is promised, and nobody is waited for", () => {
    const cluster = armed();
    restore(cluster, running());
    report(cluster);
    round(cluster);
    expect(cluster.state.durable).toMatchObject({ durability: "async", durabilityChange: null, syncSets: [] });
    expect(toldOf(cluster)).toEqual([0, 0, 0, 0]);
  });

  test("commands nobody with a number below that of an operation that it has forgotten", () => {
    const cluster = running();
    ask(cluster, { kind: "datasource-shun", member: "db3" });
    ask(cluster, { kind: "datasource-recover", member: "db3" });
    poll(cluster, "db3");
    const { op } = cluster.state.durable;
    ask(cluster, { kind: "coordinator-restored" });
    report(cluster);
    expect(cluster.state.durable).toMatchObject({ restoration: { kind: "unconfirmed" }, phase: { kind: "reigning" } });
    expect(cluster.state.durable.phase).toMatchObject({ op: expect.toSatisfy((given: number) => given >= op) });
  });
});

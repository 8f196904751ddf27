/**
 * Which sets count, and for what: whoever acknowledges must be one who can be read; a set that nobody ever wrote under is
 * asked about by no failover; and what a restored coordinator assumes is no knowledge of what its primary waits for.
 */
import { describe, expect, test } from "vitest";
import { freshLive, type ClusterState } from "#shared/core/cluster/state.ts";
import { isProtected, missingQuorums } from "#shared/core/cluster/sync.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  ask,
  frozenPatch,
  MEMBERS,
  pass,
  phaseOf,
  poll,
  releasedPatch,
  REPLICAS,
  setDurable,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";
import { refusalOf } from "./listening.ts";
import { live } from "./living.ts";
import { round, setsOf, synchronous, talk } from "./synchronous.ts";

function epochsOf({ state }: Cluster): number[] {
  return state.durable.syncSets.map(({ epoch }) => epoch);
}

describe("who acknowledges can be read", () => {
  test("a member that is back joins the set when the primary has confirmed it in the electorate, not before", () => {
    const cluster = synchronous();
    for (const silent of [[], ["db4"], ["db4"], ["db4"]]) round(cluster, silent);
    expect(cluster.state.durable.electorate.members).not.toContain("db4");
    pass(cluster, 1_000);
    talk(cluster, "db4");
    talk(cluster, "db4");
    expect(cluster.state.durable.members["db4"]).toMatchObject({ state: "online" });
    expect(cluster.state.durable.electorate.unconfirmed).toEqual(["db4"]);
    expect(setsOf(cluster)).toEqual([{ k: 1, members: ["db2", "db3"], isTaken: true }]);
    round(cluster);
    expect(cluster.state.durable.electorate.unconfirmed).toEqual([]);
    expect(setsOf(cluster)).toEqual([{ k: 1, members: REPLICAS, isTaken: true }]);
  });

  test("nobody is suspected with the help of those who may not be elected", () => {
    const cluster = synchronous();
    round(cluster);
    poll(cluster, "db2", { electorateVersion: 7 });
    expect(cluster.state.durable.electorate.unconfirmed).toEqual([...MEMBERS]);
    pass(cluster, DEFAULT_SETTINGS.suspicionMs);
    talk(cluster, "db3");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1, isSuspected: false });
  });
});

/** db2 is crowned by `revoked`, its lease has left, and nothing is heard of it, or of db1, until its reign is over. */
function crownedAndLost(): Cluster {
  const cluster = synchronous();
  round(cluster);
  pass(cluster, DEFAULT_SETTINGS.suspicionMs);
  talk(cluster, "db2");
  for (const host of ["db3", "db4", "db2"]) talk(cluster, host, frozenPatch(cluster));
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", proof: "revoked" });
  expect(cluster.state.lease).toMatchObject({ epoch: 2, member: "db2" });
  live(cluster, DEFAULT_SETTINGS.promoteMs + WAIT_MS, { silent: ["db1", "db2"] });
  expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 2, deposed: "db2", proof: "expired" });
  return cluster;
}

describe("the set of an epoch that nobody began", () => {
  test("counts while its member has not said so since the end of its reign", () => {
    const cluster = crownedAndLost();
    expect(epochsOf(cluster)).toEqual([1, 2]);
    live(cluster, 5_000, { silent: ["db1", "db2"] });
    expect(epochsOf(cluster)).toEqual([1, 2]);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 2 });
  });

  test("is dropped when it has: whoever it names need not be read, and a successor is found", () => {
    const cluster = crownedAndLost();
    poll(cluster, "db2");
    expect(epochsOf(cluster)).toEqual([1]);
    live(cluster, 10_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 3, opened: true });
  });

  test("is kept when it was begun, or may have been by an agent that has forgotten", () => {
    const begun = crownedAndLost();
    poll(begun, "db2", { attempted: 2, ownEpoch: 2, released: 2, releaseCause: "lease-lost" });
    expect(epochsOf(begun)).toEqual([1, 2]);
    const forgotten = crownedAndLost();
    const { durable } = forgotten.state;
    const db2 = durable.identities["db2"];
    if (!db2) throw new Error("no db2");
    const identities = { ...durable.identities, db2: { ...db2, assumedEpoch: 2 } };
    setDurable(forgotten, { identities });
    poll(forgotten, "db2");
    expect(epochsOf(forgotten)).toEqual([1, 2]);
  });
});

/** Everybody but these polls twice: so that the second word is said after the first answer. */
function report(cluster: Cluster, silent: readonly string[] = []): void {
  for (let turn = 0; turn < 2; turn += 1) {
    pass(cluster, 500);
    for (const host of MEMBERS) if (!silent.includes(host)) poll(cluster, host);
  }
}

describe("what a restored coordinator assumes of a set", () => {
  /** Its operator has said so; all have reported, and db1 has not taken a set of the time after it yet. */
  function assumed(): Cluster {
    const cluster = synchronous();
    round(cluster);
    ask(cluster, { kind: "coordinator-restored" });
    report(cluster);
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    const { policyVersion } = cluster.state.durable;
    for (const host of MEMBERS) poll(cluster, host, { policyVersion });
    expect(cluster.state.durable.syncSets[0]).toMatchObject({ version: 0, epoch: 1, k: 1 });
    return cluster;
  }

  test("says whom to read, and not what its primary waits for: nobody is suspected by it, nothing is safe by it", () => {
    const cluster = assumed();
    expect(isProtected(cluster.state)).toBe(false);
    pass(cluster, DEFAULT_SETTINGS.suspicionMs);
    for (const host of REPLICAS) poll(cluster, host);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1, isSuspected: false });
    expect(missingQuorums(cluster.state, ["db2", "db3"])).toContainEqual({ version: 0, missing: ["db4"] });
  });

  test("is over with the first set that covers it", () => {
    const cluster = assumed();
    round(cluster);
    round(cluster);
    expect(setsOf(cluster)).toEqual([{ k: 1, members: REPLICAS, isTaken: true }]);
    expect(isProtected(cluster.state)).toBe(true);
    pass(cluster, DEFAULT_SETTINGS.suspicionMs);
    talk(cluster, "db2");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1, isSuspected: true });
  });

  test("is asked of more than an older log, where an operator has given up the newest writer", () => {
    const cluster = synchronous();
    round(cluster);
    const past: Pick<ClusterState, "durable" | "lease"> = structuredClone(cluster.state);
    poll(cluster, "db1", releasedPatch(1));
    live(cluster, 5_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", opened: true });
    cluster.state = { ...past, live: freshLive(2, cluster.atMs) };
    cluster.atMs = 0;
    pass(cluster, WAIT_MS);
    report(cluster, ["db2"]);
    expect(refusalOf(ask(cluster, { kind: "coordinator-restored" }, { force: true }))).toBe("accepted");
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", epoch: 2, deposed: "db1", proof: "asserted" });
    expect(missingQuorums(cluster.state, ["db1", "db3", "db4"])).toEqual([{ version: 0, missing: ["db2"] }]);
  });
});

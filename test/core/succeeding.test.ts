/** Who may succeed and from which log, and what is waited for before: rules that only show where something is amiss. */
import { describe, expect, test } from "vitest";
import { ineligible, notFinal } from "#shared/core/cluster/choose.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  ask,
  endedPatch,
  expiredCluster,
  frozenPatch,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  phaseOf,
  poll,
  position,
  releasedPatch,
  REPLICAS,
  ROUTER,
  runningCluster,
  secondReign,
  send,
  setDurable,
  STOPPED,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";
import { givenTo, listen } from "./listening.ts";
import { live, restartCoordinator, say } from "./living.ts";
import { endStreams, round, synchronous } from "./synchronous.ts";

describe("where time has ended a reign", () => {
  test("a replica whose stream has ended is frozen like any other: it would come back to its source", () => {
    const cluster = expiredCluster();
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
    const told = REPLICAS.map((host) => cluster.state.durable.commands[host]?.kind);
    expect(told).toEqual(["freeze", "freeze", "freeze"]);
    pass(cluster, DEFAULT_SETTINGS.collectMs);
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 1 });
    for (const host of REPLICAS) poll(cluster, host, frozenPatch(cluster));
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
  });

  test("a freeze of an earlier operation does not count: it may have been undone since", () => {
    const cluster = expiredCluster();
    const phase = phaseOf(cluster);
    if (phase.kind !== "collecting") throw new Error("nobody is looked for");
    poll(cluster, "db3", { server: { receiver: { state: "frozen", op: phase.op - 1 } } });
    expect(notFinal(cluster.state, phase, "db3")).toBe("not-frozen");
    poll(cluster, "db3", { server: { receiver: { state: "frozen", op: phase.op } } });
    expect(notFinal(cluster.state, phase, "db3")).toBe(null);
  });
});

/** An operator has asserted its end: then no list of names stands in the way. */
const REIGN_2 = { epoch: 2, proof: "asserted" } as const;

describe("not eligible is", () => {
  test("a former primary that was succeeded, however well it stands", () => {
    const cluster = secondReign();
    poll(cluster, "db1", { released: 1, attempted: 1, ownEpoch: 1, server: { phase: "closed", report: IN_RECOVERY } });
    expect(cluster.state.durable.members["db1"]).toMatchObject({ state: "shunned" });
    expect(ineligible(cluster.state, REIGN_2, "db1")).toBe("shunned");
  });

  test("whoever holds what lies beyond the fork of the reign that is to be succeeded", () => {
    const cluster = secondReign();
    expect(ineligible(cluster.state, REIGN_2, "db3")).toBe(null);
    restartCoordinator(cluster);
    poll(cluster, "db3", { server: { position: position("0/3000200", 1) } });
    expect(ineligible(cluster.state, REIGN_2, "db3")).toBe("not-on-lineage");
  });

  test("a member whose server does not go by the set that it would open with", () => {
    const cluster = synchronous();
    round(cluster);
    expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe(null);
    poll(cluster, "db3", { server: { sync: null } });
    expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe("sync-unsettled");
  });
});

test("a reign goes on from the log of its member, also from one that was opened unseen", () => {
  const cluster = expiredCluster();
  for (const host of REPLICAS) poll(cluster, host);
  for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2" });
  // db2 has opened and written; before it could say so its server had died and come back read-only.
  say(cluster, "db2", {
    attempted: 2,
    ownEpoch: 2,
    released: 2,
    releaseCause: "server-died",
    leaseRemainingMs: null,
    server: { report: IN_RECOVERY, position: position("0/3000500", 2, [[1, "0/3000000"]]) },
  });
  live(cluster, 3_000, { silent: ["db1"] });
  const { reigns } = cluster.state.durable;
  expect(reigns.at(-2)).toMatchObject({ epoch: 2, opened: false });
  expect(reigns.at(-1)).toMatchObject({ epoch: 3, member: "db2", parent: 2, opened: true });
});

describe("a holder that gave up its lease in good order", () => {
  /** Its server is being started read-only; the streams of the others have ended with all that it wrote. */
  function givenUp(): Cluster {
    const cluster = runningCluster();
    poll(cluster, "db1", { ...releasedPatch(1), releaseCause: "lease-lost" });
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
    return cluster;
  }

  test("is waited for, and reigns again", () => {
    const cluster = givenUp();
    pass(cluster, DEFAULT_SETTINGS.failsafeReturnMs - 1);
    for (const host of REPLICAS) poll(cluster, host);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", cause: "lease-lost" });
    poll(cluster, "db1", { server: { phase: "closed", report: IN_RECOVERY, receiver: { state: "none" } } });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db1" });
  });

  test("is not waited for beyond its time", () => {
    const cluster = givenUp();
    pass(cluster, DEFAULT_SETTINGS.failsafeReturnMs);
    send(cluster, { kind: "tick" });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
    expect(phaseOf(cluster)).not.toMatchObject({ primary: "db1" });
  });
});

test("a search that AUTOMATIC has begun stands down when the operator takes the decision away", () => {
  const cluster = expiredCluster();
  ask(cluster, { kind: "set-policy", policy: "manual" });
  expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "not-automatic" });
  live(cluster, 5_000, { silent: ["db1"] });
  expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "vacant" } });
});

test.each([
  ["automatic", true],
  ["manual", false],
  ["maintenance", false],
] as const)("a stopped replica's server is started in %s: %s", (policy, isStarted) => {
  const cluster = runningCluster();
  live(cluster, 1_000);
  ask(cluster, { kind: "set-policy", policy });
  const told = listen(cluster);
  poll(cluster, "db3", { server: { report: STOPPED, receiver: { state: "none" } } });
  live(cluster, 5_000);
  expect(givenTo(told, "db3").includes("start")).toBe(isStarted);
});

test("a lease that had no end is waited for from its holder's word that it has one, also where its end was decided", () => {
  const cluster = runningCluster();
  ask(cluster, { kind: "set-policy", policy: "maintenance" });
  const { policyVersion } = cluster.state.durable;
  for (const host of ["db1", ...REPLICAS, ROUTER]) poll(cluster, host, { policyVersion });
  poll(cluster, "db1", openPatch(1));
  poll(cluster, ROUTER);
  ask(cluster, { kind: "datasource-fail", member: "db1" });
  ask(cluster, { kind: "set-policy", policy: "automatic" });
  passWithout(cluster, 2 * WAIT_MS, ["db1"]);
  expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", epoch: 1 });
  // It has heard of it now, and its server is being fenced.
  poll(cluster, "db1", { policyVersion: policyVersion + 1, leaseRemainingMs: 0, server: { phase: "fencing" } });
  expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", epoch: 1 });
  passWithout(cluster, WAIT_MS - 1_000, ["db1"]);
  expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", epoch: 1 });
  passWithout(cluster, 3_000, ["db1"]);
  expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired" });
});

test("a member that is crowned by force before its server goes by a set opens with both: the one it may yet take counts", () => {
  const cluster = synchronous();
  round(cluster);
  ask(cluster, { kind: "set-policy", policy: "manual" });
  poll(cluster, "db1", releasedPatch(1));
  expect(phaseOf(cluster)).toMatchObject({ kind: "vacant" });
  poll(cluster, "db3", { server: { sync: null, receiver: { state: "ended", upstream: "db1" } } });
  ask(cluster, { kind: "datasource-shun", member: "db3" });
  ask(cluster, { kind: "datasource-welcome", member: "db3" }, { force: true });
  ask(cluster, { kind: "set-policy", policy: "automatic" });
  endStreams(cluster, ["db2", "db4"]);
  poll(cluster, "db3");
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db3", opened: false });
  const { syncSets, syncTold } = cluster.state.durable;
  const told = syncTold["db3"]?.version;
  expect(syncSets.filter(({ epoch }) => epoch === 2)).toMatchObject([
    { version: 0, k: 0 },
    { version: told, k: 1 },
  ]);
});

test.each(["while it is waited for", "when it was given up"])(
  "what MANUAL had kept for a holder that is gone is anybody's in AUTOMATIC, set %s",
  (when) => {
    const cluster = runningCluster();
    ask(cluster, { kind: "set-policy", policy: "manual" });
    for (const host of ["db1", ...REPLICAS])
      poll(cluster, host, { policyVersion: cluster.state.durable.policyVersion });
    poll(cluster, "db1", { ...releasedPatch(1), releaseCause: "lease-lost" });
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", target: "db1", byOperator: false });
    const heard = { silent: ["db1"] };
    live(cluster, when === "when it was given up" ? DEFAULT_SETTINGS.failoverMs + 1_000 : 1_000, heard);
    expect(phaseOf(cluster).kind).toBe(when === "when it was given up" ? "vacant" : "collecting");
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    // Whoever is waited for no more is not waited for until the search is given up.
    live(cluster, DEFAULT_SETTINGS.failoverMs - 5_000, heard);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", opened: true });
  },
);

test("what MAINTENANCE had kept for the last holder, and AUTOMATIC opened to all, crowns nobody in MAINTENANCE again", () => {
  const cluster = runningCluster();
  poll(cluster, "db1", releasedPatch(1));
  const phase = phaseOf(cluster);
  if (phase.kind !== "collecting") throw new Error("nobody is looked for");
  // Begun in MAINTENANCE for db1 alone, opened to all since, and MAINTENANCE again.
  setDurable(cluster, { policy: "maintenance", phase: { ...phase, cause: "operator-restart", target: null } });
  for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
  expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "vacant", code: "not-automatic" } });
});

/**
 * A copy of a state directory that is started elsewhere counts its start, and looks like the same host after a restart:
 * it is kept out while the original is heard, and what it lays down is not taken for the original's word.
 */
import { describe, expect, test } from "vitest";
import {
  ask,
  begunPatch,
  clocksAt,
  endedPatch,
  epochOf,
  frozenPatch,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  phaseOf,
  poll,
  releasedPatch,
  REPLICAS,
  ROUTER,
  runningCluster,
  send,
  setDurable,
  WAIT_MS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { givenTo, listen, reasonsOf, refusalOf } from "./listening.ts";

/** What an agent says first that was started from this state elsewhere, or on this host after its kernel was booted again. */
function elsewhere(startCount: number, patch: PollPatch = {}): PollPatch {
  return { ...begunPatch(startCount), place: "boot-2", ...patch };
}

/** db1's host says from its new place that it writes no more in epoch 1. */
const laidDown = (startCount: number) =>
  elsewhere(startCount, { ...releasedPatch(1), server: { phase: "closed", report: IN_RECOVERY } });

/** Everybody but db1 polls for `ms`, every half a second. */
function othersFor(cluster: Cluster, ms: number): void {
  for (let waited = 0; waited < ms; waited += 500) {
    pass(cluster, 500);
    for (const host of [...REPLICAS, ROUTER]) poll(cluster, host);
  }
}

describe("a start from elsewhere", () => {
  test("is kept out while the one before is heard, and let in when that is silent", () => {
    const cluster = runningCluster();
    const original = poll(cluster, "db2") && structuredClone(cluster.polls["db2"]);
    for (let turn = 0; turn < 5; turn += 1) {
      pass(cluster, 1_000);
      expect(refusalOf(poll(cluster, "db2", elsewhere(2, { seq: turn })))).toBe("second-agent");
      if (original) cluster.polls["db2"] = original;
      expect(refusalOf(poll(cluster, "db2", { seq: 100 + turn }))).toBe("reply");
      Object.assign(original ?? {}, cluster.polls["db2"]);
    }
    pass(cluster, 3_001);
    expect(refusalOf(poll(cluster, "db2", elsewhere(2)))).toBe("reply");
    expect(cluster.state.durable.identities["db2"]).toMatchObject({ startCount: 2, place: "boot-2" });
  });

  test("of an agent that was only restarted is let in at once", () => {
    const cluster = runningCluster();
    expect(refusalOf(poll(cluster, "db2", { ...elsewhere(2), place: "boot-1 of db2" }))).toBe("reply");
  });

  // Of a number that was answered already too: it would be refused as late for as long as it is behind, and write on.
  test.each([900, 1])("with the count of the one before is a fork, in its poll number %i", (seq) => {
    const cluster = runningCluster();
    const told = listen(cluster);
    pass(cluster, 1_000);
    poll(cluster, "db2");
    const { clocks } = cluster.polls["db2"] ?? { clocks: clocksAt(0) };
    expect(refusalOf(poll(cluster, "db2", elsewhere(1, { seq, clocks })))).toBe("forked-identity");
    expect(reasonsOf(told, "identity-forked")).toMatchObject([{ host: "db2", evidence: "place" }]);
  });

  test("is a fork too when the one that it replaced lives on", () => {
    const cluster = runningCluster();
    const original = structuredClone(cluster.polls["db2"]);
    const told = listen(cluster);
    pass(cluster, 4_000);
    expect(refusalOf(poll(cluster, "db2", elsewhere(2)))).toBe("reply");
    const copy = structuredClone(cluster.polls["db2"]);
    if (!original || !copy) throw new Error("both have spoken");
    for (let turn = 0; turn < 10; turn += 1) {
      cluster.polls["db2"] = { ...original, seq: 100 + turn };
      expect(refusalOf(poll(cluster, "db2"))).toBe("second-agent");
      pass(cluster, 1_000);
    }
    cluster.polls["db2"] = { ...original, seq: 200 };
    expect(refusalOf(poll(cluster, "db2"))).toBe("forked-identity");
    cluster.polls["db2"] = { ...copy, seq: 300 };
    expect(refusalOf(poll(cluster, "db2"))).toBe("forked-identity");
    expect(reasonsOf(told, "identity-forked")).toMatchObject([{ host: "db2", evidence: "start" }]);
  });
});

test("a start that was replaced, and speaks after its successor by the clocks of the same boot, is a fork at once", () => {
  const cluster = runningCluster();
  const original = structuredClone(cluster.polls["db1"]);
  if (!original) throw new Error("it has spoken");
  const told = listen(cluster);
  const late = { ...original, seq: original.seq + 1, clocks: clocksAt(cluster.atMs) };
  pass(cluster, 1_000);
  const { place } = original;
  expect(
    refusalOf(poll(cluster, "db1", { ...elsewhere(2, openPatch(1)), place, clocks: clocksAt(cluster.atMs) })),
  ).toBe("reply");
  // What was on its way when its process ended is none.
  cluster.polls["db1"] = late;
  expect(refusalOf(send(cluster, { kind: "poll", poll: late }))).toBe("second-agent");
  pass(cluster, 100);
  // Memory and all were copied, and the original's agent was restarted: by the word of one nothing of the other's is over.
  const copied = { ...late, seq: late.seq + 1, clocks: clocksAt(cluster.atMs) };
  expect(refusalOf(send(cluster, { kind: "poll", poll: copied }))).toBe("forked-identity");
  expect(reasonsOf(told, "identity-forked")).toMatchObject([{ host: "db1", evidence: "start" }]);
  expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", primary: "db1" });
});

describe("what a start from elsewhere lays down", () => {
  test("ends no reign whose lease was granted before: that takes its time", () => {
    const cluster = runningCluster();
    const told = listen(cluster);
    othersFor(cluster, 3_500);
    expect(refusalOf(poll(cluster, "db1", laidDown(2)))).toBe("reply");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db1" });
    othersFor(cluster, WAIT_MS);
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ epoch: 1, proof: "expired" }]);
    expect(cluster.state.durable.identities["db1"]?.released).toBe(0);
  });

  test("ends no promise given to the one before", () => {
    const cluster = runningCluster();
    othersFor(cluster, 3_500);
    poll(cluster, "db1", laidDown(2));
    const promises = [{ holder: "db1", epoch: 1, remainingMs: 7_000 }];
    for (let turn = 0; turn < 20; turn += 1) {
      pass(cluster, 1_000);
      poll(cluster, "db1");
      for (const host of REPLICAS) poll(cluster, host, { promises });
    }
    expect(epochOf(cluster)).toBe(1);
  });

  test("counts under an endless lease when its wait is over: the operator has restarted the host", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    poll(cluster, "db1", openPatch(1));
    othersFor(cluster, 3_500);
    poll(cluster, "db1", laidDown(2));
    expect(phaseOf(cluster).kind).toBe("reigning");
    othersFor(cluster, WAIT_MS);
    poll(cluster, "db1");
    expect(cluster.state.durable.identities["db1"]?.released).toBe(1);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", target: "db1" });
  });

  test("counts where nobody else could be elected, when the wait is over", () => {
    const cluster = runningCluster();
    setDurable(cluster, { electorate: { ...cluster.state.durable.electorate, members: ["db1"] } });
    pass(cluster, 3_500);
    poll(cluster, "db1", laidDown(2));
    expect(cluster.state.durable.identities["db1"]?.released).toBe(0);
    pass(cluster, WAIT_MS);
    poll(cluster, "db1");
    expect(cluster.state.durable.identities["db1"]?.released).toBe(1);
  });
});

test("an epoch that was granted in one place is opened in no other", () => {
  const cluster = runningCluster();
  const told = listen(cluster);
  poll(cluster, "db1", releasedPatch(1));
  for (const host of REPLICAS) {
    poll(cluster, host, endedPatch("db1"));
  }
  poll(cluster, "db2");
  expect(givenTo(told, "db2")).toContain("promote");
  const { lease } = cluster.state;
  expect(lease).toMatchObject({ member: "db2", epoch: 2, place: "boot-1 of db2" });
  pass(cluster, 3_500);
  for (const host of ["db3", "db4"]) poll(cluster, host);
  // A copy that was made before db2 was told to open has attempted nothing.
  const { answer } = poll(cluster, "db2", elsewhere(2, { epochSeen: 2, opSeen: 99 }));
  expect(answer).toMatchObject({ kind: "reply", reply: { lease: null, commands: [] } });
  expect(cluster.state.lease).toBe(lease);
  for (const host of ["db3", "db4"]) poll(cluster, host, frozenPatch(cluster));
  expect(epochOf(cluster)).toBe(2);
});

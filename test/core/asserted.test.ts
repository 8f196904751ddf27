/**
 * What an operator's force makes of a reign that no word of its holder has ended: it is over by his assertion, recorded as
 * that, and no promise binds against it. Going on without those who may have acknowledged the last writes is his word too,
 * and is not asked of him before he was told of whom.
 */
import { describe, expect, test } from "vitest";
import type { AbortCode } from "#shared/core/cluster/reason.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answerInquiry,
  ask,
  createdCluster,
  frozenPatch,
  openPatch,
  pass,
  phaseOf,
  poll,
  REPLICAS,
  runningCluster,
  silencedCluster,
  STOPPED,
  WRITABLE,
  type Cluster,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { listen, reasonsOf, refusalOf, type Told } from "./listening.ts";
import { live, say } from "./living.ts";
import { round, synchronous, talk } from "./synchronous.ts";

const { failoverMs, suspicionMs, ttlMs } = DEFAULT_SETTINGS;

/**
 * db1 was suspected, db2, db3 and db4 were frozen; but db4's server has died right after it had said so, and may hold what
 * db1 acknowledged last.
 */
function revoked(): { cluster: Cluster; told: Told } {
  const cluster = synchronous();
  round(cluster);
  pass(cluster, suspicionMs);
  talk(cluster, "db3");
  talk(cluster, "db4", { server: { ...frozenPatch(cluster).server, report: STOPPED } });
  for (const host of ["db3", "db2"]) talk(cluster, host, frozenPatch(cluster));
  expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 1, proof: "revoked" });
  return { cluster, told: listen(cluster) };
}

/** db4's server never starts again. */
function liveWithout4(cluster: Cluster, ms: number): void {
  live(cluster, ms, { silent: ["db1", "db4"] });
}

/** The search was given up: db4 cannot be read. */
function unread(): ReturnType<typeof revoked> {
  const { cluster, told } = revoked();
  liveWithout4(cluster, failoverMs + 100);
  const code: AbortCode = "read-quorum-missing";
  expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code, proof: "revoked" });
  expect(reasonsOf(told, "failover-aborted")).toMatchObject([{ code, members: ["db4"] }]);
  return { cluster, told };
}

function proofsOf({ state }: Cluster): string[] {
  return state.durable.reigns.map(({ proof }) => proof);
}

describe("a failover by force, where `revoked` had ended the reign and not all could be read", () => {
  test("goes on, as asserted, and says whose acknowledgements may be lost", () => {
    const { cluster, told } = unread();
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("accepted");
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ epoch: 1, member: "db1", proof: "asserted" }]);
    liveWithout4(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, proof: "asserted", opened: true });
    expect(proofsOf(cluster)).toEqual(["founded", "asserted"]);
    const winner = phaseOf(cluster).kind === "reigning" ? cluster.state.durable.reigns.at(-1)?.member : "";
    expect(reasonsOf(told, "read-quorum-overridden")).toMatchObject([{ member: winner, missing: ["db4"] }]);
  });

  test("takes who holds the most of those that are there, or whom it names", () => {
    const { cluster } = unread();
    ask(cluster, { kind: "failover", to: "db3" }, { force: true });
    liveWithout4(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db3", proof: "asserted" });
  });

  test("is bound by no promise that was given to the old holder", () => {
    const { cluster } = unread();
    say(cluster, "db2", { promises: [{ holder: "db1", epoch: 1, remainingMs: 5_000 }] });
    poll(cluster, "db2");
    ask(cluster, { kind: "failover", to: null }, { force: true });
    liveWithout4(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, proof: "asserted" });
  });

  test("without force waits for them again, and the proof stays what it is", () => {
    const { cluster, told } = unread();
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }))).toBe("accepted");
    liveWithout4(cluster, 2_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "revoked", mayLose: false });
    liveWithout4(cluster, failoverMs);
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "read-quorum-missing", proof: "revoked" });
    expect(reasonsOf(told, "read-quorum-overridden")).toEqual([]);
  });

  test("goes on with them when they are back, and nothing is told as lost", () => {
    const { cluster, told } = unread();
    say(cluster, "db4", frozenPatch(cluster));
    ask(cluster, { kind: "failover", to: null }, { force: true });
    live(cluster, 2_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, proof: "asserted" });
    expect(reasonsOf(told, "read-quorum-overridden")).toEqual([]);
  });
});

test("a member that is welcomed by force after `revoked` reigns as asserted", () => {
  const { cluster, told } = unread();
  ask(cluster, { kind: "datasource-shun", member: "db3" });
  expect(refusalOf(ask(cluster, { kind: "datasource-welcome", member: "db3" }, { force: true }))).toBe("accepted");
  liveWithout4(cluster, 3_000);
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db3", proof: "asserted" });
  expect(reasonsOf(told, "read-quorum-overridden")).toMatchObject([{ member: "db3", missing: ["db4"] }]);
});

describe("a failover by force of a primary that is suspected", () => {
  /** db1 is suspected, and its replicas do not freeze. */
  function suspected(): Cluster {
    const cluster = synchronous();
    round(cluster);
    pass(cluster, suspicionMs);
    talk(cluster, "db2");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", isSuspected: true });
    return cluster;
  }

  test("is refused while it was heard within a lease", () => {
    const cluster = suspected();
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("primary-is-live");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", isSuspected: true });
  });

  test("ends its reign as asserted, and does not go on without those who may have acknowledged", () => {
    const cluster = suspected();
    pass(cluster, ttlMs - suspicionMs);
    for (const host of ["db2", "db3"]) talk(cluster, host);
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("accepted");
    liveWithout4(cluster, 5_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 1, proof: "asserted", mayLose: false });
    live(cluster, 2_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, proof: "asserted" });
  });
});

test("an assertion is not undone by a crown that was refused", () => {
  // db1 lives on promises; db2 is crowned by time, and refuses: that it opens in no epoch says nothing of db1.
  const cluster = silencedCluster();
  answerInquiry(cluster, ["db2", "db3", "db4"], "read-only");
  for (const host of ["db2", "db3", "db4"]) poll(cluster, host);
  for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2" });
  ask(cluster, { kind: "set-policy", policy: "manual" });
  poll(cluster, "db2", { released: 2, releaseCause: "promotion-failed", leaseRemainingMs: null });
  expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", epoch: 2, deposed: "db2", proof: "expired" });
  ask(cluster, { kind: "failover", to: "db3" }, { force: true });
  expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "asserted" });
  live(cluster, 2_000, { silent: ["db1"] });
  expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ epoch: 3, member: "db3", proof: "asserted" });
});

test("a primary that was heard within a lease cannot be asserted to be dead", () => {
  const cluster = runningCluster();
  poll(cluster, "db1", openPatch(1));
  pass(cluster, ttlMs - 1);
  expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("primary-is-live");
  pass(cluster, 1);
  expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("accepted");
  expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", epoch: 1, proof: "asserted" });
});

describe("of a first primary that was never adopted, whose end an operator asserts", () => {
  const SERVING = { server: { phase: "observing", report: WRITABLE } } as const;

  /** Its agent has not been heard since it was told to take its server over. */
  function assertedBeforeAdoption(): { cluster: Cluster; told: Told } {
    const cluster = createdCluster();
    for (const host of REPLICAS) poll(cluster, host);
    poll(cluster, "db1", SERVING);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db1", how: "adopt", opened: false });
    const told = listen(cluster);
    pass(cluster, ttlMs + 100);
    ask(cluster, { kind: "failover", to: null }, { force: true });
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ epoch: 1, proof: "asserted" }]);
    return { cluster, told };
  }

  test("the server is fenced when it is seen to write all the same, though its agent only observes", () => {
    const { cluster } = assertedBeforeAdoption();
    const { answer } = poll(cluster, "db1", SERVING);
    expect(answer).toMatchObject({ kind: "reply", reply: { commands: [{ kind: "fence" }] } });
  });

  test("a server that is none of a reign's is left to its owner", () => {
    const cluster = createdCluster();
    for (const host of REPLICAS) poll(cluster, host);
    poll(cluster, "db1", SERVING);
    const { answer } = poll(cluster, "db4", SERVING);
    expect(answer).toMatchObject({ kind: "reply", reply: { commands: [] } });
  });
});

test("a start that is refused is not asked for again at once, by an operator's word neither", () => {
  const cluster = phases.vacant();
  const { phase } = cluster.state.durable;
  const deposed = phase.kind === "vacant" ? phase.deposed : "";
  const down = { server: { phase: "observing", report: STOPPED, receiver: { state: "none" } } } as const;
  poll(cluster, deposed, down);
  ask(cluster, { kind: "datasource-recover", member: deposed });
  const starts: string[] = [];
  for (let turn = 0; turn < 40; turn += 1) {
    pass(cluster, 20);
    const { answer } = poll(cluster, deposed, down);
    if (answer.kind !== "reply") continue;
    for (const { id, op, kind } of answer.reply.commands) {
      starts.push(`${kind} ${id}`);
      say(cluster, deposed, { results: [{ id, op, outcome: "refused", code: "not-founded", value: "", detail: "" }] });
    }
  }
  expect(starts).toHaveLength(1);
  expect(starts[0]).toContain("start");
});

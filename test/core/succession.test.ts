/** Courses of a failover that were once wrong, each as short as it can be told. */
import { describe, expect, test } from "vitest";
import { freshLive } from "#shared/core/cluster/state.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answerInquiry,
  ask,
  createdCluster,
  epochOf,
  frozenPatch,
  healthyPoll,
  IN_RECOVERY,
  kindOf,
  openPatch,
  pass,
  passWithout,
  poll,
  position,
  releasedPatch,
  runningCluster,
  secondReign,
  send,
  silencedCluster,
  STOPPED,
  WAIT_MS,
  WRITABLE,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";

describe("an expired lease", () => {
  test("ends the reign it belongs to and not the next one", () => {
    const cluster = secondReign();
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", opened: true });
  });

  test("the promoted member is given its lease though the old one has run out", () => {
    const cluster = silencedCluster();
    answerInquiry(cluster, ["db2", "db3", "db4"], "read-only");
    for (const host of ["db2", "db3", "db4"]) poll(cluster, host);
    pass(cluster, 50);
    for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
    expect(kindOf(cluster.state.durable.phase)).toBe("reigning-opening");
    expect(cluster.state.durable.epoch).toBe(2);
    expect(cluster.state.lease?.epoch).toBe(2);
  });
});

describe("a primary that vanishes before its promotion has left", () => {
  test("is succeeded: nobody was told to open in its epoch", () => {
    const cluster = createdCluster();
    for (const host of ["db1", "db2", "db3", "db4"]) poll(cluster, host);
    expect(kindOf(cluster.state.durable.phase)).toBe("reigning-opening");
    passWithout(cluster, 12_000, ["db1"]);
    expect(kindOf(cluster.state.durable.phase)).not.toBe("deposing");
  });
});

describe("a fresh incarnation that inherits a search", () => {
  test("waits for the members it has not heard before it crowns the first to speak", () => {
    const cluster = phases["collecting-natural"]();
    cluster.state = { ...cluster.state, live: freshLive(2, 0) };
    cluster.atMs = 0;
    poll(cluster, "db4", { server: { receiver: { state: "ended", upstream: "db2" } } });
    expect(kindOf(cluster.state.durable.phase)).toBe("collecting-natural");
    const ahead = position("0/4000000", 2, [[1, "0/3000000"]]);
    poll(cluster, "db3", { server: { position: ahead, receiver: { state: "ended", upstream: "db2" } } });
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 3, primary: "db3" });
  });

  test("does not wait for a member that is FAILED", () => {
    const cluster = phases["reigning-opened"]();
    passWithout(cluster, DEFAULT_SETTINGS.silentMs + 1_000, ["db1", "db3"]);
    expect(cluster.state.durable.members["db3"]?.state).toBe("failed");
    poll(cluster, "db2", releasedPatch(2));
    cluster.state = { ...cluster.state, live: freshLive(2, 0) };
    cluster.atMs = 0;
    poll(cluster, "db4", { server: { receiver: { state: "ended", upstream: "db2" } } });
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 3, primary: "db4" });
  });
});

describe("a shunned replica", () => {
  /** db2 died, db3's promotion failed and nobody else could: db3, a replica still, is SHUNNED(FAILOVER-ABORTED). */
  function withShunnedReplica() {
    const cluster = phases["reigning-opening"]();
    poll(cluster, "db4", { server: { report: STOPPED } });
    poll(cluster, "db3", { released: 3, releaseCause: "promotion-failed", server: { report: STOPPED } });
    pass(cluster, DEFAULT_SETTINGS.failoverMs);
    send(cluster, { kind: "tick" });
    return cluster;
  }

  test("stays shunned when its agent falls silent: silence undoes no shun", () => {
    const cluster = withShunnedReplica();
    const shunned = { role: "replica", state: "shunned", reason: { kind: "failover-aborted" } };
    expect(cluster.state.durable.members["db3"]).toMatchObject(shunned);
    poll(cluster, "db4", { server: { report: IN_RECOVERY, receiver: { state: "none" } } });
    pass(cluster, 50);
    poll(cluster, "db4", openPatch(4));
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 4, primary: "db4", opened: true });
    pass(cluster, DEFAULT_SETTINGS.silentMs + 1);
    poll(cluster, "db4", openPatch(4));
    expect(cluster.state.durable.members["db3"]).toMatchObject(shunned);
  });
});

describe("a name that every object inherits", () => {
  test.each([
    { kind: "datasource-fail", member: "constructor" } as const,
    { kind: "failover", to: "constructor" } as const,
  ])("names no member: $kind", (command) => {
    const cluster = phases.vacant();
    const before = cluster.state;
    expect(ask(cluster, command).answer).toMatchObject({ refusal: { code: "unknown-member" } });
    expect(cluster.state).toBe(before);
  });

  test("names no host either", () => {
    const cluster = createdCluster();
    const stranger = { ...healthyPoll("constructor"), startCount: 1, seq: 1 };
    const unbound = { ...stranger, server: stranger.server && { ...stranger.server, systemId: null } };
    for (const sent of [stranger, unbound, { ...stranger, server: null }]) {
      expect(send(cluster, { kind: "poll", poll: sent }).answer).toMatchObject({ refusal: { code: "unknown-member" } });
    }
  });
});

describe("a primary that comes back read-only before it was adopted", () => {
  test("is promoted in the same epoch: it writes no more, and attempted nothing", () => {
    const cluster = createdCluster();
    for (const host of ["db2", "db3", "db4"]) poll(cluster, host);
    const adopting = poll(cluster, "db1", { server: { phase: "observing", report: WRITABLE } });
    expect(commandsOf(adopting)).toEqual(["adopt"]);
    pass(cluster, 50);
    const promoting = poll(cluster, "db1", { server: { phase: "observing", report: IN_RECOVERY } });
    expect(commandsOf(promoting)).toEqual(["promote"]);
    expect(epochOf(cluster)).toBe(1);
  });
});

describe("an operation that ends one reign and begins another", () => {
  test("has succeeded when the operator's primary is fenced; the failover that follows is the operator's too", () => {
    const cluster = runningCluster();
    const asked = ask(cluster, { kind: "datasource-fail", member: "db1" });
    pass(cluster, 50);
    const ended = poll(cluster, "db1", releasedPatch(1));
    const records = [...asked.effects, ...ended.effects].flatMap((effect) =>
      effect.kind === "operation" ? [effect.record] : [],
    );
    expect(records.map(({ kind, requestedBy, state }) => [kind, requestedBy, state])).toEqual([
      ["datasource-fail", "operator", "running"],
      ["datasource-fail", "operator", "succeeded"],
      ["failover", "operator", "running"],
    ]);
  });
});

describe("a silence of everybody, longer than the lease", () => {
  test("is the coordinator's absence: the holder is waited for and nothing is spent", () => {
    const cluster = runningCluster();
    passWithout(cluster, 3_000, []);
    pass(cluster, WAIT_MS + 2_000);
    const step = poll(cluster, "db2");
    expect(step.reasons).toContainEqual(
      expect.objectContaining({ kind: "failover-started", deposed: "db1", cause: "lease-lost" }),
    );
    expect(cluster.state.durable.members["db1"]?.reason).toEqual({ kind: "failsafe-shun" });
    expect(cluster.state.durable.failoversWallMs).toEqual([]);
  });

  test("is not assumed when others spoke meanwhile", () => {
    const cluster = silencedCluster();
    expect(cluster.state.durable.members["db1"]?.reason).toEqual({ kind: "manager-stopped" });
  });
});

function commandsOf(step: ReturnType<typeof poll>): string[] {
  return step.answer.kind === "reply" ? step.answer.reply.commands.map(({ kind }) => kind) : [];
}

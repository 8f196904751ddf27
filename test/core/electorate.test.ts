/** The list of those who may be elected: who is struck off, who is put on it again, and when that counts. */
import { describe, expect, test } from "vitest";
import { ineligible } from "#shared/core/cluster/choose.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  ask,
  openPatch,
  pass,
  passWithout,
  poll,
  releasedPatch,
  ROUTER,
  runningCluster,
  streamingPatch,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";

const SILENT_MS = DEFAULT_SETTINGS.silentMs;

/** db1 reigns; everybody but these has been silent for long enough. */
function withoutAgents(silent: string[]): Cluster {
  const cluster = runningCluster();
  passWithout(cluster, SILENT_MS + 1_000, silent);
  return cluster;
}

function electorateOf({ state }: Cluster) {
  return state.durable.electorate;
}

/** The electorate that the primary's next lease brings. */
function sentTo(cluster: Cluster) {
  const { answer } = poll(cluster, "db1", openPatch(1));
  if (answer.kind !== "reply" || !answer.reply.lease) throw new Error("no lease");
  const { electorateVersion: version, electorate: members } = answer.reply.lease;
  return { version, members };
}

function whyNot(cluster: Cluster, name: string) {
  return ineligible(cluster.state, { epoch: 1 }, name);
}

describe("a member", () => {
  test("is struck off when its agent is silent, and the primary hears of it with its next lease", () => {
    const cluster = withoutAgents(["db4"]);
    expect(electorateOf(cluster)).toEqual({ version: 2, members: ["db1", "db2", "db3"], unconfirmed: [] });
    expect(sentTo(cluster)).toEqual({ version: 2, members: ["db1", "db2", "db3"] });
  });

  test("stays on the list while nobody hears the primary either", () => {
    const cluster = runningCluster();
    passWithout(cluster, SILENT_MS + 1_000, ["db1", "db4"]);
    expect(electorateOf(cluster).members).toContain("db4");
  });

  test("that was shunned is struck off at once", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "datasource-shun", member: "db3" });
    poll(cluster, "db1", openPatch(1));
    expect(electorateOf(cluster).members).toEqual(["db1", "db2", "db4"]);
  });

  test("is back on the list when it is ONLINE, and may be elected only when the primary has confirmed it", () => {
    const cluster = withoutAgents(["db4"]);
    poll(cluster, "db4", streamingPatch("db1"));
    expect(electorateOf(cluster)).toEqual({
      version: 3,
      members: ["db1", "db2", "db3", "db4"],
      unconfirmed: ["db4"],
    });
    expect(whyNot(cluster, "db4")).toBe("not-in-electorate");
    expect(sentTo(cluster).version).toBe(3);
    poll(cluster, "db1", { ...openPatch(1), electorateVersion: 2 });
    expect(whyNot(cluster, "db4")).toBe("not-in-electorate");
    poll(cluster, "db1", { ...openPatch(1), electorateVersion: 3 });
    expect(whyNot(cluster, "db4")).toBe(null);
  });

  test("counts from its confirmation on: until then the primary may have lived on the promises of the others", () => {
    const cluster = withoutAgents(["db4"]);
    poll(cluster, "db4", streamingPatch("db1"));
    expect(sentTo(cluster).version).toBe(3);
    poll(cluster, ROUTER);
    // The reply was long on its way; what the primary holds meanwhile was promised by db2 and db3.
    pass(cluster, 1_000);
    const { answer } = poll(cluster, "db1", { ...openPatch(1), leaseRemainingMs: 4_800, electorateVersion: 3 });
    expect(answer).toMatchObject({ kind: "reply", reply: { lease: null } });
    expect(electorateOf(cluster).unconfirmed).toEqual([]);
    passWithout(cluster, WAIT_MS - 500, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true });
    passWithout(cluster, 3_000, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "expired" });
  });

  test("that was not confirmed is not elected by time", () => {
    const cluster = withoutAgents(["db4"]);
    poll(cluster, "db4", streamingPatch("db1"));
    passWithout(cluster, WAIT_MS + 1_000, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "expired" });
    expect(whyNot(cluster, "db4")).toBe("not-in-electorate");
    expect(whyNot(cluster, "db3")).toBe(null);
  });

  test("is on it at once when the reign was released", () => {
    const cluster = withoutAgents(["db4"]);
    pass(cluster, 20);
    poll(cluster, "db4", streamingPatch("db1"));
    expect(whyNot(cluster, "db4")).toBe("not-in-electorate");
    poll(cluster, "db1", releasedPatch(1));
    expect(electorateOf(cluster).unconfirmed).toEqual([]);
    expect(whyNot(cluster, "db4")).toBe(null);
  });
});

test("a list newer than ours leaves nobody confirmed: it was sent before we were restored", () => {
  const cluster = runningCluster();
  poll(cluster, "db2", { electorateVersion: 7 });
  expect(electorateOf(cluster)).toMatchObject({ version: 8, unconfirmed: ["db1", "db2", "db3", "db4"] });
  poll(cluster, "db1", { ...openPatch(1), electorateVersion: 8 });
  expect(electorateOf(cluster)).toMatchObject({ version: 8, unconfirmed: [] });
});

describe("a reign", () => {
  test("is over by no time when nobody else could be elected, and by an assertion", () => {
    const cluster = withoutAgents(["db2", "db3", "db4"]);
    expect(sentTo(cluster).members).toEqual(["db1"]);
    const steps = passWithout(cluster, 2 * WAIT_MS, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true });
    const told = steps.flatMap(({ reasons }) => reasons.filter(({ kind }) => kind === "electorate-empty"));
    expect(told).toEqual([{ kind: "electorate-empty", epoch: 1, member: "db1" }]);
    ask(cluster, { kind: "failover", to: null }, { force: true });
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "asserted" });
    expect(whyNot(cluster, "db2")).toBe(null);
  });
});

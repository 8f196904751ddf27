/** An agent that has lost its state file: refused until an operator readmits it, and then trusted with nothing it forgot. */
import { expect, test } from "vitest";
import { ineligible } from "#shared/core/cluster/choose.ts";
import {
  ask,
  healthyPoll,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  poll,
  runningCluster,
  secondReign,
  setDurable,
  streamingPatch,
  WAIT_MS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { live, liveUntil, say } from "./living.ts";
import { refusalOf } from "./listening.ts";

/** The agent of `host` begins again with nothing but a new incarnation. */
function forget(cluster: Cluster, host: string): void {
  const server = cluster.polls[host]?.server ?? null;
  cluster.polls[host] = { ...healthyPoll(host), incarnation: "another", server };
}

/** db1, which reigned first, has lost its state; db2 reigns. */
function forgetful(): Cluster {
  const cluster = secondReign();
  poll(cluster, "db1", { released: 1, attempted: 1, ownEpoch: 1, server: { phase: "closed", report: IN_RECOVERY } });
  forget(cluster, "db1");
  passWithout(cluster, 4_000, ["db1"]);
  return cluster;
}

test("is refused, and a recovery without force does not change that", () => {
  const cluster = forgetful();
  poll(cluster, "db2");
  expect(refusalOf(poll(cluster, "db1"))).toBe("second-agent");
  ask(cluster, { kind: "datasource-recover", member: "db1" });
  expect(refusalOf(poll(cluster, "db1"))).toBe("second-agent");
  expect(refusalOf(poll(cluster, "db1", { startCount: 9 }))).toBe("wrong-incarnation");
});

test("is readmitted by a recovery with force, and its past is assumed from the reign table", () => {
  const cluster = forgetful();
  poll(cluster, "db2");
  ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
  const { reasons } = poll(cluster, "db1", { server: { phase: "observing" } });
  expect(reasons).toContainEqual({ kind: "agent-readmitted", host: "db1", startCount: 1, assumedEpoch: 1 });
  expect(cluster.state.durable.identities["db1"]).toMatchObject({
    startCount: 1,
    incarnation: "another",
    assumedEpoch: 1,
    readmitOp: 0,
    // What it vouched for before it forgot stays so.
    released: 1,
  });
});

test("readmits one agent, and the one that was known before is the stranger then", () => {
  const cluster = forgetful();
  const before = { ...healthyPoll("db1"), startCount: 5, server: cluster.polls["db1"]?.server ?? null };
  poll(cluster, "db2");
  ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
  poll(cluster, "db1", { server: { phase: "observing" } });
  cluster.polls["db1"] = before;
  expect(refusalOf(poll(cluster, "db1"))).toBe("wrong-incarnation");
});

test("comes back as a replica of the line that reigns", () => {
  const cluster = forgetful();
  poll(cluster, "db2");
  ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
  poll(cluster, "db1", { server: { phase: "observing", receiver: { state: "none" } } });
  expect(cluster.state.durable.commands["db1"]).toMatchObject({ kind: "follow", upstream: { member: "db2" } });
  const server = { ...streamingPatch("db2").server, position: cluster.polls["db3"]?.server?.position ?? null };
  poll(cluster, "db1", { server });
  expect(cluster.state.durable.members["db1"]).toMatchObject({ role: "replica", state: "online" });
});

test("is not the reigning primary's way back while its lease may run", () => {
  const cluster = secondReign();
  forget(cluster, "db2");
  pass(cluster, 1_000);
  expect(ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true }).answer).toMatchObject({
    refusal: { code: "primary-is-live" },
  });
  passWithout(cluster, WAIT_MS, ["db2"]);
  expect(cluster.state.durable.phase.kind).not.toBe("reigning");
});

/** What is known of the timelines that a member was heard on, made what it would be had it been silent since. */
function heardOn(cluster: Cluster, host: string, timeline: number): void {
  const { identities } = cluster.state.durable;
  const known = identities[host];
  if (!known) throw new Error(`no identity of ${host}`);
  setDurable(cluster, { identities: { ...identities, [host]: { ...known, timeline } } });
}

/** db4 follows db2's reign, the second, on timeline 2; its agent was last heard on `timeline`, and has forgotten everything. */
function strangeLog(timeline: number, patch: PollPatch["server"] = {}): Cluster {
  const cluster = secondReign();
  heardOn(cluster, "db4", timeline);
  forget(cluster, "db4");
  passWithout(cluster, 4_000, ["db4"]);
  ask(cluster, { kind: "datasource-recover", member: "db4" }, { force: true });
  poll(cluster, "db4", { server: { phase: "observing", receiver: { state: "none" }, ...patch } });
  return cluster;
}

test("on a timeline of another's reign, on which it was never heard, it may be of a reign that nobody remembers", () => {
  const cluster = strangeLog(1);
  expect(cluster.state.durable.identities["db4"]).toMatchObject({ isStray: true, isUnproven: false, timeline: 2 });
  expect(cluster.state.durable.commands["db4"]).toMatchObject({ kind: "rebuild" });
});

test("on a timeline on which it was heard before it forgot, it follows", () => {
  const cluster = strangeLog(2);
  expect(cluster.state.durable.identities["db4"]).toMatchObject({ isStray: false, isUnproven: false, timeline: 2 });
  expect(cluster.state.durable.commands["db4"]).toMatchObject({ kind: "follow" });
});

test("is looked at when its server says where its log ends", () => {
  const cluster = strangeLog(1, { position: null });
  expect(cluster.state.durable.identities["db4"]).toMatchObject({ isStray: false, isUnproven: true, timeline: 1 });
  poll(cluster, "db4", { server: { position: cluster.polls["db3"]?.server?.position ?? null } });
  expect(cluster.state.durable.identities["db4"]).toMatchObject({ isStray: true, isUnproven: false });
});

test("is taken for one that has forgotten, too, where a fork was settled and the one that is left comes with other state", () => {
  const cluster = secondReign();
  const { identities } = cluster.state.durable;
  const known = identities["db1"];
  if (!known) throw new Error("no identity of db1");
  setDurable(cluster, { identities: { ...identities, db1: { ...known, startCount: 0, place: null } } });
  forget(cluster, "db1");
  const { reasons } = poll(cluster, "db1", { server: { phase: "observing" } });
  expect(reasons).toContainEqual({ kind: "agent-readmitted", host: "db1", startCount: 1, assumedEpoch: 1 });
});

/** db3 may have promised db1 that it is not opened in its place; its agent has forgotten that, and was readmitted. */
function promisedAndForgotten(): Cluster {
  const cluster = runningCluster();
  passWithout(cluster, 4_000, ["db3"]);
  forget(cluster, "db3");
  ask(cluster, { kind: "datasource-recover", member: "db3" }, { force: true });
  poll(cluster, "db3", { server: { phase: "observing" } });
  expect(cluster.state.durable.identities["db3"]).toMatchObject({ incarnation: "another", readmitOp: 0 });
  return cluster;
}

test("may have promised: it is elected by no time before the primary has confirmed a list with it again", () => {
  const cluster = promisedAndForgotten();
  expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe("not-in-electorate");
  live(cluster, WAIT_MS + 10_000, { silent: ["db1", "db2", "db4"] });
  expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "collecting", proof: "expired" } });
  expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe("not-in-electorate");
});

test("may be elected when the primary has confirmed the list that it is on again", () => {
  const cluster = promisedAndForgotten();
  const { version } = cluster.state.durable.electorate;
  poll(cluster, "db1", { ...openPatch(1), electorateVersion: version - 1 });
  expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe("not-in-electorate");
  poll(cluster, "db1", { ...openPatch(1), electorateVersion: version });
  expect(ineligible(cluster.state, { epoch: 1 }, "db3")).toBe(null);
});

test("is opened again where it was the last primary, though it is on no list of electors any more", () => {
  const cluster = runningCluster();
  ask(cluster, { kind: "set-policy", policy: "manual" });
  pass(cluster, 1_000);
  forget(cluster, "db1");
  say(cluster, "db1", { server: { phase: "observing", report: IN_RECOVERY } });
  passWithout(cluster, 2 * WAIT_MS, ["db1"]);
  expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", deposed: "db1", proof: "expired" });
  ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
  liveUntil(cluster, () => cluster.state.durable.phase.kind === "reigning");
  expect(cluster.state.durable.phase).toMatchObject({ primary: "db1" });
  expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ member: "db1", proof: "asserted" });
});

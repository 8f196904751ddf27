/** Whom a host is told to nudge: who is waited for, and the connectors for whom the door moves; nobody else. */
import { expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answeredPatch,
  endedPatch,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  poll,
  releasedPatch,
  REPLICAS,
  ROUTER,
  runningCluster,
  streamingPatch,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { step as defaultStep } from "#shared/core/cluster/step.ts";
import { routeOf } from "./listening.ts";
import { live, liveUntil } from "./living.ts";
import { switchRows } from "./plan-events.ts";
import { round, synchronous } from "./synchronous.ts";

function callsIn(cluster: Cluster, host: string, patch: PollPatch = {}): string[] {
  const { answer } = poll(cluster, host, patch);
  if (answer.kind !== "reply") throw new Error(`no reply: ${JSON.stringify(answer)}`);
  return answer.reply.call.toSorted();
}

test("nobody is called at rest", () => {
  const cluster = runningCluster();
  pass(cluster, 5_000);
  expect(["db1", "db2", ROUTER].map((host) => callsIn(cluster, host))).toEqual([[], [], []]);
});

test("a dead primary's agent calls those whose positions are waited for, and no connector", () => {
  const cluster = runningCluster();
  expect(callsIn(cluster, "db1", releasedPatch(1))).toEqual(["db2", "db3", "db4"]);
});

test("nobody calls himself", () => {
  const cluster = runningCluster();
  poll(cluster, "db1", releasedPatch(1));
  expect(callsIn(cluster, "db2", endedPatch("db1"))).toEqual(["db3", "db4"]);
});

test("whoever has not been heard for long is not called: nobody is there to come", () => {
  const cluster = runningCluster();
  passWithout(cluster, DEFAULT_SETTINGS.silentMs + 1_000, [ROUTER]);
  for (const name of REPLICAS) poll(cluster, name, endedPatch("db1"));
  poll(cluster, "db1", releasedPatch(1));
  poll(cluster, "db2");
  expect(callsIn(cluster, "db2", openPatch(2))).not.toContain(ROUTER);
});

test("when all positions are known it calls the one that is crowned", () => {
  const cluster = runningCluster();
  for (const name of REPLICAS) poll(cluster, name, endedPatch("db1"));
  expect(callsIn(cluster, "db1", releasedPatch(1))).toEqual(["db2"]);
});

test("a new primary calls the connectors, whose clients wait, and leaves the replicas to their pace", () => {
  const cluster = runningCluster();
  for (const name of REPLICAS) poll(cluster, name, endedPatch("db1"));
  poll(cluster, "db1", releasedPatch(1));
  poll(cluster, "db2");
  expect(callsIn(cluster, "db2", openPatch(2))).toEqual([ROUTER]);
  // It has been told now.
  poll(cluster, ROUTER);
  expect(callsIn(cluster, "db2", openPatch(2))).toEqual([]);
});

test("with synchronous durability it calls the replicas too: without them nothing is acknowledged", () => {
  const cluster = synchronous();
  round(cluster);
  for (const name of REPLICAS) poll(cluster, name, endedPatch("db1"));
  poll(cluster, "db1", releasedPatch(1));
  poll(cluster, "db2");
  const calls = callsIn(cluster, "db2", openPatch(2));
  expect(calls).toEqual(expect.arrayContaining(["db3", "db4"]));
  for (const name of ["db3", "db4"]) poll(cluster, name, streamingPatch("db2"));
  expect(callsIn(cluster, "db2", openPatch(2)).filter((name) => name !== ROUTER)).toEqual([]);
});

test("a switch calls the connectors when they are to hold, and when they are to let in again", () => {
  const cluster = switchRows["switch-preparing"]();
  poll(cluster, ROUTER);
  const called = new Set<string>();
  const { stepWith } = cluster;
  cluster.stepWith = (state, event) => {
    const result = (stepWith ?? defaultStep)(state, event);
    if (result.answer.kind === "reply" && event.kind === "poll" && event.poll.host !== ROUTER) {
      const { step } = result.state.durable.plan ?? {};
      if (result.answer.reply.call.includes(ROUTER)) called.add(step?.kind ?? "over");
      if (step?.kind === "returning" && result.answer.reply.call.includes("db2")) called.add("the prior primary");
    }
    return result;
  };
  liveUntil(cluster, () => cluster.state.durable.plan === null);
  live(cluster, DEFAULT_SETTINGS.pollMs);
  // Whom the switch has stopped is waited for by no client.
  expect([...called]).toEqual(["holding", "returning"]);
  expect(cluster.polls["db2"]?.server?.report).toEqual(IN_RECOVERY);
});

test("a switch that is undone calls the connectors that hold: their clients are let in where they were before", () => {
  const cluster = switchRows["switch-flushing"]();
  poll(cluster, ROUTER);
  pass(cluster, DEFAULT_SETTINGS.flushMs);
  const calls = callsIn(cluster, "db2");
  const opened = callsIn(cluster, "db2", { ...answeredPatch(cluster, "db2"), server: { door: "open" } });
  expect(cluster.state.durable.plan).toBeNull();
  expect([...calls, ...opened]).toContain(ROUTER);
  expect(routeOf(cluster, "read-write")).toMatchObject({ hold: false, target: { member: "db2" } });
});

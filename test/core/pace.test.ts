/** How soon each host is to poll again: whoever is waited for at the operation's pace, nobody past a deadline. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answeredPatch,
  begunPatch,
  endedPatch,
  pass,
  passWithout,
  poll,
  releasedPatch,
  ROUTER,
  runningCluster,
  WAIT_MS,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { switchRows } from "./plan-events.ts";

const { pollMs, pollInOperationMs, silentMs } = DEFAULT_SETTINGS;

function paceOf(cluster: Cluster, host: string, patch: PollPatch = {}): number {
  const { answer } = poll(cluster, host, patch);
  if (answer.kind !== "reply") throw new Error("no reply");
  return answer.reply.nextPollMs;
}

describe("the pace", () => {
  test("is that of rest while nothing goes on", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    for (const host of ["db1", "db2", "db3", "db4", ROUTER])
      expect([host, paceOf(cluster, host)]).toEqual([host, pollMs]);
  });

  test("is the operation's for those whose positions are waited for, and for nobody else", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    expect(paceOf(cluster, "db1", releasedPatch(1))).toBeGreaterThan(pollInOperationMs);
    expect(paceOf(cluster, "db2", endedPatch("db1"))).toBe(pollInOperationMs);
    expect(paceOf(cluster, ROUTER)).toBeGreaterThan(pollInOperationMs);
  });

  test("is not the operation's for a host that is carrying out its command: it comes by itself when that is done", () => {
    const cluster = switchRows["switch-preparing"]();
    poll(cluster, "db2");
    const taken = answeredPatch(cluster, "db2", { outcome: "accepted" });
    expect(paceOf(cluster, "db2", taken)).toBeGreaterThan(pollInOperationMs);
    expect(paceOf(cluster, "db2", answeredPatch(cluster, "db2"))).toBe(pollInOperationMs);
  });

  test("passes no deadline: nobody is called silent, and no lease over, late for a poll that was not due", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    const silentAt = cluster.atMs + silentMs;
    passWithout(cluster, silentMs - 600, ["db3"]);
    const leftMs = silentAt - cluster.atMs;
    expect(leftMs).toBe(600);
    for (const host of ["db1", "db2", ROUTER]) expect(paceOf(cluster, host)).toBe(leftMs);
    pass(cluster, leftMs - 1);
    expect(paceOf(cluster, "db2")).toBe(pollInOperationMs);
    expect(cluster.state.durable.members["db3"]?.state).toBe("online");
    pass(cluster, 1);
    poll(cluster, "db2");
    expect(cluster.state.durable.members["db3"]?.state).toBe("failed");
  });

  test("brings whoever may witness that a lease is over when it is, and then at the operation's pace", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    const { leaseAt } = cluster.state.live;
    passWithout(cluster, WAIT_MS - 700, ["db1"]);
    expect(paceOf(cluster, "db2")).toBe(Math.min(pollMs, leaseAt + WAIT_MS - cluster.atMs));
    cluster.atMs = leaseAt + WAIT_MS;
    // Its nonce is not old enough to have counted the whole wait: its next word decides.
    const { clocks: _, ...begun } = begunPatch(2);
    expect(paceOf(cluster, "db2", begun)).toBe(pollInOperationMs);
  });
});

/** Where connectors may send readers and writers, and for how long that is proved. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { ask, IN_RECOVERY, poll, ROUTER, runningCluster, STOPPED, type Cluster, type PollPatch } from "./builders.ts";
import { routeOf } from "./listening.ts";
import { killServer, live, restartCoordinator } from "./living.ts";
import { switchRows } from "./plan-events.ts";

const { silentMs, ttlMs, maxLatencyMs } = DEFAULT_SETTINGS;

function settled(): Cluster {
  const cluster = runningCluster();
  live(cluster, 2_000);
  return cluster;
}

function readersOf(cluster: Cluster): string[] {
  return routeOf(cluster, "read-only").targets.map(({ member }) => member);
}

describe("readers are sent", () => {
  test("to every replica that is ONLINE, and not to the primary", () => {
    expect(readersOf(settled())).toEqual(["db2", "db3", "db4"]);
  });

  test.each([
    ["whose newest change is too old", { server: { latencyMs: maxLatencyMs + 1 } }],
    ["that does not know how old its newest change is", { server: { latencyMs: null } }],
    ["whose server is stopped", { server: { report: STOPPED } }],
    ["whose server does not answer", { server: { report: { state: "unresponsive" } } }],
    ["whose server is writable", { server: { report: { state: "running", inRecovery: false, writable: true } } }],
  ] as [string, PollPatch][])("to no replica %s", (_, patch) => {
    const cluster = settled();
    poll(cluster, "db3", patch);
    expect(readersOf(cluster)).toEqual(["db2", "db4"]);
  });

  test("to one whose newest change is just young enough", () => {
    const cluster = settled();
    poll(cluster, "db3", { server: { latencyMs: maxLatencyMs } });
    expect(readersOf(cluster)).toContain("db3");
  });

  test("to none that is silent, in every policy", () => {
    for (const policy of ["automatic", "manual", "maintenance"] as const) {
      const cluster = settled();
      ask(cluster, { kind: "set-policy", policy });
      live(cluster, silentMs + 1_000, { silent: ["db3"] });
      expect([policy, readersOf(cluster)]).toEqual([policy, ["db2", "db4"]]);
    }
  });

  test.each(["datasource-shun", "datasource-fail", "datasource-offline"] as const)(
    "to none that an operator has put aside: %s",
    (kind) => {
      const cluster = settled();
      ask(cluster, { kind, member: "db3" });
      expect(readersOf(cluster)).toEqual(["db2", "db4"]);
    },
  );

  test("on, where nobody reigns: old data is data", () => {
    const cluster = settled();
    ask(cluster, { kind: "set-policy", policy: "manual" });
    killServer(cluster, "db1");
    live(cluster, 2_000);
    expect(cluster.state.durable.phase.kind).toBe("vacant");
    expect(readersOf(cluster)).toEqual(["db2", "db3", "db4"]);
  });

  test("not to the one that is being promoted", () => {
    const cluster = switchRows["switch-stopping, crowning"]();
    expect(readersOf(cluster)).toEqual(["db4"]);
  });
});

describe("writers are sent", () => {
  test("to the primary, for no longer than what is left of its lease", () => {
    const cluster = settled();
    const { validMs, target } = routeOf(cluster, "read-write");
    expect(target?.member).toBe("db1");
    expect(validMs).toBeGreaterThan(0);
    expect(validMs).toBeLessThanOrEqual(ttlMs);
    cluster.atMs += 2_000;
    expect(routeOf(cluster, "read-write").validMs).toBe(validMs - 2_000);
    cluster.atMs += ttlMs;
    expect(routeOf(cluster, "read-write")).toMatchObject({ target: null, validMs: 0 });
  });

  test("for one lease at a time where the lease has no end", () => {
    const cluster = settled();
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    live(cluster, 60_000, { silent: ["db1"] });
    expect(routeOf(cluster, "read-write")).toMatchObject({ target: { member: "db1" }, validMs: ttlMs });
  });

  test("nowhere while nobody reigns, or the one who reigns has not opened yet", () => {
    const cluster = switchRows["switch-stopping, crowning"]();
    expect(routeOf(cluster, "read-write")).toMatchObject({ target: null, validMs: 0 });
  });
});

describe("a coordinator that has heard nobody yet", () => {
  test("says nothing of what it does not know: what was proved before stands for its time", () => {
    const cluster = settled();
    restartCoordinator(cluster);
    const { answer } = poll(cluster, ROUTER);
    expect(answer).toMatchObject({ kind: "reply", reply: { routes: [] } });
  });

  test("goes by the holder's own word, which is never longer than its lease", () => {
    const cluster = settled();
    restartCoordinator(cluster);
    poll(cluster, "db1", { leaseRemainingMs: 4_000 });
    const { validMs } = routeOf(cluster, "read-write");
    expect(validMs).toBeLessThanOrEqual(4_000);
    for (const name of ["db2", "db3", "db4"]) poll(cluster, name, { server: { report: IN_RECOVERY } });
    expect(readersOf(cluster)).toEqual(["db2", "db3", "db4"]);
  });
});

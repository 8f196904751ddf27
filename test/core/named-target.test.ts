/** A failover to a named member: it takes over with everything that anybody has, or not at all. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { ask, IN_RECOVERY, poll, position, runningCluster, STOPPED, type Cluster } from "./builders.ts";
import { endOf, givenTo, listen, reasonsOf, refusalOf } from "./listening.ts";
import { failing, killServer, live, say, type Misfortune } from "./living.ts";

const { failoverMs } = DEFAULT_SETTINGS;

/** In MANUAL db1's server has died; db3 has received more than the others. */
function withOneAhead(): Cluster {
  const cluster = runningCluster();
  live(cluster, 2_000);
  ask(cluster, { kind: "set-policy", policy: "manual" });
  live(cluster, 2_000);
  killServer(cluster, "db1");
  live(cluster, 500);
  say(cluster, "db3", { server: { position: position("0/3000400"), applied: 0x3000400 } });
  live(cluster, 2_000);
  return cluster;
}

/** Told to follow, it receives nothing. */
const withoutFollowing: Misfortune = {
  obey: (_, command) => (command.kind === "follow" ? failing(command) : undefined),
};

describe("a named target that is behind", () => {
  test("first fetches the rest from the most advanced, and then takes over", () => {
    const cluster = withOneAhead();
    const told = listen(cluster);
    expect(refusalOf(ask(cluster, { kind: "failover", to: "db2" }))).toBe("accepted");
    live(cluster, 5_000);
    expect(reasonsOf(told, "catching-up")).toMatchObject([{ member: "db2", upstream: "db3" }]);
    expect(givenTo(told, "db2")).toEqual(["follow", "freeze", "promote"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db2", epoch: 2, opened: true });
    expect(cluster.state.durable.reigns.at(-1)?.fork).toMatchObject({ lsn: "0/3000400" });
    expect(endOf(told, "failover")).toBe("succeeded");
  });

  test("does not take over without it: the failover is given up, and nothing is lost", () => {
    const cluster = withOneAhead();
    const told = listen(cluster);
    ask(cluster, { kind: "failover", to: "db2" });
    live(cluster, failoverMs + 1_000, withoutFollowing);
    expect(endOf(told, "failover")).toBe("target-behind");
    expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "vacant", code: "target-behind" } });
  });

  test("gives way to nobody else in the operator's failover; another attempt may name another", () => {
    const cluster = withOneAhead();
    ask(cluster, { kind: "failover", to: "db2" });
    live(cluster, failoverMs + 1_000, withoutFollowing);
    expect(refusalOf(ask(cluster, { kind: "failover", to: "db3" }))).toBe("accepted");
    live(cluster, 5_000);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db3", epoch: 2, opened: true });
  });
});

describe("a named target that has everything", () => {
  test("takes over at once, whatever the priorities are", () => {
    const cluster = withOneAhead();
    const told = listen(cluster);
    ask(cluster, { kind: "failover", to: "db3" });
    live(cluster, 3_000);
    expect(reasonsOf(told, "catching-up")).toEqual([]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db3", opened: true });
  });
});

describe("a named target that can take over nothing", () => {
  test.each([
    ["its server is stopped", { server: { report: STOPPED } }],
    ["its data directory is damaged", { server: { isDamaged: true } }],
    ["its log is of another line", { ownEpoch: 7, server: { report: IN_RECOVERY } }],
  ] as const)("is refused by name, and nothing changes: %s", (_, patch) => {
    const cluster = withOneAhead();
    poll(cluster, "db4", patch);
    const before = cluster.state;
    expect(refusalOf(ask(cluster, { kind: "failover", to: "db4" }))).toBe("target-not-eligible");
    expect(cluster.state).toBe(before);
  });
});

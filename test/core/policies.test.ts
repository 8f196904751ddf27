/**
 * What each policy makes of each thing that happens: the whole table, complete by type. db1 reigns, the others follow it;
 * db4 is the replica that something happens to.
 */
import { describe, expect, test } from "vitest";
import type { Policy } from "#shared/domain/datasource.ts";
import { ask, IN_RECOVERY, poll, position, runningCluster, STOPPED, WAIT_MS, type Cluster } from "./builders.ts";
import { killServer, live, say, type Misfortune } from "./living.ts";

const LONG_MS = 30_000;

type Happening =
  | "the primary's server dies"
  | "the primary's server is restarted by hand"
  | "the primary's agent is silent"
  | "the primary loses its lease and comes back"
  | "the primary loses its lease and stays away"
  | "the primary is failed by its operator"
  | "the primary is shunned by force"
  | "a replica's server dies"
  | "a replica's server cannot be started"
  | "a failed replica is back"
  | "a replica's agent is silent"
  | "a replica's agent is silent and speaks again"
  | "a replica diverges"
  | "a replica is taken offline"
  | "a replica is shunned"
  | "a replica is shunned and welcomed";

const happenings: Record<Happening, (cluster: Cluster) => void> = {
  "the primary's server dies": (cluster) => {
    killServer(cluster, "db1");
    live(cluster, LONG_MS);
  },
  "the primary's server is restarted by hand": (cluster) => {
    killServer(cluster, "db1");
    live(cluster, 2_000);
    say(cluster, "db1", { server: { report: IN_RECOVERY } });
    live(cluster, LONG_MS);
  },
  "the primary's agent is silent": (cluster) => live(cluster, LONG_MS, { silent: ["db1"] }),
  "the primary loses its lease and comes back": (cluster) => {
    loseLease(cluster);
    live(cluster, LONG_MS);
  },
  "the primary loses its lease and stays away": (cluster) => {
    loseLease(cluster);
    say(cluster, "db1", { server: { report: STOPPED } });
    poll(cluster, "db1");
    live(cluster, LONG_MS, { silent: ["db1"] });
  },
  "the primary is failed by its operator": (cluster) => {
    ask(cluster, { kind: "datasource-fail", member: "db1" });
    live(cluster, LONG_MS);
  },
  "the primary is shunned by force": (cluster) => {
    ask(cluster, { kind: "datasource-shun", member: "db1" }, { force: true });
    live(cluster, LONG_MS);
  },
  "a replica's server dies": (cluster) => {
    killServer(cluster, "db4");
    live(cluster, LONG_MS);
  },
  "a replica's server cannot be started": (cluster) => {
    killServer(cluster, "db4");
    live(cluster, LONG_MS, unstartable);
  },
  "a failed replica is back": (cluster) => {
    killServer(cluster, "db4");
    live(cluster, 2_000, unstartable);
    say(cluster, "db4", { server: { report: IN_RECOVERY } });
    live(cluster, LONG_MS);
  },
  "a replica's agent is silent": (cluster) => live(cluster, LONG_MS, { silent: ["db4"] }),
  "a replica's agent is silent and speaks again": (cluster) => {
    live(cluster, LONG_MS, { silent: ["db4"] });
    live(cluster, LONG_MS);
  },
  "a replica diverges": (cluster) => {
    say(cluster, "db4", {
      ownEpoch: 9,
      attempted: 0,
      server: { receiver: { state: "none" }, position: position("0/9") },
    });
    live(cluster, LONG_MS);
  },
  "a replica is taken offline": (cluster) => {
    ask(cluster, { kind: "datasource-offline", member: "db4" });
    live(cluster, LONG_MS);
  },
  "a replica is shunned": (cluster) => {
    ask(cluster, { kind: "datasource-shun", member: "db4" });
    live(cluster, LONG_MS);
  },
  "a replica is shunned and welcomed": (cluster) => {
    ask(cluster, { kind: "datasource-shun", member: "db4" });
    live(cluster, 1_000);
    ask(cluster, { kind: "datasource-welcome", member: "db4" });
    live(cluster, LONG_MS);
  },
};

const unstartable: Misfortune = {
  obey: (_, { kind, id, op }) =>
    kind === "start"
      ? { results: [{ id, op, outcome: "failed", code: "engine-failed", value: "", detail: "" }] }
      : undefined,
};

/** Its agent has shut it in good order, and it runs read-only. */
function loseLease(cluster: Cluster): void {
  say(cluster, "db1", {
    released: 1,
    releaseCause: "lease-lost",
    leaseRemainingMs: null,
    server: { phase: "closed", report: IN_RECOVERY },
  });
}

/** Who reigns in which epoch, and what the one that it happened to is called. */
function standing({ state: { durable } }: Cluster, name: string): string {
  const { phase, epoch } = durable;
  const record = durable.members[name];
  const reigns = phase.kind === "reigning" && phase.opened ? `${phase.primary} in ${epoch}` : phase.kind;
  const reason = record?.reason.kind === "none" ? "" : `(${record?.reason.kind})`;
  return `${reigns}; ${name} ${record?.role} ${record?.state}${reason}`;
}

const table: Record<Happening, Record<Policy, string>> = {
  "the primary's server dies": {
    automatic: "db2 in 2; db1 primary shunned(failed-over-to)",
    manual: "vacant; db1 primary failed(dataserver-stopped)",
    maintenance: "vacant; db1 primary online",
  },
  "the primary's server is restarted by hand": {
    automatic: "db2 in 2; db1 primary shunned(failed-over-to)",
    manual: "vacant; db1 primary failed(dataserver-stopped)",
    maintenance: "db1 in 2; db1 primary online",
  },
  "the primary's agent is silent": {
    automatic: "db2 in 2; db1 primary shunned(failed-over-to)",
    manual: "vacant; db1 primary failed(manager-stopped)",
    maintenance: "db1 in 1; db1 primary online",
  },
  "the primary loses its lease and comes back": {
    automatic: "db1 in 2; db1 primary online",
    manual: "db1 in 2; db1 primary online",
    maintenance: "db1 in 2; db1 primary online",
  },
  "the primary loses its lease and stays away": {
    automatic: "db2 in 2; db1 primary shunned(failed-over-to)",
    manual: "vacant; db1 primary shunned(failsafe-shun)",
    maintenance: "vacant; db1 primary online",
  },
  "the primary is failed by its operator": {
    automatic: "db2 in 2; db1 primary shunned(failed-over-to)",
    manual: "vacant; db1 primary failed(manually-failed)",
    maintenance: "vacant; db1 primary failed(manually-failed)",
  },
  "the primary is shunned by force": {
    automatic: "vacant; db1 primary shunned(manually-shunned)",
    manual: "vacant; db1 primary shunned(manually-shunned)",
    maintenance: "vacant; db1 primary shunned(manually-shunned)",
  },
  "a replica's server dies": {
    automatic: "db1 in 1; db4 replica online",
    manual: "db1 in 1; db4 replica failed(dataserver-stopped)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a replica's server cannot be started": {
    automatic: "db1 in 1; db4 replica failed(dataserver-stopped)",
    manual: "db1 in 1; db4 replica failed(dataserver-stopped)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a failed replica is back": {
    automatic: "db1 in 1; db4 replica online",
    manual: "db1 in 1; db4 replica failed(dataserver-stopped)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a replica's agent is silent": {
    automatic: "db1 in 1; db4 replica failed(manager-stopped)",
    manual: "db1 in 1; db4 replica failed(manager-stopped)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a replica's agent is silent and speaks again": {
    automatic: "db1 in 1; db4 replica online",
    manual: "db1 in 1; db4 replica failed(manager-stopped)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a replica diverges": {
    automatic: "db1 in 1; db4 replica failed(diverged)",
    manual: "db1 in 1; db4 replica failed(diverged)",
    maintenance: "db1 in 1; db4 replica online",
  },
  "a replica is taken offline": {
    automatic: "db1 in 1; db4 replica online",
    manual: "db1 in 1; db4 replica offline",
    maintenance: "db1 in 1; db4 replica offline",
  },
  "a replica is shunned": {
    automatic: "db1 in 1; db4 replica shunned(manually-shunned)",
    manual: "db1 in 1; db4 replica shunned(manually-shunned)",
    maintenance: "db1 in 1; db4 replica shunned(manually-shunned)",
  },
  "a replica is shunned and welcomed": {
    automatic: "db1 in 1; db4 replica online",
    manual: "db1 in 1; db4 replica offline",
    maintenance: "db1 in 1; db4 replica offline",
  },
};

/** db1 reigns under a policy that every agent has confirmed. */
function under(policy: Policy): Cluster {
  const cluster = runningCluster();
  live(cluster, 2_000);
  ask(cluster, { kind: "set-policy", policy });
  live(cluster, 2_000);
  return cluster;
}

describe.each(Object.keys(table) as Happening[])("%s", (happening) => {
  test.each(Object.keys(table[happening]) as Policy[])("in %s", (policy) => {
    const cluster = under(policy);
    happenings[happening](cluster);
    const subject = happening.startsWith("a ") ? "db4" : "db1";
    expect(standing(cluster, subject)).toBe(table[happening][policy]);
  });
});

describe("what MAINTENANCE left unmarked", () => {
  test("is marked when it is over, and in AUTOMATIC it is then acted upon", () => {
    const cluster = under("maintenance");
    killServer(cluster, "db1");
    live(cluster, 5_000);
    expect(standing(cluster, "db1")).toBe("vacant; db1 primary online");
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    live(cluster, LONG_MS);
    expect(standing(cluster, "db1")).toBe("db2 in 2; db1 primary shunned(failed-over-to)");
  });

  test("is marked in MANUAL and goes no further", () => {
    const cluster = under("maintenance");
    killServer(cluster, "db1");
    live(cluster, 5_000);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    live(cluster, LONG_MS);
    expect(standing(cluster, "db1")).toBe("vacant; db1 primary failed(dataserver-stopped)");
  });
});

describe("an endless lease", () => {
  /** In MAINTENANCE, as every agent knows; then db1 is heard no more. */
  function unheard(): Cluster {
    const cluster = under("maintenance");
    live(cluster, 10 * WAIT_MS, { silent: ["db1"] });
    return cluster;
  }

  test("expires never, however long nobody is heard", () => {
    const cluster = unheard();
    expect(standing(cluster, "db1")).toBe("db1 in 1; db1 primary online");
    expect(cluster.state.lease?.epoch).toBe(1);
  });

  test("stays endless after MAINTENANCE for a holder that has not confirmed the end of it", () => {
    const cluster = unheard();
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    live(cluster, 10 * WAIT_MS, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db1 in 1; db1 primary online");
  });

  test("has an end again for a holder that has confirmed it", () => {
    const cluster = under("maintenance");
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    live(cluster, 2_000);
    live(cluster, LONG_MS, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db2 in 2; db1 primary shunned(failed-over-to)");
  });

  test("is counted from when its holder has learnt of the end, not from its last extension", () => {
    const cluster = unheard();
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    live(cluster, 1_000, { silent: ["db1"] });
    live(cluster, 500);
    live(cluster, WAIT_MS - 1_000, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db1 in 1; db1 primary online");
    live(cluster, LONG_MS, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db2 in 2; db1 primary shunned(failed-over-to)");
  });

  test("is not one yet for a holder that has never heard of MAINTENANCE, though the coordinator counts as if it were", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    live(cluster, 10 * WAIT_MS, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db1 in 1; db1 primary online");
  });

  test("is ended by the operator's assertion, by force and only while the holder is not heard", () => {
    const cluster = unheard();
    expect(ask(cluster, { kind: "failover", to: null }).answer).toMatchObject({
      refusal: { code: "needs-force" },
    });
    expect(ask(cluster, { kind: "failover", to: null }, { force: true }).answer.kind).toBe("accepted");
    live(cluster, LONG_MS, { silent: ["db1"] });
    expect(standing(cluster, "db1")).toBe("db2 in 2; db1 primary shunned(failed-over-to)");
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ proof: "asserted" });
  });

  test("is not ended by an assertion against a holder that is heard", () => {
    const cluster = under("maintenance");
    const before = cluster.state;
    expect(ask(cluster, { kind: "failover", to: null }, { force: true }).answer).toMatchObject({
      refusal: { code: "primary-is-live" },
    });
    expect(cluster.state).toBe(before);
  });

  test("ends at once with the holder's own word", () => {
    const cluster = under("maintenance");
    killServer(cluster, "db1");
    live(cluster, 500);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", proof: "released", code: "not-automatic" });
  });
});

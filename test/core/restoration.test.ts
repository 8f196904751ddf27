/** A coordinator whose storage was restored to the past, or lost: what it does until everybody has reported, and after. */
import { describe, expect, test } from "vitest";
import type { ClusterState } from "#shared/core/cluster/state.ts";
import { foundingState, freshLive } from "#shared/core/cluster/state.ts";
import { voucherOf } from "#shared/core/cluster/restoring.ts";
import { DEFAULT_SYNC_POLICY } from "#shared/core/cluster/state.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { voucherText } from "#shared/domain/voucher.ts";
import {
  ask,
  MEMBERS,
  openPatch,
  pass,
  poll,
  position,
  releasedPatch,
  runningCluster,
  secondReign,
  streamingPatch,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";

/** The storage of `then` comes back; the agents have lived on as in `now`. */
function restored(now: Cluster, then: Pick<ClusterState, "durable" | "lease">): Cluster {
  pass(now, 5_000);
  now.state = { ...then, live: freshLive(1, now.atMs) };
  now.atMs = 0;
  return now;
}

/** db1 was the primary when the backup was made; db2 reigns in epoch 2. */
function restoredBeforeFailover(): Cluster {
  const past = runningCluster().state;
  return restored(secondReign(), past);
}

/** Everybody polls twice: so that the second word is said after the first answer. */
function everybodyReports(cluster: Cluster, but: readonly string[] = []) {
  const steps = [];
  for (let round = 0; round < 2; round += 1) {
    pass(cluster, 500);
    for (const host of MEMBERS) if (!but.includes(host)) steps.push(poll(cluster, host));
  }
  return steps;
}

const restoration = ({ state }: Cluster) => state.durable.restoration?.kind ?? null;

describe("a coordinator restored to the past", () => {
  test("extends the lease of the holder of an epoch that it does not remember, and commands nothing", () => {
    const cluster = restoredBeforeFailover();
    const { answer } = poll(cluster, "db2", openPatch(2));
    expect(answer).toMatchObject({
      kind: "reply",
      reply: { lease: { epoch: 2 }, commands: [], leaseEndedEpoch: null },
    });
    expect(restoration(cluster)).toBe("reporting");
    expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "reigning", primary: "db2", epoch: 2 } });
    const replies = everybodyReports(cluster, ["db1"]).map((step) => step.answer);
    expect(replies.every((reply) => reply.kind === "reply" && reply.reply.commands.length === 0)).toBe(true);
    expect(restoration(cluster)).toBe("reporting");
  });

  test("gives no lease to the primary that it remembers once another epoch is vouched for", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db3");
    const { answer } = poll(cluster, "db1", openPatch(1));
    expect(answer).toMatchObject({ kind: "reply", reply: { lease: null, commands: [] } });
  });

  test("goes on above everything that was vouched for, in MANUAL, when all have reported", () => {
    const later = secondReign();
    const { epoch, op, version, policyVersion, electorate } = later.state.durable;
    const cluster = restored(later, runningCluster().state);
    poll(cluster, "db2", openPatch(2));
    poll(cluster, "db1", releasedPatch(1));
    const reasons = everybodyReports(cluster).flatMap((step) => step.reasons);
    expect(reasons).toContainEqual(
      expect.objectContaining({ kind: "coordinator-restated", epoch, primary: "db2", waived: [] }),
    );
    const { durable } = cluster.state;
    expect(durable).toMatchObject({ policy: "manual", restoration: { kind: "unconfirmed" } });
    expect(durable.epoch).toBe(epoch);
    expect(durable.op).toBeGreaterThanOrEqual(op);
    expect(durable.version).toBeGreaterThan(version);
    expect(durable.policyVersion).toBeGreaterThan(policyVersion);
    expect(durable.electorate.version).toBeGreaterThan(electorate.version);
    expect(durable.members["db1"]).toMatchObject({ state: "shunned", reason: { kind: "failed-over-to", to: "db2" } });
    expect(durable.members["db3"]).toMatchObject({ role: "replica", state: "online" });
  });

  test("knows from the restated reign whose log is of its line", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db2", openPatch(2));
    const reign = cluster.state.durable.reigns.at(-1);
    expect(reign).toMatchObject({ epoch: 2, member: "db2", parent: 1, proof: "restated", timeline: 2, opened: true });
    expect(reign?.fork).toMatchObject({ timeline: 1, lsn: "0/3000000" });
  });

  test("refuses every request but the one that ends the waiting", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db2", openPatch(2));
    expect(ask(cluster, { kind: "failover", to: null }, { force: true }).answer).toMatchObject({
      refusal: { code: "coordinator-restoring" },
    });
    expect(ask(cluster, { kind: "set-policy", policy: "automatic" }).answer).toMatchObject({
      refusal: { code: "coordinator-restoring" },
    });
  });

  test("waits for a member that is away until an operator forces it, and then leaves the next primary to a person", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db3");
    everybodyReports(cluster, ["db1", "db2"]);
    expect(ask(cluster, { kind: "coordinator-restored" }).answer).toMatchObject({ refusal: { code: "needs-force" } });
    const early = ask(cluster, { kind: "coordinator-restored" }, { force: true });
    expect(early.answer).toMatchObject({ refusal: { code: "coordinator-restoring" } });
    pass(cluster, WAIT_MS);
    for (const host of ["db3", "db4"]) poll(cluster, host);
    const forced = ask(cluster, { kind: "coordinator-restored" }, { force: true });
    expect(forced.reasons).toContainEqual(
      expect.objectContaining({ kind: "coordinator-restated", primary: null, waived: ["db1", "db2"] }),
    );
    expect(cluster.state.durable.phase).toMatchObject({ kind: "vacant", epoch: 2, code: "coordinator-restored" });
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    everybodyReports(cluster, ["db1", "db2"]);
    expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "vacant" } });
  });

  test("reopens the member that wrote last when nobody holds a lease any more", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db2", { ...releasedPatch(2), server: { phase: "closed", receiver: { state: "none" } } });
    const past: [number, string][] = [[1, "0/3000000"]];
    poll(cluster, "db2", {
      server: {
        report: { state: "running", inRecovery: true, writable: false },
        position: position("0/3000100", 2, past),
      },
    });
    poll(cluster, "db1", { ...releasedPatch(1) });
    everybodyReports(cluster);
    expect(restoration(cluster)).toBe("unconfirmed");
    everybodyReports(cluster);
    expect(cluster.state.durable).toMatchObject({ epoch: 3, phase: { kind: "reigning", primary: "db2" } });
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ parent: 2, timeline: 3 });
  });

  test("keeps out whom an operator had shunned after the backup", () => {
    const later = secondReign();
    ask(later, { kind: "datasource-shun", member: "db4" });
    poll(later, "db3");
    const cluster = restored(later, runningCluster().state);
    poll(cluster, "db2", openPatch(2));
    poll(cluster, "db1", { ...releasedPatch(1) });
    everybodyReports(cluster);
    expect(restoration(cluster)).toBe("unconfirmed");
    expect(cluster.state.durable.members["db4"]).toMatchObject({
      state: "shunned",
      reason: { kind: "manually-shunned" },
    });
  });

  test("is itself again when an operator sets the policy", () => {
    const cluster = restoredBeforeFailover();
    poll(cluster, "db2", openPatch(2));
    poll(cluster, "db1", { ...releasedPatch(1) });
    everybodyReports(cluster);
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    expect(cluster.state.durable).toMatchObject({ policy: "automatic", restoration: null });
    poll(cluster, "db2", releasedPatch(2));
    for (const host of ["db3", "db4"])
      poll(cluster, host, { server: { receiver: { state: "ended", upstream: "db2" } } });
    expect(cluster.state.durable).toMatchObject({ epoch: 3, phase: { kind: "reigning", primary: "db3" } });
  });

  test("takes no member's claim without a voucher", () => {
    const cluster = runningCluster();
    const { answer } = poll(cluster, "db4", { epochSeen: 9, opSeen: 30, version: 300, mac: "" });
    expect(answer.kind).toBe("reply");
    expect(restoration(cluster)).toBeNull();
    expect(cluster.state.durable.epoch).toBe(1);
  });

  test("an operator who says so makes it wait for every report", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "coordinator-restored" });
    expect(restoration(cluster)).toBe("reporting");
    poll(cluster, "db1", openPatch(1));
    everybodyReports(cluster);
    expect(cluster.state.durable).toMatchObject({
      restoration: { kind: "unconfirmed" },
      policy: "manual",
      phase: { kind: "reigning", primary: "db1", epoch: 1 },
    });
  });

  test("calls a log astray that is of an epoch with the number of one of ours", () => {
    const cluster = secondReign();
    const other = { ...voucherOf(cluster.state.durable), mintedWallMs: 1 };
    const { reasons } = poll(cluster, "db4", { mac: voucherText(other) });
    expect(reasons).toContainEqual({ kind: "member-strayed", member: "db4", epoch: 2 });
    expect(restoration(cluster)).toBe("reporting");
    expect(cluster.state.durable.identities["db4"]?.isStray).toBe(true);
  });
});

describe("a coordinator that lost its storage", () => {
  function recreated(): Cluster {
    const durable = foundingState({
      dataservice: "alpha",
      members: MEMBERS.map((name) => ({ name, priority: 100 })),
      primary: "db1",
      routers: [],
      settings: DEFAULT_SETTINGS,
      durability: "async",
      syncPolicy: DEFAULT_SYNC_POLICY,
      wallMs: 0,
      isRestored: true,
    });
    return restored(secondReign(), { durable, lease: null });
  }

  test("takes over the reign that it finds", () => {
    const cluster = recreated();
    poll(cluster, "db1", { ...releasedPatch(1) });
    poll(cluster, "db2", openPatch(2));
    everybodyReports(cluster);
    expect(cluster.state.durable).toMatchObject({
      epoch: 2,
      policy: "manual",
      restoration: { kind: "unconfirmed" },
      phase: { kind: "reigning", primary: "db2", epoch: 2 },
    });
  });

  test("without the secret that signed what members hold, takes their claims over only by force", () => {
    const cluster = recreated();
    for (const host of MEMBERS) {
      const last = cluster.polls[host];
      if (last) cluster.polls[host] = { ...last, mac: "" };
    }
    poll(cluster, "db1", { ...releasedPatch(1) });
    poll(cluster, "db2", { ...releasedPatch(2) });
    for (const host of MEMBERS) poll(cluster, host, { mac: "" });
    everybodyReports(cluster);
    expect(restoration(cluster)).toBe("reporting");
    pass(cluster, WAIT_MS);
    for (const host of MEMBERS) poll(cluster, host);
    ask(cluster, { kind: "coordinator-restored" }, { force: true });
    const { op, opSeen } = { op: cluster.state.durable.op, opSeen: cluster.polls["db3"]?.opSeen ?? 0 };
    expect(op).toBeGreaterThanOrEqual(opSeen);
    expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "vacant", deposed: "db2" } });
  });

  test("is founded like any other when no member has ever had an epoch", () => {
    const durable = foundingState({
      dataservice: "alpha",
      members: [{ name: "db1", priority: 100 }],
      primary: "db1",
      routers: [],
      settings: DEFAULT_SETTINGS,
      durability: "async",
      syncPolicy: DEFAULT_SYNC_POLICY,
      wallMs: 0,
      isRestored: true,
    });
    const cluster = runningCluster();
    cluster.state = { durable, lease: null, live: freshLive(1, 0) };
    const fresh = {
      mac: "",
      version: 0,
      epochSeen: 0,
      opSeen: 0,
      attempted: 0,
      ownEpoch: 0,
      nonce: null,
      leaseRemainingMs: null,
    };
    const read = {
      report: { state: "running", inRecovery: true, writable: false } as const,
      phase: "observing" as const,
    };
    poll(cluster, "db1", { ...fresh, server: read });
    poll(cluster, "db1");
    pass(cluster, 100);
    poll(cluster, "db1");
    expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "reigning" } });
  });
});

test("streaming again from the holder is what makes a replica of a former primary", () => {
  const cluster = restoredBeforeFailover();
  poll(cluster, "db2", openPatch(2));
  const past: [number, string][] = [[1, "0/3000000"]];
  poll(cluster, "db1", {
    attempted: 1,
    released: 1,
    server: { ...streamingPatch("db2").server, position: position("0/3000100", 2, past) },
  });
  everybodyReports(cluster);
  expect(cluster.state.durable.members["db1"]).toMatchObject({ role: "replica", state: "online" });
});

/** An older copy of a data directory under an intact agent's state: what it lacks may have been acknowledged (SPEC: ID-14). */
import { describe, expect, test } from "vitest";
import { ineligible } from "#shared/core/cluster/choose.ts";
import { missingQuorums } from "#shared/core/cluster/sync.ts";
import { begin, step } from "#shared/core/member/step.ts";
import { pollOf } from "#shared/core/member/poll.ts";
import type { PostgresPosition } from "#shared/domain/position.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  begunPatch,
  ask,
  clocksAt,
  epochOf,
  IN_RECOVERY,
  pass,
  passWithout,
  poll,
  position,
  releasedPatch,
  REPLICAS,
  runningCluster,
  secondReign,
  STOPPED,
  WRITABLE,
  type Cluster,
} from "./builders.ts";
import { listen, reasonsOf } from "./listening.ts";
import { restartCoordinator } from "./living.ts";
import { closedDurable, finished, give, liveOf, memberPhases, viewOf, type Member } from "./member-events.ts";
import { round, synchronous, talk } from "./synchronous.ts";

const FAR = position("0/3000A28");
const BACK = position("0/3000128");
const NEAR = position("0/3000A20");
const REIGN_1 = { epoch: 1 };

const stateOf = ({ state }: Cluster, name: string) => {
  const { role, state: word, reason } = state.durable.members[name] ?? {};
  return `${role} ${word}(${reason?.kind})`;
};

/** Everybody has the log up to the same place. */
function written(cluster: Cluster, lsn: PostgresPosition = FAR): Cluster {
  for (const host of ["db1", "db2", "db3", "db4"]) poll(cluster, host, { server: { position: lsn } });
  return cluster;
}

describe("a replica whose data directory was put back to an older copy", () => {
  test("is said to have lost log, is read by nobody and is not elected, until it reaches as far again", () => {
    const cluster = written(runningCluster());
    const told = listen(cluster);
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
    poll(cluster, "db3", {
      server: { report: STOPPED, isWhole: false, receiver: { state: "ended", upstream: "db1" } },
    });
    poll(cluster, "db3", { server: { report: IN_RECOVERY, position: BACK, isWhole: true } });
    expect(reasonsOf(told, "log-lost")).toEqual([
      {
        kind: "log-lost",
        member: "db3",
        had: { timeline: 1, lsn: FAR.lsn },
        has: { timeline: 1, lsn: BACK.lsn },
      },
    ]);
    expect(stateOf(cluster, "db3")).toBe("replica failed(log-lost)");
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe("log-lost");
    poll(cluster, "db3", { server: { receiver: { state: "streaming", upstream: "db1" }, position: NEAR } });
    expect(stateOf(cluster, "db3")).toBe("replica failed(log-lost)");
    poll(cluster, "db3", { server: { position: FAR } });
    expect(stateOf(cluster, "db3")).toBe("replica online(none)");
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
    expect(reasonsOf(told, "log-lost")).toHaveLength(1);
    expect(reasonsOf(told, "log-regained")).toHaveLength(1);
  });

  test("is known by its agent's word to a coordinator that has never heard it before", () => {
    const cluster = written(runningCluster());
    restartCoordinator(cluster);
    poll(cluster, "db3", { server: { position: BACK, furthest: FAR } });
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe("log-lost");
  });

  test("stays known to a coordinator that was restarted, whatever its agent says", () => {
    const cluster = written(runningCluster());
    poll(cluster, "db3", { server: { position: BACK } });
    restartCoordinator(cluster);
    poll(cluster, "db3", { server: { position: NEAR } });
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe("log-lost");
  });

  test("is recovered when it reaches as far again, and not before", () => {
    const cluster = written(runningCluster());
    const told = listen(cluster);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    poll(cluster, "db3", { server: { position: BACK } });
    expect(stateOf(cluster, "db3")).toBe("replica failed(log-lost)");
    ask(cluster, { kind: "datasource-recover", member: "db3" });
    poll(cluster, "db3");
    poll(cluster, "db3", { server: { receiver: { state: "streaming", upstream: "db1" }, position: NEAR } });
    expect(cluster.state.durable.plan).toMatchObject({ kind: "recover", step: { kind: "following" } });
    expect(stateOf(cluster, "db3")).toBe("replica failed(log-lost)");
    poll(cluster, "db3", { server: { position: FAR } });
    expect(reasonsOf(told, "recovery-completed")).toMatchObject([{ member: "db3" }]);
    expect(stateOf(cluster, "db3")).toBe("replica online(none)");
  });

  test("is an ordinary replica when it has followed a later reign", () => {
    const cluster = secondReign();
    const past: [number, string][] = [[1, "0/3000000"]];
    poll(cluster, "db4", { server: { position: position("0/2FFF128", 1), furthest: position("0/3000008", 1) } });
    expect(stateOf(cluster, "db4")).toBe("replica failed(log-lost)");
    poll(cluster, "db4", { server: { position: position("0/3000100", 2, past) } });
    expect(stateOf(cluster, "db4")).toBe("replica online(none)");
  });

  test("is another one when it has been laid out anew, also by an agent that was restarted right after that", () => {
    const cluster = written(runningCluster());
    poll(cluster, "db3", { server: { position: BACK } });
    const op = cluster.state.durable.op + 1;
    const known = cluster.state.durable.identities["db3"];
    if (!known) throw new Error("no identity");
    const identities = { ...cluster.state.durable.identities, db3: { ...known, rebuildOp: op } };
    cluster.state = { ...cluster.state, durable: { ...cluster.state.durable, op, identities } };
    poll(cluster, "db3", {
      incarnation: "anew",
      startCount: 2,
      opSeen: op,
      server: { position: BACK, furthest: null },
    });
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
    expect(cluster.state.durable.identities["db3"]).toMatchObject({ lost: null, rebuildOp: 0, incarnation: "anew" });
  });
});

describe("nothing is said of", () => {
  test("a replica that has not read all of its log yet, and it is not elected meanwhile", () => {
    const cluster = written(runningCluster());
    passWithout(cluster, 2_000, []);
    const told = listen(cluster);
    poll(cluster, "db3", { server: { position: BACK, isWhole: false } });
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe("log-unread");
    expect(stateOf(cluster, "db3")).toBe("replica online(none)");
    poll(cluster, "db3", { server: { position: FAR, isWhole: true } });
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
    expect(reasonsOf(told, "log-lost")).toEqual([]);
  });

  test("what a dead server had written and not flushed, and its host has lost", () => {
    const cluster = written(runningCluster());
    const told = listen(cluster);
    const tail = position("0/3004A28");
    poll(cluster, "db3", { server: { report: STOPPED, position: tail, isWhole: true } });
    poll(cluster, "db3", { startCount: 2, seq: 1, nonce: null, server: { report: IN_RECOVERY, position: FAR } });
    expect(reasonsOf(told, "log-lost")).toEqual([]);
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
  });

  test("a replica that was restarted, and has all that it had", () => {
    const cluster = written(runningCluster());
    const told = listen(cluster);
    poll(cluster, "db3", { server: { report: STOPPED, isWhole: false } });
    poll(cluster, "db3", { server: { report: IN_RECOVERY, position: null } });
    poll(cluster, "db3", { server: { position: FAR } });
    expect(reasonsOf(told, "log-lost")).toEqual([]);
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
  });

  test("a record of which only the first pages had come, and which is gone after a restart", () => {
    const cluster = written(runningCluster());
    const told = listen(cluster);
    poll(cluster, "db3", { server: { position: position("0/3004000") } });
    poll(cluster, "db3", { server: { position: position("0/3000A30") } });
    expect(reasonsOf(told, "log-lost")).toEqual([]);
    expect(ineligible(cluster.state, REIGN_1, "db3")).toBe(null);
  });
});

describe("what was acknowledged from a data directory that was put back", () => {
  test("counts no more, also when it reaches as far again", () => {
    const cluster = synchronous();
    round(cluster);
    for (const host of ["db1", ...REPLICAS]) talk(cluster, host, { server: { position: FAR } });
    expect(missingQuorums(cluster.state, REPLICAS)).toEqual([]);
    talk(cluster, "db3", { server: { position: BACK } });
    talk(cluster, "db3", { server: { position: FAR } });
    // All three may have acknowledged alone: what only db3 had is not certain to be there.
    expect(missingQuorums(cluster.state, REPLICAS)).toMatchObject([{ missing: ["db3"] }]);
    // The last primary's own log would answer for all of it.
    expect(missingQuorums(cluster.state, ["db1"])).toEqual([]);
    round(cluster);
    expect(missingQuorums(cluster.state, REPLICAS)).toEqual([]);
  });

  test("is not answered for by the last primary's own log when it is that one's", () => {
    const cluster = synchronous();
    round(cluster);
    for (const host of ["db1", ...REPLICAS]) talk(cluster, host, { server: { position: FAR } });
    talk(cluster, "db1", releasedPatch(1));
    talk(cluster, "db1", { server: { report: IN_RECOVERY, position: BACK, isWhole: true } });
    talk(cluster, "db1", { server: { position: FAR } });
    expect(missingQuorums(cluster.state, ["db1"])).toMatchObject([{ missing: REPLICAS }]);
  });
});

describe("a last primary whose data directory was put back", () => {
  /** db1's server died, nobody else is there, and it comes back on an older copy. */
  function comesBack(policy: "automatic" | "manual" | "maintenance" = "automatic"): Cluster {
    const cluster = written(runningCluster());
    if (policy !== "automatic") ask(cluster, { kind: "set-policy", policy });
    for (const host of REPLICAS) poll(cluster, host, { server: { report: STOPPED, isWhole: false } });
    poll(cluster, "db1", { ...releasedPatch(1), policyVersion: cluster.state.durable.policyVersion });
    pass(cluster, 1_000);
    poll(cluster, "db1", { server: { report: IN_RECOVERY, position: BACK, isWhole: true } });
    return cluster;
  }

  test.each(["automatic", "manual", "maintenance"] as const)("is not opened in %s, and it is said why", (policy) => {
    const cluster = comesBack(policy);
    passWithout(cluster, 2 * DEFAULT_SETTINGS.failoverMs, []);
    expect(epochOf(cluster)).toBe(1);
    expect(cluster.state.durable.phase.kind).toBe("vacant");
    expect(ineligible(cluster.state, REIGN_1, "db1")).toBe("log-lost");
    expect(stateOf(cluster, "db1")).toBe(
      policy === "maintenance" ? "primary online(none)" : "primary shunned(log-lost)",
    );
  });

  test("is succeeded by a replica that has everything", () => {
    const cluster = comesBack();
    pass(cluster, 1_000);
    poll(cluster, "db3", {
      server: { report: IN_RECOVERY, isWhole: true, receiver: { state: "ended", upstream: "db1" } },
    });
    passWithout(cluster, 2 * DEFAULT_SETTINGS.failoverMs, []);
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ epoch: 2, member: "db3" });
  });

  test("is opened when an operator welcomes it by force, and what it lacks is told", () => {
    const cluster = comesBack();
    passWithout(cluster, 2 * DEFAULT_SETTINGS.failoverMs, []);
    const told = listen(cluster);
    ask(cluster, { kind: "datasource-welcome", member: "db1" }, { force: true });
    passWithout(cluster, 2_000, []);
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ epoch: 2, member: "db1" });
    expect(reasonsOf(told, "possible-loss")).toMatchObject([{ member: "db1", bytes: 0x900 }]);
  });
});

test("a reign on a log that is shorter than it was is ended", () => {
  const cluster = written(runningCluster());
  const told = listen(cluster);
  // Its agent would have fenced it: the one that is there now has been started since, and does not remember the mark.
  poll(cluster, "db1", { ...begunPatch(2), clocks: clocksAt(cluster.atMs), server: { position: BACK } });
  expect(cluster.state.durable.phase).toMatchObject({ kind: "deposing", primary: "db1", cause: "log-lost" });
  expect(reasonsOf(told, "primary-fencing")).toMatchObject([{ member: "db1", cause: "log-lost" }]);
});

describe("a member", () => {
  const view = (at: PostgresPosition | null, report = IN_RECOVERY) => ({ ...viewOf(report), position: at });
  const seen = (member: Member, at: PostgresPosition, report = IN_RECOVERY) =>
    give(member, { kind: "observed", clocks: clocksAt(member.atMs), view: view(at, report), after: null });

  test("keeps how far its log was seen to reach, without a sync of its own, and says it", () => {
    const member = memberPhases["closed-idle"]();
    expect(seen(member, FAR).fsync).toBe(false);
    expect(member.state.durable.furthest).toEqual(FAR);
    expect(seen(member, BACK).state.durable.furthest).toEqual(FAR);
    expect(seen(member, position("0/3004000")).state.durable.furthest).toEqual(FAR);
    const { server } = pollOf(member.state, { seq: 1, clocks: clocksAt(0), connector: null, peer: null });
    expect(server).toMatchObject({ furthest: FAR, isWhole: true });
  });

  test("does not count what a dead server has left: it may not all be flushed", () => {
    const member = memberPhases["closed-idle"]();
    seen(member, FAR);
    seen(member, position("0/3004A28"), STOPPED);
    expect(member.state.durable.furthest).toEqual(FAR);
  });

  test("that was not founded keeps nothing", () => {
    const member = memberPhases.observing();
    expect(seen(member, FAR).state.durable.furthest).toBe(null);
  });

  test("forgets it with the data directory that is laid out anew", () => {
    const member = memberPhases["closed-idle"]();
    seen(member, FAR);
    const rebuilding = memberPhases["closed-rebuilding"]();
    rebuilding.state = {
      ...rebuilding.state,
      durable: { ...rebuilding.state.durable, furthest: member.state.durable.furthest },
    };
    seen(rebuilding, BACK);
    expect(rebuilding.state.durable.furthest).toEqual(FAR);
    give(rebuilding, finished(rebuilding, true, { value: "anew" }));
    expect(rebuilding.state.durable.furthest).toBe(null);
  });

  test.each(["automatic", "maintenance"] as const)("whose open server is an older copy is fenced, in %s", (policy) => {
    const member = memberPhases.open();
    member.state = { ...member.state, durable: { ...member.state.durable, policy } };
    seen(member, FAR, WRITABLE);
    const { reasons } = seen(member, BACK, WRITABLE);
    expect(reasons).toMatchObject([{ kind: "log-lost" }, { kind: "fencing", cause: "log-lost" }]);
    expect(member.state.phase).toMatchObject({ kind: "fencing", isGentle: false, restart: policy === "automatic" });
  });

  test("that is started beside a writable older copy fences it, though its lease still runs", () => {
    const open = memberPhases.open();
    const durable = { ...open.state.durable, furthest: FAR };
    const beside = (at: PostgresPosition) =>
      begin(durable, { ...liveOf(WRITABLE), view: view(at, WRITABLE) }, clocksAt(open.atMs)).state.phase;
    expect(beside(FAR)).toMatchObject({ kind: "open" });
    expect(beside(BACK)).toMatchObject({ kind: "fencing", cause: "log-lost" });
  });

  test("whose server was restarted in good order is not disturbed", () => {
    const durable = { ...closedDurable({ epoch: 3, op: 30 }), furthest: FAR };
    const first = begin(durable, { ...liveOf(IN_RECOVERY), view: view(null) }, clocksAt(0));
    const next = step(first.state, {
      kind: "observed",
      clocks: clocksAt(1),
      view: view(position("0/3000AA0")),
      after: null,
    });
    expect(next.state.phase.kind).toBe("closed");
    expect(next.state.durable.furthest).toEqual(position("0/3000AA0"));
    expect([...first.reasons, ...next.reasons].map(({ kind }) => kind)).toEqual(["started"]);
  });
});

/**
 * Two agents with one identity: a copy of a machine, or of a state directory, speaks beside the original. What only looks
 * like that, what gives it away, what neither may do from then on, and who ends it.
 */
import { describe, expect, test } from "vitest";
import { missingQuorums } from "#shared/core/cluster/sync.ts";
import type { Poll } from "#shared/domain/messages.ts";
import {
  answerInquiry,
  ask,
  begunPatch,
  clocksAt,
  createdCluster,
  endedPatch,
  epochOf,
  frozenPatch,
  IN_RECOVERY,
  nextPoll,
  openPatch,
  pass,
  passWithout,
  phaseOf,
  poll,
  position,
  releasedPatch,
  REPLICAS,
  ROUTER,
  runningCluster,
  secondReign,
  send,
  setDurable,
  WAIT_MS,
  WRITABLE,
  type Cluster,
  type PollPatch,
} from "./builders.ts";
import { givenTo, listen, reasonsOf, refusalOf } from "./listening.ts";
import { restartCoordinator } from "./living.ts";

type Step = ReturnType<typeof poll>;

const stateOf = ({ state }: Cluster, name: string) => {
  const record = state.durable.members[name];
  return `${record?.role} ${record?.state}(${record?.reason.kind})`;
};

/** The host polls, and the answer never reaches it. */
function pollInVain(cluster: Cluster, host: string, patch: PollPatch = {}): Step {
  const sent = nextPoll(cluster, host, patch);
  cluster.polls[host] = sent;
  return send(cluster, { kind: "poll", poll: sent });
}

/** A copy of the host's agent as it is at this moment, to speak beside it from now on. */
class Copy {
  readonly #cluster: Cluster;
  #last: Poll;

  constructor(cluster: Cluster, host: string) {
    this.#cluster = cluster;
    this.#last = structuredClone(cluster.polls[host] as Poll);
  }

  /** What the copy says next, `ahead` polls later: its own count goes on from where it was copied. */
  poll(patch: PollPatch = {}, ahead = 1): Step {
    const original = this.#cluster.polls[this.#last.host] as Poll;
    this.#cluster.polls[this.#last.host] = { ...this.#last, seq: this.#last.seq + ahead - 1 };
    const result = poll(this.#cluster, this.#last.host, patch);
    this.#last = this.#cluster.polls[this.#last.host] as Poll;
    this.#cluster.polls[this.#last.host] = original;
    return result;
  }
}

/** Both speak: the original twice, so that the copy has an older answer in hand, then the copy. */
function fork(cluster: Cluster, host: string, patch: PollPatch = {}): { copy: Copy; step: Step } {
  const copy = new Copy(cluster, host);
  for (let turn = 0; turn < 2; turn += 1) {
    pass(cluster, 1_000);
    poll(cluster, host);
  }
  pass(cluster, 100);
  return { copy, step: copy.poll(patch, 5) };
}

describe("no fork is", () => {
  test("a lost answer, nor three in a row", () => {
    const cluster = runningCluster();
    for (let turn = 0; turn < 3; turn += 1) {
      pass(cluster, 500);
      expect(pollInVain(cluster, "db2").answer.kind).toBe("reply");
    }
    expect(poll(cluster, "db2").answer.kind).toBe("reply");
    expect(poll(cluster, "db2").answer.kind).toBe("reply");
  });

  test("a poll that comes late, or twice, or by way of a peer as well", () => {
    const cluster = runningCluster();
    const late = nextPoll(cluster, "db2");
    cluster.polls["db2"] = late;
    pass(cluster, 500);
    poll(cluster, "db2");
    poll(cluster, "db2");
    const before = cluster.state;
    for (const sent of [late, cluster.polls["db2"] ?? late]) {
      expect(refusalOf(send(cluster, { kind: "poll", poll: sent }))).toBe("stale-poll");
    }
    expect(cluster.state).toBe(before);
  });

  test("an answer of another incarnation of the coordinator in between", () => {
    const cluster = runningCluster();
    poll(cluster, "db2");
    poll(cluster, "db2", { nonce: `${cluster.state.live.generation - 1}.3` });
    expect(poll(cluster, "db2").answer.kind).toBe("reply");
    poll(cluster, "db2", { nonce: "junk" });
    expect(poll(cluster, "db2").answer.kind).toBe("reply");
  });

  test("an agent that was restarted, on a host that was restarted", () => {
    const cluster = runningCluster();
    poll(cluster, "db2");
    pass(cluster, 60_000);
    expect(poll(cluster, "db2", begunPatch(2)).answer.kind).toBe("reply");
    expect(poll(cluster, "db2", { clocks: clocksAt(500) }).answer.kind).toBe("reply");
  });

  test("a wall clock that was set back", () => {
    const cluster = runningCluster();
    poll(cluster, "db2");
    const clocks = { ...clocksAt(cluster.atMs), wallMs: 0 };
    expect(poll(cluster, "db2", { clocks }).answer.kind).toBe("reply");
  });

  test("a host with a connector only", () => {
    const cluster = runningCluster();
    expect(fork(cluster, ROUTER).step.answer.kind).toBe("reply");
  });
});

describe("a fork is given away by", () => {
  test("a nonce older than one that was returned before", () => {
    const cluster = runningCluster();
    const told = listen(cluster);
    expect(refusalOf(fork(cluster, "db2").step)).toBe("forked-identity");
    expect(reasonsOf(told, "identity-forked")).toEqual([
      { kind: "identity-forked", host: "db2", startCount: 1, evidence: "nonce" },
    ]);
    expect(stateOf(cluster, "db2")).toBe("replica failed(identity-forked)");
  });

  test("a nonce that was in hand when another was returned: two that take turns", () => {
    const cluster = runningCluster();
    const copy = new Copy(cluster, "db1");
    const codes: string[] = [];
    for (let turn = 0; turn < 2; turn += 1) {
      pass(cluster, 500);
      codes.push(refusalOf(poll(cluster, "db1", { seq: 50 + 2 * turn })));
      pass(cluster, 500);
      codes.push(refusalOf(copy.poll({ seq: 51 + 2 * turn })));
    }
    expect(codes).toEqual(["reply", "reply", "forked-identity", "forked-identity"]);
  });

  test("a log that is shorter than it was, of a server that has been open all the while", () => {
    const cluster = runningCluster();
    poll(cluster, "db1", { ...openPatch(1), server: { ...openPatch(1).server, position: position("0/3000800") } });
    const told = listen(cluster);
    pass(cluster, 500);
    // Memory and all was copied: each of the two writes a log of its own, and neither is to vouch for the other's end.
    const { answer } = poll(cluster, "db1", { server: { position: position("0/3000400") } });
    expect(answer).toMatchObject({ kind: "refused", refusal: { code: "forked-identity" } });
    expect(reasonsOf(told, "identity-forked")).toMatchObject([{ host: "db1", evidence: "state" }]);
    expect(reasonsOf(told, "log-lost")).toEqual([]);
    expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", cause: "identity-forked" });
  });

  test.each([0, -3])("a number that another has used since, sent later", (behind) => {
    const cluster = runningCluster();
    pass(cluster, 1_000);
    poll(cluster, "db2");
    pass(cluster, 300);
    const { seq } = cluster.polls["db2"] as Poll;
    expect(refusalOf(poll(cluster, "db2", { seq: seq + behind }))).toBe("forked-identity");
  });

  test("no nonce at all where one was returned before", () => {
    const cluster = runningCluster();
    poll(cluster, "db2");
    poll(cluster, "db2");
    expect(refusalOf(poll(cluster, "db2", { nonce: null, nonceClocks: null }))).toBe("forked-identity");
  });

  test.each(["monoMs", "bootMs"] as const)("a clock that goes back within a start: %s", (clock) => {
    const cluster = runningCluster();
    pass(cluster, 5_000);
    poll(cluster, "db3");
    const clocks = { ...clocksAt(cluster.atMs), [clock]: 1_000 };
    expect(refusalOf(poll(cluster, "db3", { clocks }))).toBe("forked-identity");
  });

  test.each(["epochSeen", "opSeen", "attempted", "released"] as const)(
    "knowing less than was kept, in a later start too: %s",
    (what) => {
      const cluster = secondReign();
      const before = { epochSeen: 2, opSeen: 9, attempted: 1, released: 1 };
      poll(cluster, "db3", before);
      const restored = { startCount: 2, seq: 1, nonce: null, nonceClocks: null, ...before, [what]: 0 };
      expect(refusalOf(poll(cluster, "db3", restored))).toBe("forked-identity");
    },
  );
});

describe("of a replica that there are two of", () => {
  test("nobody is heard, whichever speaks, after a restart of either and of the coordinator", () => {
    const cluster = runningCluster();
    const { copy } = fork(cluster, "db2");
    const { durable } = cluster.state;
    pass(cluster, 1_000);
    expect(refusalOf(poll(cluster, "db2"))).toBe("forked-identity");
    expect(refusalOf(copy.poll())).toBe("forked-identity");
    expect(refusalOf(poll(cluster, "db2", { startCount: 7, seq: 1 }))).toBe("forked-identity");
    restartCoordinator(cluster);
    expect(refusalOf(poll(cluster, "db2"))).toBe("forked-identity");
    expect(cluster.state.durable).toBe(durable);
  });

  test("neither is elected, though nobody has more of the log", () => {
    const cluster = runningCluster();
    const more = position("0/3000200");
    poll(cluster, "db2", { server: { position: more } });
    fork(cluster, "db2");
    for (const host of ["db3", "db4"]) poll(cluster, host);
    poll(cluster, "db1", releasedPatch(1));
    pass(cluster, 50);
    for (const host of ["db3", "db4"]) poll(cluster, host, endedPatch("db1"));
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
    expect(phaseOf(cluster)).not.toMatchObject({ primary: "db2" });
  });

  test("it leaves the electorate, and nothing automatic brings it back", () => {
    const cluster = runningCluster();
    fork(cluster, "db2");
    passWithout(cluster, 30_000, []);
    expect(cluster.state.durable.electorate.members).not.toContain("db2");
    expect(stateOf(cluster, "db2")).toBe("replica failed(identity-forked)");
    ask(cluster, { kind: "set-policy", policy: "manual" });
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    passWithout(cluster, 3_000, []);
    expect(stateOf(cluster, "db2")).toBe("replica failed(identity-forked)");
  });

  test("what an operator has said of it stays said", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "datasource-shun", member: "db2" });
    fork(cluster, "db2");
    expect(stateOf(cluster, "db2")).toBe("replica shunned(manually-shunned)");
  });

  test("what either has acknowledged counts no more, also when one of them is back", () => {
    const cluster = runningCluster();
    const incarnation = "incarnation-db2";
    const set = { version: 1, epoch: 1, primary: "db1", k: 1, members: [{ name: "db2", incarnation }], from: null };
    setDurable(cluster, { durability: "sync", syncSets: [set] });
    expect(missingQuorums(cluster.state, ["db2"])).toEqual([]);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    fork(cluster, "db2");
    expect(ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true }).answer).toMatchObject({
      kind: "accepted",
    });
    expect(poll(cluster, "db2").answer).toMatchObject({ kind: "reply" });
    expect(missingQuorums(cluster.state, ["db2"])).toEqual([{ version: 1, missing: ["db2"] }]);
  });
});

describe("of a primary that there are two of", () => {
  test("neither has its lease extended, and its end is proved by time alone", () => {
    const cluster = runningCluster();
    const told = listen(cluster);
    const { copy } = fork(cluster, "db1");
    expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", primary: "db1", cause: "identity-forked" });
    expect(stateOf(cluster, "db1")).toBe("primary failed(identity-forked)");
    const { lease } = cluster.state;
    // The copy's server is dead, its agent says so, and it is no word of the original's.
    pass(cluster, 1_000);
    expect(refusalOf(copy.poll(releasedPatch(1), 20))).toBe("forked-identity");
    expect(refusalOf(poll(cluster, "db1", openPatch(1)))).toBe("forked-identity");
    expect(cluster.state.durable.identities["db1"]?.released).toBe(0);
    passWithout(cluster, WAIT_MS - 2_000, []);
    expect(phaseOf(cluster)).toMatchObject({ kind: "deposing" });
    expect(cluster.state.lease).toEqual(lease);
    passWithout(cluster, 3_000, []);
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ epoch: 1, proof: "expired" }]);
    for (const host of REPLICAS) poll(cluster, host, frozenPatch(cluster));
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
    expect(givenTo(told, "db1")).toEqual([]);
  });

  test("what one of them has vouched for proves nothing once the other is heard, while nobody is crowned: time does", () => {
    const cluster = runningCluster();
    const told = listen(cluster);
    const copy = new Copy(cluster, "db1");
    for (let turn = 0; turn < 2; turn += 1) {
      pass(cluster, 1_000);
      poll(cluster, "db1");
    }
    poll(cluster, "db1", releasedPatch(1));
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "released" });
    pass(cluster, 50);
    expect(refusalOf(copy.poll({}, 8))).toBe("forked-identity");
    expect(phaseOf(cluster)).toMatchObject({ kind: "deposing", primary: "db1", cause: "identity-forked" });
    passWithout(cluster, WAIT_MS - 2_000, []);
    expect(phaseOf(cluster)).toMatchObject({ kind: "deposing" });
    passWithout(cluster, 4_000, []);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired" });
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ proof: "released" }, { epoch: 1, proof: "expired" }]);
    for (const host of REPLICAS) poll(cluster, host, frozenPatch(cluster));
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2 });
  });

  test("those who promise it are frozen, and nobody is crowned while a promise runs", () => {
    const cluster = runningCluster();
    const promises = [{ holder: "db1", epoch: 1, remainingMs: 7_000 }];
    const told = listen(cluster);
    fork(cluster, "db1");
    const alive = [...REPLICAS, ROUTER];
    for (let turn = 0; turn < 12; turn += 1) {
      pass(cluster, 1_000);
      for (const host of alive) poll(cluster, host, host === "db2" ? { promises } : {});
    }
    // The promise was renewed with every poll; it ends by the freeze.
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired" });
    expect(givenTo(told, "db2")).toEqual(["freeze"]);
    for (const host of alive.slice(0, 3)) poll(cluster, host, frozenPatch(cluster));
    pass(cluster, 6_000);
    for (const host of alive) poll(cluster, host, { promises: [] });
    expect(epochOf(cluster)).toBe(2);
  });

  test("in MAINTENANCE nothing is ended, and an operator asserts the end", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    poll(cluster, "db1");
    fork(cluster, "db1");
    expect(stateOf(cluster, "db1")).toBe("primary failed(identity-forked)");
    passWithout(cluster, 20_000, []);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db1" });
    expect(ask(cluster, { kind: "failover", to: null }, { force: true }).answer.kind).toBe("accepted");
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "asserted" });
  });

  test("in MANUAL its reign is ended too, and nobody succeeds by himself", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    fork(cluster, "db1");
    passWithout(cluster, WAIT_MS + 2_000, []);
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "not-automatic", proof: "expired" });
    expect(ask(cluster, { kind: "failover", to: null }).answer.kind).toBe("accepted");
    for (const host of REPLICAS) poll(cluster, host, frozenPatch(cluster));
    passWithout(cluster, 2_000, ["db1"]);
    expect(epochOf(cluster)).toBe(2);
  });

  test("the log of the one that is left does not answer for what was acknowledged", () => {
    const cluster = runningCluster();
    const members = [{ name: "db2", incarnation: "incarnation-db2" }];
    const set = { version: 1, epoch: 1, primary: "db1", k: 1, members, from: null };
    setDurable(cluster, { durability: "sync", syncSets: [set] });
    expect(missingQuorums(cluster.state, ["db1"])).toEqual([]);
    fork(cluster, "db1");
    expect(missingQuorums(cluster.state, ["db1"])).toEqual([{ version: 1, missing: ["db2"] }]);
  });
});

describe("a fork is settled", () => {
  test("by an operator's recovery with force, and by nothing less", () => {
    const cluster = runningCluster();
    const told = listen(cluster);
    fork(cluster, "db2");
    expect(ask(cluster, { kind: "datasource-recover", member: "db2" }).answer).toMatchObject({
      refusal: { code: "needs-force" },
    });
    ask(cluster, { kind: "recover" });
    passWithout(cluster, 1_000, []);
    expect(reasonsOf(told, "recovery-failed")).toMatchObject([{ member: "db2", code: "identity-forked" }]);
    expect(refusalOf(poll(cluster, "db2"))).toBe("forked-identity");
    expect(ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true }).answer.kind).toBe("accepted");
    expect(cluster.state.durable.electorate.members).not.toContain("db2");
    poll(cluster, "db2");
    poll(cluster, "db2");
    expect(stateOf(cluster, "db2")).toBe("replica online(none)");
  });

  test("and not for good while both are alive", () => {
    const cluster = runningCluster();
    const { copy } = fork(cluster, "db2");
    ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true });
    poll(cluster, "db2", { seq: 500 });
    poll(cluster, "db2");
    pass(cluster, 100);
    expect(refusalOf(copy.poll({}, 1_000))).toBe("forked-identity");
  });

  test("of a former primary, whose log is then worth nothing: either may have written by itself", () => {
    const cluster = runningCluster();
    fork(cluster, "db1");
    passWithout(cluster, WAIT_MS + 1_000, []);
    for (const host of REPLICAS) poll(cluster, host, frozenPatch(cluster));
    pass(cluster, 50);
    const { phase } = cluster.state.durable;
    const primary = phase.kind === "reigning" ? phase.primary : "";
    const past: [number, string][] = [[1, "0/3000000"]];
    const server = { ...openPatch(2).server, position: position("0/3000100", 2, past), receiver: { state: "none" } };
    poll(cluster, primary, { ...openPatch(2), server: server as NonNullable<PollPatch["server"]> });
    ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
    // By its numbers it is an ancestor of the line that reigns.
    const old = { phase: "closed", report: IN_RECOVERY, position: position("0/2000000") } as const;
    poll(cluster, "db1", { ...openPatch(1), released: 1, server: old });
    expect(cluster.state.durable.plan).toMatchObject({ kind: "recover", step: { kind: "rebuilding" } });
  });

  test("of the last primary that nobody has succeeded: it is opened again, by its operator's word", () => {
    const cluster = runningCluster();
    passWithout(cluster, 2_000, []);
    ask(cluster, { kind: "set-policy", policy: "manual" });
    fork(cluster, "db1");
    passWithout(cluster, WAIT_MS + 2_000, []);
    ask(cluster, { kind: "datasource-recover", member: "db1" }, { force: true });
    const { phase } = cluster.state.durable;
    expect(phase).toMatchObject({ kind: "collecting", target: "db1" });
    const server = { phase: "closed", report: IN_RECOVERY } as const;
    poll(cluster, "db1", { ...openPatch(1), released: 1, leaseRemainingMs: null, server });
    answerInquiry(cluster, REPLICAS, "no-answer");
    for (const host of ["db1", "db2", "db3", "db4"]) poll(cluster, host, frozenPatch(cluster));
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db1", epoch: 2 });
  });

  test("before the founding, for which both are waited for", () => {
    const cluster = createdCluster();
    poll(cluster, "db2");
    poll(cluster, "db2");
    fork(cluster, "db2");
    for (const host of ["db3", "db4"]) poll(cluster, host);
    poll(cluster, "db1", { server: { phase: "observing", report: WRITABLE } });
    expect(phaseOf(cluster).kind).toBe("founding");
    ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true });
    poll(cluster, "db2");
    expect(epochOf(cluster)).toBe(1);
  });
});

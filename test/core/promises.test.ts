/** Writing without the coordinator: who promises what, what it binds against, and who counts how. */
import { describe, expect, test } from "vitest";
import { provenBy } from "#shared/core/cluster/promises.ts";
import { pollOf } from "#shared/core/member/poll.ts";
import { isAlone, promiseLeftMs, routeOf } from "#shared/core/member/promises.ts";
import { begin, nextDeadlineMs } from "#shared/core/member/step.ts";
import type { Lease, PromiseRequest } from "#shared/domain/messages.ts";
import type { ProofKind } from "#shared/domain/reign.ts";
import {
  clocksAt,
  endedPatch,
  IN_RECOVERY,
  pass,
  passWithout,
  poll,
  releasedPatch,
  REPLICAS,
  runningCluster,
  secondReign,
  silencedCluster,
  WAIT_MS,
  WRITABLE,
  type Cluster,
} from "./builders.ts";
import { listen, reasonsOf } from "./listening.ts";
import {
  askedToPromise,
  commandOf,
  give,
  leaseOf,
  liveOf,
  memberPhases,
  promised,
  replyWith,
  TTL_MS,
  type Member,
} from "./member-events.ts";

const BINDS_MS = 7_000;

/** An open holder whose lease came with this electorate, counted from this moment. */
function holder(electorate: string[]): Member {
  const member = memberPhases.open();
  const lease: Lease = { ...(leaseOf(member.state.durable.attempted) as Lease), electorateVersion: 2, electorate };
  give(member, replyWith(member, { lease }));
  return member;
}

function passFor(member: Member, ms: number) {
  member.atMs += ms;
  return give(member, { kind: "tick", clocks: clocksAt(member.atMs) });
}

/** Whom the member asks when it has heard nothing for `ms`. */
function askedAfter(member: Member, ms: number): string[] {
  return passFor(member, ms).effects.flatMap((effect) => (effect.kind === "ask-promises" ? effect.of : []));
}

function leftMs({ state, atMs }: Member): number | null {
  return nextDeadlineMs({ ...state, live: { ...state.live, answered: null } }, clocksAt(atMs));
}

describe("a holder that hears no coordinator", () => {
  test("asks its whole electorate, in time for several tries", () => {
    const member = holder(["db1", "db2", "db3"]);
    expect(askedAfter(member, 1_400)).toEqual([]);
    expect(isAlone(member.state, clocksAt(member.atMs))).toBe(false);
    expect(askedAfter(member, 300)).toEqual(["db2", "db3"]);
    expect(isAlone(member.state, clocksAt(member.atMs))).toBe(true);
    expect(askedAfter(member, 100)).toEqual([]);
    expect(askedAfter(member, 400)).toEqual(["db2", "db3"]);
  });

  test("that has just begun asks as soon as its first poll is missed", () => {
    const { state, atMs } = holder(["db1", "db2"]);
    const begunMs = atMs + 2_000;
    const begun = begin(state.durable, liveOf(WRITABLE), clocksAt(begunMs));
    const member: Member = { state: begun.state, atMs: begunMs };
    expect(member.state.phase.kind).toBe("open");
    expect(askedAfter(member, 99)).toEqual([]);
    expect(askedAfter(member, 1)).toEqual(["db2"]);
  });

  test("asks nobody once it is answered again", () => {
    const member = holder(["db1", "db2"]);
    expect(askedAfter(member, 2_000)).toEqual(["db2"]);
    give(member, replyWith(member, {}));
    expect(askedAfter(member, 600)).toEqual([]);
  });

  test("writes on when all have promised, for a lease's time from the oldest request", () => {
    const member = holder(["db1", "db2", "db3"]);
    passFor(member, 3_000);
    expect(give(member, promised(member, { ago: 800 })).reasons).toEqual([]);
    expect(leftMs(member)).toBe(TTL_MS - 3_000);
    const { reasons, fsync } = give(member, promised(member, { ago: 200, by: "db3" }));
    expect(reasons).toEqual([{ kind: "promises-held", epoch: 4, by: ["db2", "db3"] }]);
    expect(fsync).toBe(false);
    expect(leftMs(member)).toBe(TTL_MS - 800);
    passFor(member, TTL_MS - 801);
    expect(member.state.phase.kind).toBe("open");
    passFor(member, 1);
    expect(member.state.phase.kind).toBe("fencing");
  });

  test("ends with its lease when one has not promised", () => {
    const member = holder(["db1", "db2", "db3"]);
    passFor(member, 2_000);
    give(member, promised(member));
    give(member, promised(member, { by: "db9" }));
    expect(passFor(member, 2_999).state.phase.kind).toBe("open");
    expect(passFor(member, 1).state.phase.kind).toBe("fencing");
  });

  test("writes on by itself when nobody else could be elected", () => {
    const member = holder(["db1"]);
    for (let round = 0; round < 20; round += 1) passFor(member, 1_000);
    expect(member.state.phase.kind).toBe("open");
  });

  test("takes no promise after its right to write has ended, and none for another epoch", () => {
    const member = holder(["db1", "db2"]);
    passFor(member, 1_000);
    const event = promised(member);
    if (event.kind !== "promised") throw new Error("not a promise");
    expect(give(member, { ...event, epoch: event.epoch - 1 }).reasons).toEqual([]);
    member.atMs += TTL_MS;
    expect(give(member, { ...event, clocks: clocksAt(member.atMs) }).state.phase.kind).toBe("fencing");
  });

  test("an answer of long before does not shorten what has been promised since", () => {
    const member = holder(["db1", "db2"]);
    const late = replyWith(member, { lease: leaseOf(4) });
    passFor(member, 3_000);
    give(member, promised(member));
    if (late.kind === "replied") give(member, { ...late, clocks: clocksAt(member.atMs) });
    expect(leftMs(member)).toBe(TTL_MS);
  });

  test("asks for promises that bind as long as the right that it holds on to, whatever a late answer would have brought", () => {
    const member = holder(["db1", "db2"]);
    const lease: Lease = { ...(leaseOf(4) as Lease), electorateVersion: 2, electorate: ["db1", "db2"] };
    const late = replyWith(member, { lease: { ...lease, promiseBindsMs: BINDS_MS - 1_500 } });
    passFor(member, 3_000);
    give(member, promised(member));
    if (late.kind !== "replied") throw new Error("not a reply");
    give(member, { ...late, clocks: clocksAt(member.atMs) });
    expect(member.state.durable.lease?.base).toEqual(clocksAt(member.atMs));
    expect(member.state.durable.promiseBindsMs).toBe(BINDS_MS);
    // What it takes up itself says for how long.
    passFor(member, 100);
    give(member, replyWith(member, { lease: { ...lease, promiseBindsMs: BINDS_MS - 1_500 } }));
    expect(member.state.durable.promiseBindsMs).toBe(BINDS_MS - 1_500);
  });

  test("proves its reign to connectors for as long as it may write, and no longer", () => {
    const member = holder(["db1", "db2"]);
    member.atMs += 3_000;
    const route = routeOf(member.state, clocksAt(member.atMs));
    expect(route).toMatchObject({ service: "read-write", epoch: 4, hold: false, validMs: TTL_MS - 3_000 });
    expect(routeOf(member.state, clocksAt(member.atMs + 2_000))).toBe(null);
    expect(routeOf(memberPhases["open-shut"]().state, clocksAt(100))).toMatchObject({ hold: true });
    expect(routeOf(memberPhases.fencing().state, clocksAt(100))).toBe(null);
  });
});

/** What a member answers to a request of the holder of `epoch`. */
function refusalOf(member: Member, epoch: number) {
  const { effects } = give(member, askedToPromise(member, epoch));
  return effects.find((effect) => effect.kind === "answer-promise")?.refusal;
}

describe("a promise", () => {
  test("is written with fsync in the step that answers, and reported with each poll", () => {
    const member = memberPhases["closed-idle"]();
    const { fsync, effects } = give(member, askedToPromise(member, 3));
    expect(fsync).toBe(true);
    expect(effects).toEqual([{ kind: "answer-promise", id: 1, refusal: null }]);
    const sending = { seq: 1, clocks: clocksAt(1_000), connector: null, peer: null };
    expect(pollOf(member.state, sending).promises).toEqual([{ holder: "db2", epoch: 3, remainingMs: 6_000 }]);
  });

  test("is refused by who has seen a later epoch, is opening, is open, or only observes", () => {
    expect(refusalOf(memberPhases["closed-idle"](), 2)).toBe("epoch-superseded");
    expect(refusalOf(memberPhases.opening(), 5)).toBe("promotion-under-way");
    expect(refusalOf(memberPhases.open(), 5)).toBe("promotion-under-way");
    expect(refusalOf(memberPhases.open(), 4)).toBe("epoch-superseded");
    expect(refusalOf(memberPhases.observing(), 5)).toBe("not-founded");
    const member = memberPhases["closed-idle"]();
    const request: PromiseRequest = { holder: "db1", epoch: 3, bindsMs: BINDS_MS };
    const { effects } = give(member, { kind: "asked-to-promise", clocks: clocksAt(0), id: 9, request });
    expect(effects).toEqual([{ kind: "answer-promise", id: 9, refusal: "own-request" }]);
  });

  test("is given by nobody who was started elsewhere and not answered there", () => {
    const member = memberPhases["closed-idle"]();
    const at = (place: string) => {
      member.state = { ...member.state, live: { ...member.state.live, place } };
    };
    at("boot-1");
    give(member, replyWith(member, {}));
    expect(refusalOf(member, 3)).toBeNull();
    at("boot-2");
    expect(refusalOf(member, 3)).toBe("maybe-a-copy");
    give(member, replyWith(member, {}));
    expect(refusalOf(member, 3)).toBeNull();
  });

  test("is refused by who was frozen for that reign's successor, and not by who was frozen for that reign", () => {
    const member = memberPhases["closed-idle"]();
    give(member, replyWith(member, { commands: [commandOf(member, "freeze")] }));
    expect(refusalOf(member, 3)).toBe("frozen-for-a-successor");
    expect(refusalOf(member, 4)).toBe(null);
    // And from then on the earlier reign's holder gets none.
    expect(refusalOf(member, 3)).toBe("epoch-superseded");
  });

  const bound: Record<ProofKind, boolean> = {
    expired: true,
    revoked: true,
    released: false,
    asserted: false,
    founded: false,
  };
  test.each(Object.entries(bound) as [ProofKind, boolean][])(
    "given, an opening by `%s` is refused: %s, and what is refused is vouched for",
    (proof, isRefused) => {
      const member = memberPhases["closed-idle"]();
      give(member, askedToPromise(member, 3));
      const command = { ...commandOf(member, "promote"), proof } as ReturnType<typeof commandOf>;
      const { state } = give(member, replyWith(member, { commands: [command], lease: leaseOf(4) }));
      expect(state.phase.kind).toBe(isRefused ? "closed" : "opening");
      expect(state.durable.released).toBe(isRefused ? 4 : 1);
      const answer = isRefused ? { outcome: "refused", code: "promised" } : { outcome: "accepted", code: "" };
      expect(state.live.results.at(-1)).toMatchObject(answer);
    },
  );

  test.each(["released", "asserted"] as const)(
    "stands against %s, too, where it was given for an epoch that is not before the one to be opened",
    (proof) => {
      const member = memberPhases["closed-idle"]();
      give(member, askedToPromise(member, 4));
      const command = { ...commandOf(member, "promote"), proof } as ReturnType<typeof commandOf>;
      expect(command.epoch).toBe(4);
      const { state } = give(member, replyWith(member, { commands: [command], lease: leaseOf(4) }));
      expect(state.phase.kind).toBe("closed");
      expect(state.live.results.at(-1)).toMatchObject({ outcome: "refused", code: "promised" });
    },
  );

  test("is over when the slowest clock says so", () => {
    const member = memberPhases["closed-idle"]();
    give(member, askedToPromise(member, 3));
    const now = clocksAt(BINDS_MS + 1_000);
    const { state } = give(member, { kind: "tick", clocks: { ...now, monoMs: BINDS_MS - 1 } });
    expect(state.durable.promise).not.toBe(null);
    const { state: after, fsync } = give(member, { kind: "tick", clocks: now });
    expect(after.durable.promise).toBe(null);
    // Whoever finds it on the disk again keeps it once more: nothing waits for a disk that takes no more.
    expect(fsync).toBe(false);
  });

  test("binds for the whole of its time again after a restart, on another kernel boot too", () => {
    const member = memberPhases["closed-idle"]();
    give(member, askedToPromise(member, 3));
    const restarted = begin(member.state.durable, liveOf(IN_RECOVERY, "boot-2"), clocksAt(6_000));
    expect(restarted.fsync).toBe(true);
    expect(restarted.state.durable.promise).toMatchObject({
      base: clocksAt(6_000),
      bootId: "boot-2",
      bindsMs: BINDS_MS,
    });
  });

  test("asked for a shorter time does not shorten the one before", () => {
    const member = memberPhases["closed-idle"]();
    give(member, askedToPromise(member, 3));
    const request: PromiseRequest = { holder: "db2", epoch: 3, bindsMs: 100 };
    give(member, { kind: "asked-to-promise", clocks: clocksAt(1_000), id: 2, request });
    expect(member.state.durable.promise).toMatchObject({ bindsMs: 6_000, base: clocksAt(1_000) });
  });
});

function promisedFor(remainingMs: number) {
  return { promises: [{ holder: "db1", epoch: 1, remainingMs }] };
}

describe("the coordinator", () => {
  test("lets time end no reign while a member reports a promise, says so once, and goes on when it is over", () => {
    const cluster: Cluster = runningCluster();
    passWithout(cluster, WAIT_MS - 2_000, ["db1"]);
    poll(cluster, "db2", promisedFor(4_000));
    cluster.polls["db2"] = { ...cluster.polls["db2"], promises: [] } as (typeof cluster.polls)[string];
    const waiting = passWithout(cluster, 3_000, ["db1", "db2"]);
    const told = waiting.flatMap(({ reasons }) => reasons.filter(({ kind }) => kind === "promises-outstanding"));
    expect(told).toEqual([{ kind: "promises-outstanding", epoch: 1, members: ["db2"] }]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true });
    passWithout(cluster, 3_000, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "expired" });
  });

  test("binds a later start by what the one before has promised: it may be of a copy that was made before", () => {
    const cluster = runningCluster();
    passWithout(cluster, WAIT_MS - 2_000, ["db1"]);
    poll(cluster, "db2", promisedFor(6_000));
    passWithout(cluster, 4_000, ["db1", "db2"]);
    const { startCount } = cluster.polls["db2"] ?? { startCount: 0 };
    const elsewhere = { startCount: startCount + 1, seq: 1, place: "elsewhere", promises: [] };
    expect(poll(cluster, "db2", elsewhere).answer.kind).toBe("reply");
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true });
    passWithout(cluster, 1_000, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true });
    passWithout(cluster, 2_000, ["db1"]);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "expired" });
  });

  test("extends the lease of a holder that has lived on promises, in the same epoch", () => {
    const cluster = runningCluster();
    passWithout(cluster, WAIT_MS + 1_000, ["db1", "db2", "db3", "db4", "app1"]);
    for (const host of ["db2", "db3", "db4"]) poll(cluster, host, promisedFor(5_000));
    const { answer } = poll(cluster, "db1", { leaseRemainingMs: 2_500 });
    expect(answer).toMatchObject({ kind: "reply", reply: { lease: { epoch: 1, promiseBindsMs: WAIT_MS } } });
    expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "reigning", opened: true } });
  });

  test("does not take a crown that was refused for proof that the one before has laid his down", () => {
    const cluster = silencedCluster();
    const { durable } = cluster.state;
    const reigns = [
      { ...durable.reigns[0], opened: true },
      { ...durable.reigns[0], epoch: 2, member: "db2", parent: 1, proof: "expired", opened: false },
    ] as typeof durable.reigns;
    const refused = { durable: { ...durable, reigns } };
    expect(provenBy(refused, 2, "released")).toBe("expired");
    expect(provenBy(refused, 2, "asserted")).toBe("asserted");
    const identities = {
      ...durable.identities,
      db1: { ...durable.identities["db1"], released: 1 },
    } as typeof durable.identities;
    expect(provenBy({ durable: { ...durable, reigns, identities } }, 2, "released")).toBe("released");
  });

  test("takes it for proof where the reign was seen open", () => {
    const cluster = secondReign();
    poll(cluster, "db2", releasedPatch(2));
    expect(cluster.state.durable.phase).toMatchObject({ kind: "collecting", proof: "released" });
  });
});

test("a promise outlasts a wall clock that was set back by no more than its own length", () => {
  const given = { holder: "db1", epoch: 3, bindsMs: BINDS_MS, base: clocksAt(0), bootId: "boot" };
  const setBack = (ms: number) => ({ ...clocksAt(ms), wallMs: clocksAt(ms).wallMs - 3_600_000 });
  expect(promiseLeftMs(given, "boot", clocksAt(BINDS_MS))).toBe(0);
  expect(promiseLeftMs(given, "boot", setBack(BINDS_MS))).toBe(BINDS_MS);
  expect(promiseLeftMs(given, "boot", setBack(2 * BINDS_MS))).toBe(0);
  // A machine that slept has promised for the whole of its waking time.
  const slept = { ...clocksAt(10 * BINDS_MS), monoMs: clocksAt(1).monoMs };
  expect(promiseLeftMs(given, "boot", slept)).toBe(BINDS_MS - 1);
});

test("to somebody who never reigned here crowns nobody while it runs: a reign has been forgotten", () => {
  const cluster = runningCluster();
  const told = listen(cluster);
  const promises = [{ holder: "db4", epoch: 2, remainingMs: 4_000 }];
  poll(cluster, "db1", releasedPatch(1));
  for (const host of REPLICAS) poll(cluster, host, { ...endedPatch("db1"), ...(host === "db3" ? { promises } : {}) });
  expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "collecting", proof: "released" } });
  expect(reasonsOf(told, "promises-outstanding")).toMatchObject([{ members: ["db3"] }]);
  for (let turn = 0; turn < 5; turn += 1) {
    pass(cluster, 1_000);
    for (const host of REPLICAS) poll(cluster, host, { ...endedPatch("db1"), promises: [] });
  }
  expect(cluster.state.durable).toMatchObject({ epoch: 2, phase: { kind: "reigning" } });
});

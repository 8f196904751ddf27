/** The kernel's door as both machines count on it: it stands before the server opens, and shuts no later than the lease. */
import { describe, expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { pollOf } from "#shared/core/member/poll.ts";
import type { DoorWish, LeaseDoor, MemberStep } from "#shared/core/member/state.ts";
import {
  ask,
  clocksAt,
  IN_RECOVERY,
  openPatch,
  pass,
  passWithout,
  phaseOf,
  poll,
  REPLICAS,
  ROUTER,
  runningCluster,
  STOPPED,
  WRITABLE,
  type Cluster,
} from "./builders.ts";
import { listen } from "./listening.ts";
import { live } from "./living.ts";
import {
  closedDurable,
  commandOf,
  finished,
  give,
  leaseOf,
  liveOf,
  observed,
  replyWith,
  TTL_MS,
  underPolicy,
  type Member,
} from "./member-events.ts";

const ABLE: LeaseDoor = { isAble: true, isRequired: false, asked: null, askedId: 0, stands: null };
const SEEN = { epoch: 3, op: 30 };

/** A read-only member whose kernel takes doors. */
function closedMember(door: Partial<LeaseDoor> = {}): Member {
  const live_ = { ...liveOf(IN_RECOVERY), leaseDoor: { ...ABLE, ...door } };
  return { state: begin(closedDurable(SEEN), live_, clocksAt(0)).state, atMs: 0 };
}

function doorLease(epoch: number, { ttlMs = TTL_MS, hasLeaseDoor = true } = {}) {
  const lease = leaseOf(epoch);
  return lease && { ...lease, ttlMs, hasLeaseDoor };
}

function promoted(member: Member, lease = doorLease(SEEN.epoch + 1)): MemberStep {
  return give(member, replyWith(member, { commands: [commandOf(member, "promote")], lease }));
}

function wishOf({ effects }: MemberStep): DoorWish | null {
  const effect = effects.find(({ kind }) => kind === "door");
  return effect?.kind === "door" ? effect.wish : null;
}

/** The kernel's answer to the newest wish. */
function answered(member: Member, ok = true): MemberStep {
  const outcome = ok ? ({ ok } as const) : ({ ok, code: "nft-refused", detail: "" } as const);
  const id = member.state.live.leaseDoor.askedId;
  return give(member, { kind: "door-set", clocks: clocksAt(member.atMs), id, outcome });
}

function openMember(): Member {
  const member = closedMember();
  answered(member);
  promoted(member);
  answered(member);
  give(member, observed(member, WRITABLE));
  give(member, finished(member, true));
  return member;
}

function says(member: Member): boolean {
  return pollOf(member.state, { seq: 1, clocks: clocksAt(member.atMs), connector: null, peer: null }).hasLeaseDoor;
}

function extended(member: Member): MemberStep {
  return give(member, replyWith(member, { lease: doorLease(SEEN.epoch + 1) }));
}

describe("a member's door", () => {
  test("is asked for before the server is opened, and the opening waits for it", () => {
    const member = closedMember();
    const { effects } = promoted(member);
    expect(effects.map(({ kind }) => kind).slice(0, 2)).toEqual(["door", "run"]);
    expect(effects).toContainEqual({
      kind: "run",
      task: expect.objectContaining({ kind: "promote", needsDoor: true }),
    });
    expect(effects[0]).toMatchObject({ wish: { kind: "lease", lease: { epoch: SEEN.epoch + 1 } } });
  });

  test("is refreshed with every extension, to the lease that came", () => {
    const member = openMember();
    member.atMs += 2_000;
    const wish = wishOf(extended(member));
    expect(wish).toMatchObject({ kind: "lease", lease: { base: clocksAt(member.atMs) } });
    expect(wish?.kind === "lease" && wish.lease === member.state.durable.lease).toBe(true);
  });

  test("is refreshed by promises as by a lease: it shuts when the right to write is over", () => {
    const member = openMember();
    member.atMs += 3_000;
    const tick = give(member, { kind: "tick", clocks: clocksAt(member.atMs) });
    expect(tick.effects).toContainEqual(expect.objectContaining({ kind: "ask-promises", of: ["db2"] }));
    const clocks = clocksAt(member.atMs + 20);
    const sent = clocksAt(member.atMs);
    const promised = give(member, { kind: "promised", clocks, sent, by: "db2", epoch: SEEN.epoch + 1 });
    expect(wishOf(promised)).toMatchObject({ kind: "lease", lease: { base: sent, hasLeaseDoor: true } });
  });

  test("is left alone while the server is fenced, and goes when it is dead", () => {
    const member = openMember();
    expect(wishOf(give(member, observed(member, STOPPED)))).toBeNull();
    expect(member.state.phase.kind).toBe("fencing");
    expect(wishOf(give(member, finished(member, true)))).toEqual({ kind: "none" });
  });

  test("that an earlier agent left beside a read-only server is taken away", () => {
    const live_ = { ...liveOf(IN_RECOVERY), leaseDoor: ABLE };
    expect(wishOf(begin(closedDurable(SEEN), live_, clocksAt(0)))).toEqual({ kind: "none" });
  });

  test("of an open server is taken over by the next agent, which counts on it when the kernel has answered", () => {
    const { durable } = openMember().state;
    const live_ = { ...liveOf(WRITABLE), leaseDoor: ABLE };
    const first = begin(durable, live_, clocksAt(500));
    const member: Member = { state: first.state, atMs: 500 };
    expect(wishOf(first)).toEqual({ kind: "lease", lease: durable.lease });
    expect(says(member)).toBe(false);
    answered(member);
    expect(says(member)).toBe(true);
  });

  test("of an open server that the next agent cannot take over is counted on by nobody: the reign ends", () => {
    const { durable } = openMember().state;
    expect(durable.lease).toMatchObject({ hasLeaseDoor: true });
    const live_ = { ...liveOf(WRITABLE), leaseDoor: ABLE };
    const member: Member = { state: begin(durable, live_, clocksAt(500)).state, atMs: 500 };
    answered(member, false);
    expect(member.state.phase).toMatchObject({ kind: "fencing", releases: SEEN.epoch + 1, cause: "lease-lost" });
    expect(says(member)).toBe(false);
  });

  test("is what the kernel has said of the newest wish: a late word of an earlier one is none", () => {
    const member = openMember();
    const earlier = member.state.live.leaseDoor.askedId;
    member.atMs += 2_000;
    extended(member);
    const { stands } = member.state.live.leaseDoor;
    for (const outcome of [{ ok: true }, { ok: false, code: "nft-late", detail: "" }] as const) {
      give(member, { kind: "door-set", clocks: clocksAt(member.atMs), id: earlier, outcome });
      expect(member.state.live.leaseDoor).toMatchObject({ askedId: earlier + 1, stands });
      expect(member.state.live.leaseDoor.stands).toBe(stands);
    }
    answered(member);
    expect(member.state.live.leaseDoor.stands).toMatchObject({ lease: { base: clocksAt(member.atMs) } });
  });

  test("has no end in MAINTENANCE, and has one before it is counted on again", () => {
    const member = openMember();
    expect(wishOf(give(member, underPolicy(member, "maintenance")))).toEqual({ kind: "endless" });
    answered(member);
    expect(says(member)).toBe(true);
    expect(wishOf(give(member, underPolicy(member, "automatic")))).toMatchObject({ kind: "lease" });
    expect(says(member)).toBe(false);
    answered(member);
    expect(says(member)).toBe(true);
  });

  test("that the kernel does not refresh ends the reign when it shuts, though the lease runs on", () => {
    const member = openMember();
    member.atMs += 2_000;
    extended(member);
    answered(member, false);
    expect(says(member)).toBe(true);
    expect(wishOf(give(member, { kind: "tick", clocks: clocksAt(member.atMs) }))).toMatchObject({ kind: "lease" });
    answered(member, false);
    member.atMs = TTL_MS;
    give(member, { kind: "tick", clocks: clocksAt(member.atMs) });
    expect(member.state.phase).toMatchObject({ kind: "fencing", cause: "lease-lost" });
    expect(says(member)).toBe(false);
  });

  test("that the kernel refuses opens nothing, and the next poll says that there is none", () => {
    const member = closedMember();
    promoted(member);
    answered(member, false);
    give(member, finished(member, false, { code: "no-door" }));
    expect(member.state.phase).toMatchObject({ kind: "fencing", cause: "promotion-failed" });
    expect(says(member)).toBe(false);
  });

  test("is not taken away from an open server, whatever has become of the wish for it", () => {
    const member = openMember();
    member.state = {
      ...member.state,
      live: { ...member.state.live, leaseDoor: { ...member.state.live.leaseDoor, isAble: false } },
    };
    const lease = doorLease(SEEN.epoch + 1, { hasLeaseDoor: false });
    expect(wishOf(give(member, replyWith(member, { lease })))).toMatchObject({ kind: "lease" });
  });

  test.each([
    ["a lease that counts on a door is refused where there is none", { isAble: false }, {}],
    ["a lease that counts on none is refused where one is required", { isRequired: true }, { hasLeaseDoor: false }],
    ["a lease shorter than three seconds leaves no door", {}, { ttlMs: 2_999 }],
  ])("%s", (_, door, lease) => {
    const member = closedMember(door);
    const { reasons } = promoted(member, doorLease(SEEN.epoch + 1, lease));
    expect(reasons).toContainEqual(expect.objectContaining({ kind: "command-refused", code: "no-door" }));
  });
});

/** A dataservice whose first primary has a door. */
function clusterWithDoor(): Cluster {
  const cluster = runningCluster();
  poll(cluster, "db1", { hasLeaseDoor: true });
  return cluster;
}

describe("a lease that was granted to a holder with a door", () => {
  test("is granted as soon as its poll says so, and another when it says no more", () => {
    const cluster = runningCluster();
    pass(cluster, 100);
    const grants = [true, true, false].map((hasLeaseDoor) => {
      const { answer } = poll(cluster, "db1", { hasLeaseDoor });
      return answer.kind === "reply" ? (answer.reply.lease?.hasLeaseDoor ?? null) : undefined;
    });
    expect(grants).toEqual([true, null, false]);
  });

  test.each([
    [true, "collecting", 6_700],
    [false, "reigning", 6_700],
    [false, "collecting", 8_500],
  ])("is waited for without a fence, and only then (%s: %s)", (hasLeaseDoor, phase, afterMs) => {
    const cluster = clusterWithDoor();
    poll(cluster, "db1", { hasLeaseDoor });
    passWithout(cluster, afterMs, ["db1"]);
    expect(cluster.state.durable.phase.kind).toBe(phase);
  });

  test("needs no question to its server: behind the door it could answer nobody", () => {
    const cluster = clusterWithDoor();
    const told = listen(cluster);
    live(cluster, 9_000, { silent: ["db1"] });
    expect(told.commands.map(({ command }) => command.kind)).not.toContain("ask-upstream");
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });

  test("whose door had no end in MAINTENANCE is waited for with its fence, until one stands that shuts with the lease", () => {
    const cluster = runningCluster();
    ask(cluster, { kind: "set-policy", policy: "maintenance" });
    poll(cluster, "db1", { ...openPatch(1), policyVersion: 2, hasLeaseDoor: true });
    expect(cluster.state.lease).toMatchObject({ hasLeaseDoor: true });
    ask(cluster, { kind: "set-policy", policy: "automatic" });
    pass(cluster, 100);
    poll(cluster, "db1", { hasLeaseDoor: true });
    ask(cluster, { kind: "datasource-fail", member: "db1" });
    pass(cluster, 20);
    // It confirms the policy, and the kernel has not obeyed yet; it is cut off before it hears the answer.
    poll(cluster, "db1", { policyVersion: 3, hasLeaseDoor: false, leaseRemainingMs: 4_980 });
    const { ttlMs, fenceMs, marginMs } = cluster.state.durable.settings;
    const heardAt = cluster.atMs;
    for (const host of [...REPLICAS, ROUTER]) poll(cluster, host);
    while (phaseOf(cluster).kind === "deposing" && cluster.atMs - heardAt < 60_000) {
      pass(cluster, 50);
      for (const host of [...REPLICAS, ROUTER]) poll(cluster, host);
    }
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", proof: "expired", inquiry: { kind: "asking" } });
    expect(cluster.atMs - heardAt).toBeGreaterThanOrEqual(ttlMs + fenceMs + marginMs);
  });
});

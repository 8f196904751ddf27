/** What holds for whatever the two machines may be handed, in any order. */
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Reason } from "#shared/core/cluster/reason.ts";
import { nextDeadline, step as clusterStep } from "#shared/core/cluster/step.ts";
import {
  freshLive,
  type ClusterEvent,
  type ClusterState,
  type ClusterStep,
  type DatasourceRequest,
  type OperatorRequest,
  type SyncPolicy,
} from "#shared/core/cluster/state.ts";
import { pollOf } from "#shared/core/member/poll.ts";
import { nextDeadlineMs, step as memberStep } from "#shared/core/member/step.ts";
import { remainingMs } from "#shared/core/member/lease.ts";
import type { MemberEvent, MemberState } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { Policy } from "#shared/domain/datasource.ts";
import type { Command, MemberServerReport, ServerReport } from "#shared/domain/messages.ts";
import { ask, clocksAt, epochOf, MEMBERS, pass, poll, position, ROUTER, send, type Cluster } from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { recoverRows, switchRows } from "./plan-events.ts";
import {
  commandOf,
  leaseOf,
  memberPhases,
  replyWith,
  viewOf,
  type Member,
  type MemberPhaseKind,
} from "./member-events.ts";

/** Freezes a value all through: a step that writes to what it was given throws. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze(part);
  return value;
}

/** Steps twice from frozen copies: the same in, the same out, and nothing in it but plain data. */
function purely<S, E, R>(step: (state: S, event: E) => R) {
  return (state: S, event: E): R => {
    const result = step(deepFreeze(state), deepFreeze(event));
    const again = step(structuredClone(state), structuredClone(event));
    if (!isDeepStrictEqual(result, again)) throw new Error("the same input gave two outputs");
    if (!isDeepStrictEqual(structuredClone(result), result))
      throw new Error("something in the output is not plain data");
    if (!isDeepStrictEqual(JSON.parse(JSON.stringify(result)), result))
      throw new Error("something in the output is lost in JSON");
    return result;
  };
}

const server: fc.Arbitrary<ServerReport> = fc.constantFrom<ServerReport[]>(
  { state: "stopped" },
  { state: "starting" },
  { state: "unresponsive" },
  { state: "running", inRecovery: true, writable: false },
  { state: "running", inRecovery: false, writable: true },
  { state: "running", inRecovery: false, writable: false },
);

const receiver: fc.Arbitrary<(op: number) => MemberServerReport["receiver"]> = fc.oneof(
  fc.constantFrom(...MEMBERS, null).map((upstream) => () => ({ state: "streaming" as const, upstream })),
  fc.constantFrom(...MEMBERS, null).map((upstream) => () => ({ state: "ended" as const, upstream })),
  fc.nat({ max: 2 }).map((older) => (op: number) => ({ state: "frozen" as const, op: Math.max(0, op - older) })),
  fc.constant(() => ({ state: "none" as const })),
);

const spoken = fc.record({
  host: fc.constantFrom(...MEMBERS, ROUTER),
  phase: fc.constantFrom("closed", "open", "opening", "fencing", "observing" as const),
  report: server,
  receiver,
  lsn: fc.constantFrom("0/2000000", "0/3000000", "0/3000100", "0/4000000"),
  timeline: fc.constantFrom(1, 1, 2),
  /** How many epochs ago the member last set out, and last vouched. */
  attemptedAgo: fc.nat({ max: 3 }),
  releasedAgo: fc.nat({ max: 3 }),
  releaseCause: fc.constantFrom("server-died", "lease-lost", "commanded", "promotion-failed", "none" as const),
  leaseRemainingMs: fc.constantFrom(null, 0, 1_000, 5_000),
  outcome: fc.constantFrom("accepted", "done", "failed", "refused", null),
  startsAgain: fc.integer({ min: 0, max: 20 }).map((drawn) => drawn === 0),
  /** Whether its server goes by the sync set that it was told. */
  isSynced: fc.boolean(),
});

type Act =
  | { kind: "poll"; said: typeof spoken extends fc.Arbitrary<infer T> ? T : never }
  | { kind: "pass"; ms: number }
  | { kind: "tick" }
  | { kind: "reborn" }
  | { kind: "ask"; command: OperatorRequest; force: boolean };

const request: fc.Arbitrary<OperatorRequest> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...MEMBERS, null).map((to) => ({ kind: "failover" as const, to })) },
  { weight: 4, arbitrary: fc.constantFrom(...MEMBERS, null).map((to) => ({ kind: "switch" as const, to })) },
  { weight: 1, arbitrary: fc.constant({ kind: "recover" as const }) },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom("automatic", "manual", "maintenance" as const)
      .map((policy) => ({ kind: "set-policy" as const, policy })),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom<(SyncPolicy | null)[]>(null, { k: 1, onLoss: "block" }, { k: 2, onLoss: "degrade" })
      .map((sync) => ({ kind: "set-durability" as const, sync })),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom<DatasourceRequest[]>(
        "datasource-fail",
        "datasource-shun",
        "datasource-welcome",
        "datasource-online",
        "datasource-offline",
        "datasource-recover",
      ),
      member: fc.constantFrom(...MEMBERS),
    }),
  },
);

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 12, arbitrary: spoken.map((said) => ({ kind: "poll" as const, said })) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(10, 50, 300, 1_000, 7_500, 31_000).map((ms) => ({ kind: "pass" as const, ms })),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "tick" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reborn" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("ask" as const), command: request, force: fc.boolean() }),
  },
);

const beginnings: Record<string, () => Cluster> = { ...phases, ...switchRows, ...recoverRows };

const course = fc.record({
  from: fc.constantFrom(...Object.keys(beginnings)),
  acts: fc.array(act, { minLength: 5, maxLength: 30 }),
});

function perform(cluster: Cluster, { kind, ...rest }: Act): ClusterStep | null {
  const one = { kind, ...rest } as Act;
  switch (one.kind) {
    case "poll":
      return speak(cluster, one.said);
    case "pass":
      pass(cluster, one.ms);
      return null;
    case "tick":
      return send(cluster, { kind: "tick" });
    case "reborn":
      cluster.state = { ...cluster.state, live: freshLive(cluster.state.live.generation + 1, cluster.atMs) };
      cluster.atMs = 0;
      return null;
    case "ask":
      return ask(cluster, one.command, { force: one.force });
  }
}

function speak(cluster: Cluster, said: Extract<Act, { kind: "poll" }>["said"]): ClusterStep {
  const { op } = cluster.state.durable;
  const epoch = epochOf(cluster);
  const last = cluster.polls[said.host];
  const command = cluster.state.durable.commands[said.host];
  const results =
    command && said.outcome ? [{ id: command.id, op, outcome: said.outcome, code: "", value: "", detail: "" }] : [];
  return poll(cluster, said.host, {
    startCount: (last?.startCount ?? 1) + Number(said.startsAgain),
    attempted: Math.max(0, epoch - said.attemptedAgo),
    released: Math.max(0, epoch - said.releasedAgo),
    releaseCause: said.releaseCause,
    leaseRemainingMs: said.leaseRemainingMs,
    results,
    server: {
      phase: said.phase,
      report: said.report,
      sync: said.isSynced ? (cluster.state.durable.syncTold[said.host] ?? null) : null,
      receiver: said.receiver(op),
      position: position(said.lsn, said.timeline, said.timeline === 2 ? [[1, "0/3000000"]] : []),
    },
  });
}

/** What must be true of a step, each by name. */
type Claims = Record<string, boolean>;

function hold(claims: Claims): void {
  for (const [claim, isTrue] of Object.entries(claims)) if (!isTrue) throw new Error(`not so: ${claim}`);
}

interface Look {
  step: (state: ClusterState, event: ClusterEvent) => ClusterStep;
  each?: (before: ClusterState, event: ClusterEvent, result: ClusterStep) => Claims;
}

/** Runs a course through the machine and looks at every step. */
function follow({ from, acts }: { from: string; acts: Act[] }, look: Look): void {
  const cluster = beginnings[from]?.();
  if (!cluster) throw new Error(`no beginning ${from}`);
  cluster.stepWith = (state, event) => {
    const result = look.step(state, event);
    hold(look.each?.(state, event, result) ?? {});
    return result;
  };
  for (const one of acts) perform(cluster, one);
}

/** The property that every step of every course keeps its claims. */
function always(each: Look["each"], { step = clusterStep, numRuns = 150 } = {}): () => void {
  const look: Look = each ? { step, each } : { step };
  return () =>
    fc.assert(
      fc.property(course, (one) => follow(one, look)),
      { numRuns },
    );
}

describe("the coordinator's machine", () => {
  test("is a function of plain data", () => {
    expect(always(undefined, { step: purely(clusterStep), numRuns: 60 })).not.toThrow();
  });

  test("epochs, operations, versions and what was released only grow", () => {
    expect(
      always(({ durable: a }, _, { state: { durable: b } }) => ({
        "the epoch grows": b.epoch >= a.epoch,
        "the operation grows": b.op >= a.op,
        "the version counts the changes": b.version - a.version === (b === a ? 0 : 1),
        "what was released stays": Object.entries(a.identities).every(
          ([host, was]) => (b.identities[host]?.released ?? -1) >= was.released,
        ),
      })),
    ).not.toThrow();
  });

  test("a phase gives way to another for a reason that is told", () => {
    expect(
      always((before, _, { state, reasons }) => {
        const [from, to] = [before.durable.phase, state.durable.phase];
        // The stop of a switch is told of as its step: by what was flushed before, and by the end of the reign after it.
        const isStop = to.kind === "deposing" && to.cause === "switch";
        return { "a reason is given": from.kind === to.kind || isStop || reasons.length > 0 };
      }),
    ).not.toThrow();
  });

  test("an older poll of the same start is refused, and the state is the very same", () => {
    expect(
      always((_, event, { state, answer }) => {
        if (event.kind !== "poll" || answer.kind !== "reply") return {};
        const { seq } = event.poll;
        const once = clusterStep(state, event);
        const again = [seq - 1, 0].map((older) =>
          clusterStep(state, { ...event, poll: { ...event.poll, seq: older } }),
        );
        return {
          "it is refused": again.every(
            (one) => one.answer.kind === "refused" && one.answer.refusal.code === "stale-poll",
          ),
          "the very same poll has the very same answer":
            once.answer.kind === "reply" && JSON.stringify(once.answer.reply) === JSON.stringify(answer.reply),
          "the state is the very same": [...again, once].every((one) => one.state === state),
          "nothing comes of it": [...again, once].every(
            ({ effects, reasons, confirm }) => effects.length + reasons.length === 0 && !confirm,
          ),
        };
      }),
    ).not.toThrow();
  });

  test("the next deadline lies ahead, and before it a tick changes nothing", () => {
    expect(
      always((_, __, { state }) => {
        // Within a plan somebody polls every few milliseconds, and that is soon enough to see that another is not heard.
        if (state.durable.plan) return {};
        const deadline = nextDeadline(state) ?? state.live.at + 3_600_000;
        const at = deadline - 1;
        const early = clusterStep(state, { kind: "tick", at, wallMs: at });
        // Who comes back by itself is let in with the next poll of anybody: nobody need be woken for it.
        const isReturn = (reason: Reason) => reason.kind === "datasource-changed" && reason.to === "online";
        return {
          "it lies ahead": deadline > state.live.at,
          "nothing is told before it": early.reasons.every(isReturn),
          "nothing is moved before it": early.state.durable.phase === state.durable.phase,
        };
      }),
    ).not.toThrow();
  });

  test("whatever carries authority is confirmed, and a lease goes to nobody but the one who reigns", () => {
    expect(
      always((_, event, { state, answer, confirm }) => {
        if (event.kind !== "poll" || answer.kind !== "reply") return {};
        const { lease, leaseEndedEpoch, commands } = answer.reply;
        const routes = answer.reply.routes.filter(({ service }) => service === "read-write");
        const { phase, epoch } = state.durable;
        const reigns = phase.kind === "reigning" && phase.primary === event.poll.host;
        const opens = commands.some(({ kind }) => kind === "promote" || kind === "adopt");
        return {
          "authority is confirmed": confirm || (!lease && leaseEndedEpoch === null && commands.length === 0),
          "only who reigns gets a lease": !lease || (reigns && lease.epoch === epoch),
          "an opening comes with its lease": !opens || lease?.epoch === epoch,
          "no epoch is granted and ended at once": !lease || leaseEndedEpoch !== lease.epoch,
          "a route outlasts no lease": routes.every(({ validMs }) => validMs <= (state.lease?.ttlMs ?? 0)),
        };
      }),
    ).not.toThrow();
  });

  test("what an operator failed is neither promoted nor put back by anything but an operator's request", () => {
    expect(
      always(({ durable: a }, event, { state: { durable: b } }) => {
        if (event.kind === "command" || a.plan?.kind === "recover" || b.plan?.kind === "recover") return {};
        const failed = Object.values(a.members).filter(({ reason }) => reason.kind === "manually-failed");
        return {
          "it stays failed or is shunned": failed.every(({ name }) =>
            ["failed", "shunned"].includes(b.members[name]?.state ?? ""),
          ),
          "it is not promoted": b.epoch === a.epoch || failed.every(({ name }) => name !== b.reigns.at(-1)?.member),
        };
      }),
    ).not.toThrow();
  });
});

const memberKinds = Object.keys({
  observing: 0,
  "closed-idle": 0,
  "closed-busy": 0,
  "closed-rebuilding": 0,
  damaged: 0,
  opening: 0,
  open: 0,
  "open-busy": 0,
  "open-shut": 0,
  fencing: 0,
  "fencing-gently": 0,
} satisfies Record<MemberPhaseKind, 0>) as MemberPhaseKind[];

type MemberAct =
  | { kind: "observed"; report: ServerReport }
  | {
      kind: "told";
      command: Parameters<typeof commandOf>[1];
      opOff: number;
      epochOff: number;
      withLease: boolean;
      id: number;
    }
  | { kind: "extended"; epochOff: number }
  | { kind: "ended"; epochOff: number }
  | { kind: "policy"; policy: Policy }
  | { kind: "finished"; ok: boolean; off: number }
  | { kind: "tick"; elapsed: Clocks };

const elapsed = fc.constantFrom(0, 10, 400, 1_700, 5_100);
const memberAct: fc.Arbitrary<MemberAct> = fc.oneof(
  { weight: 4, arbitrary: server.map((report) => ({ kind: "observed" as const, report })) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("told" as const),
      command: fc.constantFrom<Command["kind"][]>(
        "adopt",
        "promote",
        "follow",
        "freeze",
        "fence",
        "start",
        "prepare",
        "shut",
        "reopen",
        "ask-upstream",
        "rebuild",
      ),
      opOff: fc.constantFrom(-1, 0, 1, 1),
      epochOff: fc.constantFrom(-1, 0, 0, 1),
      withLease: fc.constantFrom(true, true, false),
      id: fc.nat({ max: 30 }),
    }),
  },
  { weight: 2, arbitrary: fc.constantFrom(0, 0, 1).map((epochOff) => ({ kind: "extended" as const, epochOff })) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1).map((epochOff) => ({ kind: "ended" as const, epochOff })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom<Policy[]>("automatic", "manual", "maintenance")
      .map((policy) => ({ kind: "policy" as const, policy })),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("finished" as const),
      ok: fc.boolean(),
      off: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("tick" as const),
      elapsed: fc.record({ monoMs: elapsed, bootMs: elapsed, wallMs: fc.oneof(elapsed, fc.constant(-60_000)) }),
    }),
  },
);

const memberCourse = fc.record({
  from: fc.constantFrom(...memberKinds),
  acts: fc.array(memberAct, { minLength: 5, maxLength: 40 }),
});

function eventOf(member: Member, now: Clocks, one: MemberAct): MemberEvent {
  const { durable, phase } = member.state;
  switch (one.kind) {
    case "observed":
      return { kind: "observed", clocks: now, view: viewOf(one.report), after: null };
    case "told": {
      const head = {
        id: `c${one.id}`,
        op: Math.max(0, durable.opSeen + one.opOff),
        epoch: Math.max(0, durable.epochSeen + one.epochOff),
      };
      const command = commandOf(member, one.command, head);
      return replied(member, now, { commands: [command], lease: one.withLease ? leaseOf(command.epoch) : null });
    }
    case "extended":
      return replied(member, now, { lease: leaseOf(durable.attempted + one.epochOff) });
    case "ended":
      return replied(member, now, { leaseEnded: { epoch: durable.attempted + one.epochOff, mac: "" } });
    case "policy": {
      const { policyVersion, version } = durable;
      return replied(member, now, { policy: one.policy, policyVersion: policyVersion + 1, version: version + 1 });
    }
    case "finished": {
      const running = phase.kind === "observing" ? null : phase.running;
      // Where nothing is under way: the end of a task that was never given.
      const taskId = (running?.id ?? 0) - one.off;
      return {
        kind: "finished",
        clocks: now,
        taskId,
        outcome: one.ok ? { ok: true } : { ok: false, code: "engine-failed", detail: "" },
      };
    }
    case "tick":
      return { kind: "tick", clocks: now };
  }
}

function replied(member: Member, now: Clocks, parts: Parameters<typeof replyWith>[1]): MemberEvent {
  const event = replyWith(member, parts, now);
  return event.kind === "replied" ? { ...event, sent: now } : event;
}

type MemberLook = (before: MemberState, event: MemberEvent, result: ReturnType<typeof memberStep>) => Claims;

function later(now: Clocks, passed: Clocks): Clocks {
  return {
    monoMs: now.monoMs + passed.monoMs,
    bootMs: now.bootMs + passed.bootMs,
    wallMs: now.wallMs + passed.wallMs,
  };
}

/** The property that every step of a member keeps its claims, whatever it meets. */
function memberAlways(look: MemberLook, { step = memberStep, numRuns = 400 } = {}): () => void {
  const run = ({ from, acts }: { from: MemberPhaseKind; acts: MemberAct[] }) => {
    const member = memberPhases[from]();
    let now = clocksAt(member.atMs);
    for (const one of acts) {
      if (one.kind === "tick") now = later(now, one.elapsed);
      const before = member.state;
      const event = eventOf(member, now, one);
      const result = step(before, event);
      member.state = result.state;
      hold(look(before, event, result));
    }
  };
  return () => fc.assert(fc.property(memberCourse, run), { numRuns });
}

describe("a member's machine", () => {
  test("is a function of plain data", () => {
    expect(memberAlways(() => ({}), { step: purely(memberStep), numRuns: 150 })).not.toThrow();
  });

  test("epochs, operations and what it vouches for only grow, and are written with fsync", () => {
    const counts = ["epochSeen", "opSeen", "attempted", "released"] as const;
    expect(
      memberAlways(({ durable: a }, _, { state: { durable: b }, fsync }) => ({
        "nothing shrinks": counts.every((key) => b[key] >= a[key]) && b.version >= a.version,
        "growth is synced": fsync || counts.every((key) => b[key] === a[key]),
      })),
    ).not.toThrow();
  });

  test("never opens, or stays open, without a lease that runs by every clock, or has no end", () => {
    expect(
      memberAlways((_, { clocks }, { state: { phase, durable, live } }) => {
        if (phase.kind !== "open" && phase.kind !== "opening") return {};
        const { lease } = durable;
        return {
          "the lease is of that epoch": lease?.epoch === phase.epoch,
          // That MAINTENANCE is over may be heard after the lease's time: it is fenced with the next event, which is due now.
          "the lease runs":
            lease !== null &&
            (durable.policy === "maintenance" ||
              remainingMs(lease, live.bootId, clocks) > 0 ||
              nextDeadlineMs({ phase, durable, live }, clocks) === 0),
        };
      }),
    ).not.toThrow();
  });

  test("opens nothing while its data directory is damaged, and says so until a rebuild has ended well", () => {
    expect(
      memberAlways(({ durable: before }, event, { state, effects }) => {
        const opens = effects.some((effect) => effect.kind === "run" && effect.task.kind === "promote");
        const isHealed = before.isDamaged && !state.durable.isDamaged;
        return {
          "nothing opens": !opens || !state.durable.isDamaged,
          "only a rebuild heals it": !isHealed || event.kind === "finished",
        };
      }),
    ).not.toThrow();
  });

  test("the door is shut only while it is open for writes", () => {
    expect(
      memberAlways((_, { clocks }, { state }) => {
        const { phase } = state;
        const isShut = phase.kind === "open" && phase.shut !== null;
        const said = pollOf(state, { seq: 1, clocks, connector: null, peer: null }).server;
        return {
          "it says so": said?.door === (isShut ? "shut" : "open"),
          "it opens by itself": !isShut || nextDeadlineMs(state, clocks) !== null,
        };
      }),
    ).not.toThrow();
  });

  test("sets out in no epoch twice, and in none that it vouched for", () => {
    expect(
      memberAlways(({ durable: before }, _, { state, effects }) => {
        const opens = effects.some(
          (effect) => effect.kind === "run" && (effect.task.kind === "promote" || effect.task.kind === "adopt"),
        );
        return {
          "the epoch is new": !opens || state.durable.attempted > Math.max(before.attempted, before.released),
        };
      }),
    ).not.toThrow();
  });

  test("leaves no command waiting for a task that was overtaken", () => {
    expect(
      memberAlways((_, __, { state: { phase, live } }) => {
        const running = phase.kind === "observing" ? null : phase.running;
        const waiting = live.results.filter(({ outcome }) => outcome === "accepted");
        return { "what is accepted is under way": waiting.every(({ id }) => running?.command?.id === id) };
      }),
    ).not.toThrow();
  });

  test("the time to its next deadline is never negative", () => {
    expect(
      memberAlways((_, { clocks }, { state }) => ({
        "it lies ahead or is now": (nextDeadlineMs(state, clocks) ?? 0) >= 0,
      })),
    ).not.toThrow();
  });

  test("a reply to a poll that was answered already changes nothing", () => {
    expect(
      memberAlways((_, event, { state }) => {
        // Whoever has just heard that its lease has an end, and that it is past, is fenced by whatever comes next.
        if (event.kind !== "replied" || nextDeadlineMs(state, event.clocks) === 0) return {};
        const again = memberStep(state, event);
        return {
          "the disk is left alone": again.state.durable === state.durable,
          "nothing begins": again.state.phase === state.phase && again.effects.length === 0,
        };
      }),
    ).not.toThrow();
  });
});

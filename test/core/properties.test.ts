/** What holds for whatever the two machines may be handed, in any order. */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextDeadline, step as clusterStep } from "#shared/core/cluster/step.ts";
import { freshLive, type ClusterEvent, type ClusterState, type ClusterStep } from "#shared/core/cluster/state.ts";
import { nextDeadlineMs, step as memberStep } from "#shared/core/member/step.ts";
import { remainingMs } from "#shared/core/member/lease.ts";
import type { MemberEvent, MemberState } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { MemberServerReport, ServerReport } from "#shared/domain/messages.ts";
import {
  clocksAt,
  epochOf,
  MEMBERS,
  pass,
  poll,
  position,
  ROUTER,
  send,
  type Cluster,
  type PhaseKind,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";
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
});

type Act =
  | { kind: "poll"; said: typeof spoken extends fc.Arbitrary<infer T> ? T : never }
  | { kind: "pass"; ms: number }
  | { kind: "tick" }
  | { kind: "reborn" }
  | { kind: "failover"; to: string | null }
  | { kind: "fail"; member: string };

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 12, arbitrary: spoken.map((said) => ({ kind: "poll" as const, said })) },
  {
    weight: 4,
    arbitrary: fc.constantFrom(10, 50, 300, 1_000, 7_500, 31_000).map((ms) => ({ kind: "pass" as const, ms })),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "tick" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reborn" as const }) },
  { weight: 1, arbitrary: fc.constantFrom(...MEMBERS, null).map((to) => ({ kind: "failover" as const, to })) },
  { weight: 1, arbitrary: fc.constantFrom(...MEMBERS).map((member) => ({ kind: "fail" as const, member })) },
);

const phaseKinds = Object.keys({
  founding: 0,
  "reigning-opening": 0,
  "reigning-opened": 0,
  deposing: 0,
  "collecting-natural": 0,
  "collecting-explicit": 0,
  vacant: 0,
} satisfies Record<PhaseKind, 0>) as PhaseKind[];

const course = fc.record({
  from: fc.constantFrom(...phaseKinds),
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
    case "failover":
      return send(cluster, { kind: "command", command: { kind: "failover", to: one.to } });
    case "fail":
      return send(cluster, { kind: "command", command: { kind: "datasource-fail", member: one.member } });
  }
}

function speak(cluster: Cluster, said: Extract<Act, { kind: "poll" }>["said"]): ClusterStep {
  const { op } = cluster.state.durable;
  const epoch = epochOf(cluster);
  const last = cluster.polls[said.host];
  const command = cluster.state.durable.commands[said.host];
  const results = command && said.outcome ? [{ id: command.id, op, outcome: said.outcome, code: "", detail: "" }] : [];
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
      receiver: said.receiver(op),
      position: position(said.lsn, said.timeline, said.timeline === 2 ? [[1, "0/3000000"]] : []),
    },
  });
}

/** Runs a course through the machine and hands every step to `look`. */
function follow({ from, acts }: { from: PhaseKind; acts: Act[] }, look: Look): void {
  const cluster = phases[from]();
  cluster.stepWith = (state, event) => {
    const result = look.step(state, event);
    look.each?.(state, event, result);
    return result;
  };
  for (const one of acts) perform(cluster, one);
}

interface Look {
  step: (state: ClusterState, event: ClusterEvent) => ClusterStep;
  each?: (before: ClusterState, event: ClusterEvent, result: ClusterStep) => void;
}

function check(look: Look, numRuns: number): void {
  fc.assert(
    fc.property(course, (one) => follow(one, look)),
    { numRuns },
  );
}

describe("the coordinator's machine", () => {
  test("is a function of plain data", () => {
    check({ step: purely(clusterStep) }, 60);
  });

  test("epochs, operations, versions and what was released only grow", () => {
    const each: Look["each"] = ({ durable: a }, _, { state: { durable: b } }) => {
      expect(b.epoch).toBeGreaterThanOrEqual(a.epoch);
      expect(b.op).toBeGreaterThanOrEqual(a.op);
      expect(b.version - a.version).toBe(b === a ? 0 : 1);
      for (const [host, was] of Object.entries(a.identities))
        expect(b.identities[host]?.released).toBeGreaterThanOrEqual(was.released);
    };
    check({ step: clusterStep, each }, 150);
  });

  test("an older poll of the same start is refused, and the state is the very same", () => {
    const each: Look["each"] = (_, event, { state, answer }) => {
      if (event.kind !== "poll" || answer.kind !== "reply") return;
      for (const seq of [event.poll.seq, event.poll.seq - 1, 0]) {
        const again = clusterStep(state, { ...event, poll: { ...event.poll, seq } });
        expect(again.answer).toMatchObject({ kind: "refused", refusal: { code: "stale-poll" } });
        expect(again.state).toBe(state);
        expect([again.effects, again.reasons, again.confirm]).toEqual([[], [], false]);
      }
    };
    check({ step: clusterStep, each }, 150);
  });

  test("the next deadline lies ahead", () => {
    const each: Look["each"] = (_, __, { state }) => {
      expect(nextDeadline(state) ?? Number.POSITIVE_INFINITY).toBeGreaterThan(state.live.at);
    };
    check({ step: clusterStep, each }, 150);
  });

  test("before the next deadline a tick changes nothing", () => {
    const each: Look["each"] = (_, __, { state }) => {
      const deadline = nextDeadline(state) ?? state.live.at + 3_600_000;
      const at = deadline - 1;
      if (at <= state.live.at) return;
      const early = clusterStep(state, { kind: "tick", at, wallMs: at });
      expect({ reasons: early.reasons, durable: early.state.durable === state.durable }).toEqual({
        reasons: [],
        durable: true,
      });
    };
    check({ step: clusterStep, each }, 200);
  });

  test("whatever carries authority is confirmed, and a lease goes to nobody but the one who reigns", () => {
    const each: Look["each"] = (_, event, { state, answer, confirm }) => {
      if (event.kind !== "poll" || answer.kind !== "reply") return;
      const { lease, leaseEndedEpoch, commands } = answer.reply;
      if (lease || leaseEndedEpoch !== null || commands.length > 0) expect(confirm).toBe(true);
      if (lease)
        expect(state.durable.phase).toMatchObject({ kind: "reigning", primary: event.poll.host, epoch: lease.epoch });
      if (commands.some(({ kind }) => kind === "promote" || kind === "adopt"))
        expect(lease?.epoch).toBe(state.durable.epoch);
      for (const route of answer.reply.routes) expect(route.validMs).toBeLessThanOrEqual(state.lease?.ttlMs ?? 0);
    };
    check({ step: clusterStep, each }, 150);
  });

  test("what an operator failed is neither promoted nor put back by anything but a shun", () => {
    const each: Look["each"] = ({ durable: a }, _, { state: { durable: b } }) => {
      for (const [name, was] of Object.entries(a.members)) {
        if (was.reason.kind !== "manually-failed") continue;
        expect([name, ["failed", "shunned"].includes(b.members[name]?.state ?? "")]).toEqual([name, true]);
        if (b.epoch > a.epoch) expect(b.reigns.at(-1)?.member).not.toBe(name);
      }
    };
    check({ step: clusterStep, each }, 150);
  });
});

const memberKinds = Object.keys({
  observing: 0,
  "closed-idle": 0,
  "closed-busy": 0,
  opening: 0,
  open: 0,
  fencing: 0,
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
  | { kind: "finished"; ok: boolean; off: number }
  | { kind: "tick"; elapsed: Clocks };

const elapsed = fc.constantFrom(0, 10, 400, 1_700, 5_100);
const memberAct: fc.Arbitrary<MemberAct> = fc.oneof(
  { weight: 4, arbitrary: server.map((report) => ({ kind: "observed" as const, report })) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("told" as const),
      command: fc.constantFrom("adopt", "promote", "follow", "freeze", "fence", "start" as const),
      opOff: fc.constantFrom(-1, 0, 1, 1),
      epochOff: fc.constantFrom(-1, 0, 0, 1),
      withLease: fc.constantFrom(true, true, false),
      id: fc.nat({ max: 30 }),
    }),
  },
  { weight: 2, arbitrary: fc.constantFrom(0, 0, 1).map((epochOff) => ({ kind: "extended" as const, epochOff })) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1).map((epochOff) => ({ kind: "ended" as const, epochOff })) },
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
  const { durable, live, phase } = member.state;
  switch (one.kind) {
    case "observed":
      return { kind: "observed", clocks: now, view: viewOf(one.report) };
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
    case "finished": {
      const running = phase.kind === "observing" || phase.kind === "open" ? null : phase.running;
      const taskId = (running?.id ?? live.nextTaskId) - one.off;
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

type MemberLook = (before: MemberState, event: MemberEvent, result: ReturnType<typeof memberStep>) => void;

function checkMember(look: MemberLook, step: typeof memberStep, numRuns: number): void {
  const run = ({ from, acts }: { from: MemberPhaseKind; acts: MemberAct[] }) => {
    const member = memberPhases[from]();
    let now = clocksAt(member.atMs);
    for (const one of acts) {
      if (one.kind === "tick") {
        now = {
          monoMs: now.monoMs + one.elapsed.monoMs,
          bootMs: now.bootMs + one.elapsed.bootMs,
          wallMs: now.wallMs + one.elapsed.wallMs,
        };
      }
      const before = member.state;
      const event = eventOf(member, now, one);
      const result = step(before, event);
      member.state = result.state;
      look(before, event, result);
    }
  };
  fc.assert(fc.property(memberCourse, run), { numRuns });
}

describe("a member's machine", () => {
  test("is a function of plain data", () => {
    checkMember(() => {}, purely(memberStep), 150);
  });

  test("epochs, operations and what it vouches for only grow", () => {
    checkMember(
      ({ durable: a }, _, { state: { durable: b } }) => {
        for (const key of ["epochSeen", "opSeen", "attempted", "released", "version"] as const)
          expect(b[key]).toBeGreaterThanOrEqual(a[key]);
      },
      memberStep,
      250,
    );
  });

  test("never opens, or stays open, without a lease that runs by every clock", () => {
    checkMember(
      (_, { clocks }, { state: { phase, durable, live } }) => {
        if (phase.kind !== "open" && phase.kind !== "opening") return;
        expect(durable.lease?.epoch).toBe(phase.epoch);
        expect(durable.lease ? remainingMs(durable.lease, live.bootId, clocks) : 0).toBeGreaterThan(0);
      },
      memberStep,
      500,
    );
  });

  test("sets out in no epoch twice, and in none that it vouched for", () => {
    checkMember(
      ({ durable: before }, _, { state, effects }) => {
        const opens = effects.some(
          (effect) => effect.kind === "run" && (effect.task.kind === "promote" || effect.task.kind === "adopt"),
        );
        if (!opens) return;
        expect(state.durable.attempted).toBeGreaterThan(Math.max(before.attempted, before.released));
      },
      memberStep,
      500,
    );
  });

  test("writes to disk with fsync whatever it vouches for or has seen", () => {
    checkMember(
      ({ durable: a }, _, { state: { durable: b }, fsync }) => {
        const isGrown =
          b.epochSeen > a.epochSeen || b.opSeen > a.opSeen || b.attempted > a.attempted || b.released > a.released;
        if (isGrown) expect(fsync).toBe(true);
      },
      memberStep,
      250,
    );
  });

  test("the time to its next deadline is never negative", () => {
    checkMember(
      (_, { clocks }, { state }) => {
        expect(nextDeadlineMs(state, clocks) ?? 0).toBeGreaterThanOrEqual(0);
      },
      memberStep,
      250,
    );
  });

  test("a reply to a poll that was answered already changes nothing", () => {
    checkMember(
      (_, event, { state }) => {
        if (event.kind !== "replied") return;
        const again = memberStep(state, event);
        expect(again.state.durable).toBe(state.durable);
        expect([again.state.phase, again.effects]).toEqual([state.phase, []]);
      },
      memberStep,
      250,
    );
  });
});

/** What a member does not do, though it was told to or could: each of these was once looked for by a planted fault. */
import { describe, expect, test } from "vitest";
import { pollOf, receiverOf } from "#shared/core/member/poll.ts";
import { begin } from "#shared/core/member/step.ts";
import type { MemberStep } from "#shared/core/member/state.ts";
import { isSynced } from "#shared/core/member/sync.ts";
import { MOST_TOLD, type ServerReport, type SyncSet } from "#shared/domain/messages.ts";
import { zPoll } from "#shared/protocol/wire.ts";
import { clocksAt, IN_RECOVERY, STOPPED, WRITABLE } from "./builders.ts";
import {
  commandOf,
  finished,
  give,
  leaseOf,
  liveOf,
  memberPhases,
  observed,
  ordered,
  replyWith,
  TTL_MS,
  underPolicy,
  type Member,
} from "./member-events.ts";

/** The tasks that a step hands to the engine. */
function tasksIn({ effects }: MemberStep) {
  return effects.flatMap((effect) => (effect.kind === "run" ? [effect.task] : []));
}

function lastResult({ state }: Member) {
  return state.live.results.at(-1);
}

describe("opening", () => {
  test("is refused where the server is writable already: nobody knows by whose word", () => {
    const member = memberPhases.observing();
    give(member, observed(member, WRITABLE));
    const told = give(member, ordered(member, commandOf(member, "promote")));
    expect(lastResult(member)).toMatchObject({ outcome: "refused", code: "server-writable" });
    expect(tasksIn(told)).toEqual([]);
    expect(member.state.phase.kind).toBe("observing");
  });
});

describe("the word that a lease is over", () => {
  test("ends the epoch that it names, and no later one", () => {
    const member = memberPhases.open();
    const epoch = member.state.durable.attempted;
    give(member, replyWith(member, { leaseEnded: { epoch: epoch - 1, mac: "" } }));
    expect(member.state.phase).toMatchObject({ kind: "open", epoch });
    give(member, replyWith(member, { leaseEnded: { epoch, mac: "" } }));
    expect(member.state.phase).toMatchObject({ kind: "fencing", releases: epoch });
  });
});

describe("an orderly stop", () => {
  test.each([
    ["its own patience, where the lease runs longer", 4_000, 3_000],
    ["what is left of the lease, where that is less", 700, 700],
  ])("is waited for as long as %s", (_, leftMs, patienceMs) => {
    const member = memberPhases.open();
    give(member, replyWith(member, { lease: leaseOf(member.state.durable.attempted) }));
    member.atMs += TTL_MS - leftMs;
    const told = give(member, ordered(member, commandOf(member, "fence")));
    expect(tasksIn(told)).toMatchObject([{ kind: "fence", patienceMs }]);
  });
});

describe("a freeze", () => {
  test("is reported when it has been carried out, not when it was taken", () => {
    const member = memberPhases["closed-idle"]();
    const command = commandOf(member, "freeze");
    give(member, ordered(member, command));
    expect(member.state.durable.frozenOp).toBe(command.op);
    expect(receiverOf(member.state)).toEqual({ state: "none" });
    give(member, finished(member, true));
    expect(receiverOf(member.state)).toEqual({ state: "frozen", op: command.op });
  });

  test("that has failed is not", () => {
    const member = memberPhases["closed-idle"]();
    give(member, ordered(member, commandOf(member, "freeze")));
    give(member, finished(member, false));
    expect(receiverOf(member.state)).toEqual({ state: "none" });
  });
});

test("a member that was laid out anew has no epoch of its own, and another incarnation", () => {
  const member = memberPhases["closed-rebuilding"]();
  expect(member.state.durable).toMatchObject({ ownEpoch: 1, incarnation: "incarnation-db1" });
  give(member, finished(member, true, { value: "another" }));
  expect(member.state.durable).toMatchObject({ ownEpoch: 0, incarnation: "another", isDamaged: false });
});

describe("a sync set", () => {
  const setOf = (version: number): SyncSet => ({ version, k: 1, members: ["db2", "db3"] });

  /** The set was told, and the engine was given the task to go by it. */
  function told(version: number): { member: Member; taskId: number } {
    const member = memberPhases["closed-idle"]();
    const [task] = tasksIn(give(member, replyWith(member, { sync: setOf(version) })));
    if (task?.kind !== "sync") throw new Error("no sync task");
    return { member, taskId: task.id };
  }

  function endOf(member: Member, taskId: number) {
    const clocks = { monoMs: member.atMs, bootMs: 100_000, wallMs: 1_800_000_000_000 };
    return give(member, { kind: "finished", clocks, taskId, outcome: { ok: true } });
  }

  test("is said to be in force when the server goes by it, not when it was told", () => {
    const { member, taskId } = told(2);
    expect(member.state.durable.syncSet.version).toBe(2);
    expect(isSynced(member.state)).toBe(false);
    endOf(member, taskId);
    expect(isSynced(member.state)).toBe(true);
  });

  test("is never gone back to from a newer one", () => {
    const { member, taskId } = told(2);
    endOf(member, taskId);
    expect(tasksIn(give(member, replyWith(member, { sync: setOf(1) })))).toEqual([]);
    expect(member.state.durable.syncSet).toEqual(setOf(2));
    expect(isSynced(member.state)).toBe(true);
  });

  test("founds a replica whose server was down when it was told, as soon as that runs", () => {
    const member = memberPhases.observing();
    give(member, observed(member, STOPPED));
    expect(tasksIn(give(member, replyWith(member, { sync: setOf(1) })))).toEqual([]);
    expect(member.state.phase.kind).toBe("observing");
    expect(tasksIn(give(member, observed(member, IN_RECOVERY)))).toMatchObject([{ kind: "sync", set: setOf(1) }]);
    expect(member.state.phase.kind).toBe("closed");
  });

  test("founds no server that can write", () => {
    const member = memberPhases.observing();
    give(member, observed(member, WRITABLE));
    give(member, replyWith(member, { sync: setOf(1) }));
    expect(member.state.phase.kind).toBe("observing");
  });
});

describe("in MAINTENANCE, an agent that is started beside a read-only server which it was last to open", () => {
  /** The agent in this phase is told of MAINTENANCE, dies, and its successor finds the server so. */
  function startedAgain(phase: "opening" | "open", report: ServerReport): MemberStep {
    const member = memberPhases[phase]();
    give(member, underPolicy(member, "maintenance"));
    return begin(member.state.durable, liveOf(report), clocksAt(member.atMs + 500));
  }

  test.each([IN_RECOVERY, STOPPED])("kills it where nobody saw the opening end: it may open yet (%j)", (report) => {
    const begun = startedAgain("opening", report);
    expect(tasksIn(begun)).toMatchObject([{ kind: "fence" }]);
    expect(begun.state.durable).toMatchObject({ attempted: 4, opened: 0, released: 1 });
  });

  test("leaves it alone where the opening was seen to end: its operator has started it", () => {
    expect(tasksIn(startedAgain("open", IN_RECOVERY))).toMatchObject([{ kind: "settle" }]);
  });

  test("knows of an opening that ended while nobody watched", () => {
    const { durable } = startedAgain("opening", WRITABLE).state;
    expect(durable).toMatchObject({ attempted: 4, opened: 4 });
    expect(tasksIn(begin(durable, liveOf(IN_RECOVERY), clocksAt(900)))).toMatchObject([{ kind: "settle" }]);
  });
});

test("what a program says at length is cut to what a poll may carry, beginning and end", () => {
  const member = memberPhases["closed-idle"]();
  give(member, ordered(member, commandOf(member, "rebuild")));
  give(
    member,
    finished(member, false, { code: "clone-failed", detail: `clone_command: ${"97% ".repeat(2_000)}the end` }),
  );
  const { detail = "" } = lastResult(member) ?? {};
  expect(detail).toHaveLength(MOST_TOLD.detail);
  expect(detail).toMatch(/^clone_command: .* \.\.\. .*the end$/);
  const poll = pollOf(member.state, { seq: 1, clocks: clocksAt(0), connector: null, peer: null });
  expect(zPoll.safeParse(structuredClone(poll)).error?.issues ?? []).toEqual([]);
});

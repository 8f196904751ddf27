/** A replica's own word to connectors that hear no coordinator: when it may be read from. */
import { describe, expect, test } from "vitest";
import { readableUnder } from "#shared/core/member/readable.ts";
import { give, memberPhases, ordered, commandOf, finished, viewOf, type Member } from "./member-events.ts";
import { clocksAt, IN_RECOVERY, STOPPED, WRITABLE } from "./builders.ts";
import type { ServerView } from "#shared/core/member/state.ts";

/** A replica that was told to follow db2 and streams from it, 40 ms behind. */
function replica(patch: Partial<ServerView> = {}): Member {
  const member = memberPhases["closed-busy"]();
  give(member, finished(member, true));
  const configured = { host: "db2.example", port: 5432 };
  const view = { ...viewOf(IN_RECOVERY), latencyMs: 40, receiver: { streaming: true, configured }, ...patch };
  give(member, { kind: "observed", clocks: clocksAt(member.atMs), view, after: null });
  return member;
}

function wordOf({ state }: Member, patch: { primary?: string; epoch?: number; maxLatencyMs?: number } = {}) {
  return readableUnder(state, { primary: "db2", epoch: state.durable.epochSeen, maxLatencyMs: 40, ...patch });
}

describe("a replica may be read from", () => {
  test("while it streams from the primary that was asked about, no older than was asked", () => {
    expect(wordOf(replica())).toEqual({ member: "db1", host: "db1.example", port: 5432 });
    expect(wordOf(replica(), { maxLatencyMs: 39 })).toBe(null);
    expect(wordOf(replica({ latencyMs: null }))).toBe(null);
  });

  test("under no other primary, and under no reign that it has seen a later one of", () => {
    const member = replica();
    expect(wordOf(member, { primary: "db3" })).toBe(null);
    expect(wordOf(member, { epoch: member.state.durable.epochSeen - 1 })).toBe(null);
    expect(wordOf(member, { epoch: member.state.durable.epochSeen + 1 })).not.toBe(null);
  });

  test("not when its stream has ended, or its server is down or writable", () => {
    const configured = { host: "db2.example", port: 5432 };
    expect(wordOf(replica({ receiver: { streaming: false, configured } }))).toBe(null);
    expect(wordOf(replica({ receiver: { streaming: false, configured: null } }))).toBe(null);
    expect(wordOf(replica({ report: STOPPED }))).toBe(null);
    expect(wordOf(replica({ report: WRITABLE }))).toBe(null);
  });

  test("not once it was told to open: nobody writes through a door for readers", () => {
    const member = replica();
    give(member, ordered(member, commandOf(member, "promote")));
    expect(member.state.phase.kind).toBe("opening");
    expect(wordOf(member)).toBe(null);
    // Whatever it was told to follow before.
    const { phase } = member.state;
    const { state, atMs } = replica();
    expect(wordOf({ state: { ...state, phase }, atMs })).toBe(null);
  });
});

/** Who may not speak for a host: refused with a code, and the state after it is the very same. */
import { describe, expect, test } from "vitest";
import type { Poll } from "#shared/domain/messages.ts";
import { TIMELINE_LEEWAY } from "#shared/domain/reign.ts";
import {
  REPLICAS,
  endedPatch,
  nextPoll,
  pass,
  poll,
  position,
  releasedPatch,
  runningCluster,
  send,
  streamingPatch,
  type Cluster,
} from "./builders.ts";

function refusalOf(cluster: Cluster, sent: Poll): string | null {
  const before = cluster.state;
  const { answer } = send(cluster, { kind: "poll", poll: sent });
  if (answer.kind !== "refused") return null;
  expect(cluster.state).toBe(before);
  return answer.refusal.code;
}

/** What is remembered of it is the number of its timeline, and only in memory. */
function refusalAt(cluster: Cluster, sent: Poll): string | null {
  const { durable, lease } = cluster.state;
  const { answer } = send(cluster, { kind: "poll", poll: sent });
  expect(cluster.state.durable).toBe(durable);
  expect(cluster.state.lease).toBe(lease);
  return answer.kind === "refused" ? answer.refusal.code : null;
}

describe("a poll", () => {
  test("of an earlier start is refused once a later one has spoken", () => {
    const cluster = runningCluster();
    const late = nextPoll(cluster, "db2", { seq: 900 });
    poll(cluster, "db2", { ...streamingPatch("db1"), startCount: 2, seq: 1 });
    const { durable, lease } = cluster.state;
    expect(send(cluster, { kind: "poll", poll: late }).answer).toMatchObject({ refusal: { code: "second-agent" } });
    // What is remembered of it, and only in memory, is that it was heard again.
    expect(cluster.state).toMatchObject({ lease, live: { elders: { db2: { startCount: 1 } } } });
    expect(cluster.state.durable).toBe(durable);
  });

  test("of another server is refused, and one of which the identifier is not known is not", () => {
    const cluster = runningCluster();
    expect(refusalOf(cluster, nextPoll(cluster, "db2", { server: { systemId: "7399999999999999999" } }))).toBe(
      "wrong-system",
    );
    expect(refusalOf(cluster, nextPoll(cluster, "db2", { server: { systemId: null } }))).toBeNull();
  });

  test("that was answered already is refused, and so is one that is older", () => {
    const cluster = runningCluster();
    const older = nextPoll(cluster, "db3");
    pass(cluster, 100);
    poll(cluster, "db3");
    poll(cluster, "db3");
    expect(refusalOf(cluster, older)).toBe("stale-poll");
    const again = cluster.polls["db3"];
    expect(again && refusalOf(cluster, again)).toBe("stale-poll");
  });

  test("whose answer was lost has the very same answer when it comes again, and nothing else happens", () => {
    const cluster = runningCluster();
    pass(cluster, 100);
    const sent = nextPoll(cluster, "db1");
    const first = send(cluster, { kind: "poll", poll: sent });
    expect(first.answer.kind).toBe("reply");
    pass(cluster, 400);
    // By way of a peer it is read from the wire once more.
    const again = send(cluster, { kind: "poll", poll: structuredClone(sent) });
    expect(again.answer).toEqual(first.answer);
    expect(again.state).toBe(first.state);
    expect({ effects: again.effects, reasons: again.reasons, confirm: again.confirm }).toEqual({
      effects: [],
      reasons: [],
      confirm: false,
    });
  });

  test("that differs by a word from the one that was answered under its number is refused", () => {
    const cluster = runningCluster();
    const sent = nextPoll(cluster, "db1");
    send(cluster, { kind: "poll", poll: sent });
    const other = send(cluster, { kind: "poll", poll: { ...sent, policyVersion: sent.policyVersion + 1 } });
    expect(other.answer).toMatchObject({ kind: "refused", refusal: { code: "stale-poll" } });
  });

  test("of a timeline that nobody can have come to is refused: every promotion to come would have to pass it", () => {
    const cluster = runningCluster();
    const server = (timeline: number) => ({ position: position("0/3000500", timeline, [[1, "0/3000400"]]) });
    expect(poll(cluster, "db2", { server: server(1 + TIMELINE_LEEWAY) }).answer.kind).toBe("reply");
    expect(refusalAt(cluster, nextPoll(cluster, "db3", { server: server(2 + TIMELINE_LEEWAY) }))).toBe("wrong-system");
    poll(cluster, "db1", releasedPatch(1));
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
    // What was refused counts as far as anything does.
    expect(cluster.state.durable.reigns.at(-1)?.timeline).toBe(2 + TIMELINE_LEEWAY + 1);
  });

  test("of a stranger is refused, and the timeline that it tells of is given to nobody", () => {
    const cluster = runningCluster();
    const server = { position: position("0/3000500", 7, [[1, "0/3000400"]]) };
    expect(refusalAt(cluster, nextPoll(cluster, "db4", { incarnation: "another", startCount: 9, server }))).toBe(
      "wrong-incarnation",
    );
    const elsewhere = {
      systemId: "7399999999999999999",
      position: { ...position("0/3000500", 11), systemId: "7399999999999999999" },
    };
    expect(refusalAt(cluster, nextPoll(cluster, "db4", { server: elsewhere }))).toBe("wrong-system");
    poll(cluster, "db1", releasedPatch(1));
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
    expect(cluster.state.durable.reigns.at(-1)).toMatchObject({ epoch: 2, timeline: 8 });
  });
});

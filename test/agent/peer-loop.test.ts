/** When the agent hints to its peers, and how soon it asks a coordinator again that does not answer. */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { begin } from "#shared/core/member/step.ts";
import { freshDurable, freshLive, UNSEEN } from "#shared/core/member/state.ts";
import type { Poll, Reply, Route } from "#shared/domain/messages.ts";
import { PROTOCOL_VERSION } from "#shared/domain/version.ts";
import { readBootId, readClocks } from "../../agent/clocks.ts";
import type { PollOutcome } from "../../agent/coordinator-client.ts";
import { AgentLoop, type PeerPort } from "../../agent/loop.ts";

const DEADLINE_MS = 5_000;
const ENDPOINT = { host: "127.0.0.1", port: 4_321 };
const CONNECTOR = { pid: 1, state: "online", created: 0, active: 0, targets: [] } as const;

const loops: AgentLoop[] = [];
afterEach(() => {
  for (const loop of loops.splice(0)) loop.stop();
});

interface Run {
  loop: AgentLoop;
  polls: { poll: Poll; atMs: number }[];
  nudges: () => number;
  /** What its connector was told, in order. */
  routes: Reply["routes"];
  /** Settles when so many polls have been sent. */
  sent: (count: number) => Promise<void>;
}

/** A host that carries only a connector; `answer` is the coordinator. */
function run(answer: (poll: Poll) => PollOutcome, words: Partial<PeerPort> = {}): Run {
  const polls: Run["polls"] = [];
  const routes: Run["routes"] = [];
  let nudges = 0;
  let tell = () => {};
  const durable = freshDurable({ dataservice: "alpha", host: "app1" }, "incarnation");
  const told = { bootId: readBootId(), fenceMs: 1_500, endpoint: ENDPOINT, view: UNSEEN, nextPollMs: 1_000 };
  const loop = new AgentLoop(
    {
      engine: null,
      door: null,
      peers: {
        endpoint: ENDPOINT,
        learn: () => {},
        nudge: () => (nudges += 1),
        askPromises: () => {},
        askRoute: () => Promise.resolve(null),
        askReader: () => Promise.resolve(null),
        fetchTail: () => Promise.reject(new Error("none")),
        ...words,
      },
      guard: () => {},
      poll: (poll) => {
        polls.push({ poll, atMs: performance.now() });
        tell();
        return Promise.resolve(answer(poll));
      },
      keep: () => {},
      connectorReport: () => ({ ...CONNECTOR, targets: [] }),
      onRoutes: (learnt) => routes.push(...learnt),
      onReason: () => {},
      onPollOutcome: () => {},
      onKeepFailure: () => {},
      onBroken: (error) => {
        throw error;
      },
    },
    begin(durable, freshLive(told), readClocks()),
  );
  loops.push(loop);
  const sent = (count: number) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${polls.length} polls, not ${count}`)), DEADLINE_MS);
      tell = () => {
        if (polls.length < count) return;
        clearTimeout(timer);
        resolve();
      };
      tell();
    });
  return { loop, polls, routes, nudges: () => nudges, sent };
}

function reply({ seq }: Poll, patch: Partial<Reply> = {}): PollOutcome {
  return {
    kind: "reply",
    reply: {
      protocol: PROTOCOL_VERSION,
      answersSeq: seq,
      nonce: `nonce ${seq}`,
      version: 0,
      mac: "",
      nextPollMs: 1_000,
      policy: "automatic",
      policyVersion: 0,
      lease: null,
      leaseEnded: null,
      commands: [],
      sync: null,
      routes: [],
      call: ["db1"],
      peers: [],
      peerKey: "",
      ...patch,
    },
  };
}

const UNREACHABLE: PollOutcome = { kind: "unreachable", cause: "refused", detail: "nobody there" };

describe("the peers are told", () => {
  test("of what is polled out of turn when the coordinator has heard it; of a poll in turn not", async () => {
    const { sent, nudges, polls } = run((poll) => reply(poll, { nextPollMs: 600 }));
    expect(nudges()).toBe(0);
    await sent(1);
    await pause(20);
    expect(nudges()).toBe(1);
    expect(polls[0]?.poll.peer).toEqual(ENDPOINT);
    await sent(2);
    await pause(20);
    expect(nudges()).toBe(1);
  });

  test("when the pace quickens", async () => {
    const pace = (seq: number) => (seq === 1 ? 300 : 60);
    const { sent, nudges } = run((poll) => reply(poll, { nextPollMs: pace(poll.seq) }));
    await sent(1);
    await pause(20);
    const before = nudges();
    await sent(4);
    expect(nudges()).toBe(before + 1);
  });

  test("not of a poll that a peer's own hint has asked for, though the pace quickens with it", async () => {
    const { loop, sent, nudges } = run((poll) => reply(poll, { nextPollMs: poll.seq === 1 ? 1_000 : 60 }));
    await sent(1);
    await pause(20);
    const before = nudges();
    loop.pollForPeer();
    await sent(2);
    await pause(20);
    expect(nudges()).toBe(before);
  });
});

describe("a coordinator that does not answer is asked again", () => {
  test("soon while clients are let through on a proof, and slowly when it has run out", async () => {
    const target = { member: "db1", host: "127.0.0.1", port: 5_432 };
    const validMs = 2_000;
    const routes: Reply["routes"] = [{ service: "read-write", epoch: 1, target, hold: false, validMs }];
    const { sent, polls } = run((poll) => (poll.seq === 1 ? reply(poll, { routes, nextPollMs: 100 }) : UNREACHABLE));
    await sent(5);
    await pause(validMs + 2_500);
    const gaps = polls.slice(1).map(({ atMs }, index) => ({ atMs, ms: atMs - (polls[index]?.atMs ?? 0) }));
    const endMs = (polls[0]?.atMs ?? 0) + validMs;
    const soon = gaps.filter(({ atMs }) => atMs < endMs).map(({ ms }) => ms);
    const slow = gaps.filter(({ atMs, ms }) => atMs - ms >= endMs).map(({ ms }) => ms);
    // The median: a busy machine is late now and then.
    expect(soon.toSorted((a, b) => a - b)[soon.length >> 1]).toBeLessThan(500);
    expect(slow.length).toBeGreaterThan(0);
    expect(Math.min(...slow)).toBeGreaterThan(900);
  });

  test("slowly without one", async () => {
    const { sent, polls } = run(() => UNREACHABLE);
    await sent(2);
    expect((polls[1]?.atMs ?? 0) - (polls[0]?.atMs ?? 0)).toBeGreaterThan(900);
  });
});

describe("without a coordinator the door for readers", () => {
  const at = (member: string) => ({ member, host: "127.0.0.1", port: 5_432 });
  const writers = { service: "read-write", epoch: 2, target: at("db1"), hold: false, validMs: 400 } as const;
  const readers: Route = {
    service: "read-only",
    epoch: 2,
    targets: [at("db2"), at("db3")],
    maxLatencyMs: 700,
    validMs: 300,
  };
  /** Answers the first poll with both routes, and no other. */
  const once = (poll: Poll) =>
    poll.seq === 1 ? reply(poll, { routes: [writers, readers], nextPollMs: 50 }) : UNREACHABLE;

  test("goes by what the replicas of the last list say, as long as the primary's agent proves its reign", async () => {
    const asked: unknown[] = [];
    const { sent, routes } = run(once, {
      askRoute: () => Promise.resolve(writers),
      askReader: (member, question) => {
        asked.push([member, question]);
        return Promise.resolve(member === "db2" ? at("db2") : null);
      },
    });
    await sent(8);
    const told = routes.filter(({ service }) => service === "read-only").slice(1);
    expect(told[0]).toEqual({ ...readers, targets: [at("db2")] });
    const question = { primary: "db1", epoch: 2, maxLatencyMs: 700 };
    expect(asked.slice(0, 2)).toEqual([
      ["db2", question],
      ["db3", question],
    ]);
    // The one that said no is asked again.
    expect(asked.length).toBeGreaterThan(2);
  });

  test("is told nothing when nobody proves a reign, and by nobody who speaks for another", async () => {
    const alone = run(once, { askReader: (member) => Promise.resolve(at(member)) });
    await alone.sent(8);
    expect(alone.routes).toEqual([writers, readers]);
    const misled = run(once, {
      askRoute: () => Promise.resolve(writers),
      askReader: () => Promise.resolve(at("db9")),
    });
    await misled.sent(8);
    expect(misled.routes).toContainEqual({ ...readers, targets: [] });
    expect(JSON.stringify(misled.routes)).not.toContain("db9");
  });
});

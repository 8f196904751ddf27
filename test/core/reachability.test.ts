/**
 * Whatever the coordinator can ask of a member leads somewhere: in each of its phases, with the member it is about in
 * each of its own, the two real machines come to rest together. A refusal that nobody handles would show as a dataservice
 * that never has a primary again, or as a command that is waited for at the operation's pace for ever.
 */
import { describe, expect, test } from "vitest";
import { pollOf } from "#shared/core/member/poll.ts";
import type { MemberEffect, ServerView, Task } from "#shared/core/member/state.ts";
import type { ClusterStep } from "#shared/core/cluster/state.ts";
import type { Command, Reply } from "#shared/domain/messages.ts";
import {
  clocksAt,
  epochOf,
  frozenPatch,
  IN_RECOVERY,
  kindOf,
  openPatch,
  pass,
  poll,
  send,
  STOPPED,
  streamingPatch,
  WRITABLE,
  type Cluster,
  type PhaseKind,
  type PollPatch,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { give, kindOfMember, memberPhases, viewOf, type Member, type MemberPhaseKind } from "./member-events.ts";

const STEP_MS = 250;
const LIMIT_MS = 60_000;
/** How long a replica without a stream is watched closely; only after it does the pace say that all is at rest. */
const WATCHED_MS = 11_000;
/** How long the engine takes for whatever was under way at the beginning. */
const HELD_MS = 1_000;

type ReplyBody = Extract<ClusterStep["answer"], { kind: "reply" }>["reply"];

interface Pair {
  cluster: Cluster;
  target: string;
  member: Member;
  /** Tasks that the engine has been given, and when it ends them. */
  tasks: { task: Task; endsAtMs: number }[];
  asked: Command[];
  nextPollMs: number;
}

/** Whom each phase is most about: the one that is being opened, deposed, frozen, started or repointed. */
const targets: Record<PhaseKind, string> = {
  founding: "db1",
  "reigning-opening": "db3",
  "reigning-opened": "db3",
  deposing: "db2",
  "collecting-natural": "db3",
  "collecting-explicit": "db3",
  vacant: "db3",
};

function pairOf(phase: PhaseKind, kind: MemberPhaseKind): Pair {
  const cluster = phases[phase]();
  const target = targets[phase];
  const { member, tasks } = memberBeside(cluster, target, kind);
  return { cluster, target, member, tasks, asked: [], nextPollMs: 0 };
}

/** A member in one of its phases that has seen no more than this coordinator has given out. */
function memberBeside(cluster: Cluster, target: string, kind: MemberPhaseKind): Pick<Pair, "member" | "tasks"> {
  const member = memberPhases[kind]({ epoch: Math.max(0, epochOf(cluster) - 1), op: 0 });
  const known = cluster.polls[target];
  if (!known?.server) throw new Error(`no member ${target}`);
  const { durable, live } = member.state;
  const startCount = known.startCount + 1;
  member.state = {
    ...member.state,
    durable: { ...durable, host: target, incarnation: known.incarnation, startCount },
    live: { ...live, endpoint: known.server.endpoint, view: { ...live.view, position: known.server.position } },
  };
  member.atMs = cluster.atMs;
  const { phase } = member.state;
  const running = phase.kind === "observing" || phase.kind === "open" ? null : phase.running;
  if (!running) return { member, tasks: [] };
  const upstream = { member: "db2", host: "db2.example", port: 5432 };
  const task: Task =
    running.kind === "follow"
      ? { id: running.id, kind: running.kind, upstream, deadlineMs: 0 }
      : running.kind === "promote"
        ? { id: running.id, kind: running.kind, timeline: 3, deadlineMs: 0 }
        : { id: running.id, kind: running.kind, deadlineMs: 0 };
  return { member, tasks: [{ task, endsAtMs: cluster.atMs + HELD_MS }] };
}

/** One turn: everybody polls, every reply is obeyed, the engine ends what is due. */
function turn(pair: Pair): void {
  const { cluster, member } = pair;
  pass(cluster, STEP_MS);
  member.atMs = cluster.atMs;
  perform(pair, give(member, { kind: "tick", clocks: clocksAt(member.atMs) }).effects);
  for (const { task } of pair.tasks.filter(({ endsAtMs }) => endsAtMs <= cluster.atMs)) endTask(pair, task);
  pair.tasks = pair.tasks.filter(({ endsAtMs }) => endsAtMs > cluster.atMs);
  send(cluster, { kind: "tick" });
  for (const host of ["db1", "db2", "db3", "db4"]) {
    if (host === pair.target) pollTarget(pair);
    // db1 has been silent since its lease expired, wherever it is not the subject itself.
    else if (host !== "db1") pollOther(cluster, host);
  }
}

function pollTarget(pair: Pair): void {
  const { cluster, member, target } = pair;
  const seq = member.state.live.answeredSeq + 1;
  const clocks = clocksAt(cluster.atMs);
  const sent = pollOf(member.state, { seq, clocks, connector: null });
  const { answer } = send(cluster, { kind: "poll", poll: sent });
  if (answer.kind !== "reply") throw new Error(`${target} is refused: ${JSON.stringify(answer)}`);
  pair.asked.push(...answer.reply.commands);
  pair.nextPollMs = answer.reply.nextPollMs;
  perform(pair, give(member, { kind: "replied", clocks, sent: clocks, reply: signed(answer.reply) }).effects);
}

function signed({ leaseEndedEpoch, ...reply }: ReplyBody): Reply {
  return { ...reply, mac: "", leaseEnded: leaseEndedEpoch === null ? null : { epoch: leaseEndedEpoch, mac: "" } };
}

/** The others obey at once, as healthy replicas do. */
function pollOther(cluster: Cluster, host: string): void {
  const { answer } = poll(cluster, host);
  if (answer.kind !== "reply") return;
  for (const command of answer.reply.commands) {
    const last = cluster.polls[host];
    if (last)
      cluster.polls[host] = {
        ...last,
        ...obedient(cluster, command),
        server: last.server && { ...last.server, ...obedient(cluster, command).server },
      };
  }
}

function obedient(cluster: Cluster, command: Command): PollPatch & { server: NonNullable<PollPatch["server"]> } {
  switch (command.kind) {
    case "adopt":
    case "promote":
      return { ...openPatch(command.epoch), server: { phase: "open", report: WRITABLE, receiver: { state: "none" } } };
    case "freeze":
      return { ...frozenPatch(cluster), server: { receiver: { state: "frozen", op: command.op } } };
    case "follow":
      return {
        ...streamingPatch(command.upstream.member),
        server: { receiver: { state: "streaming", upstream: command.upstream.member } },
      };
    case "start":
      return { server: { report: IN_RECOVERY, receiver: { state: "none" } } };
    case "fence":
      return { released: command.epoch, leaseRemainingMs: null, server: { phase: "closed", report: STOPPED } };
  }
}

/** Work for the engine ends with the next turn; a fence overtakes whatever was under way. */
function perform(pair: Pair, effects: readonly MemberEffect[]): void {
  for (const effect of effects) {
    if (effect.kind === "run") pair.tasks.push({ task: effect.task, endsAtMs: pair.cluster.atMs + STEP_MS });
  }
}

function endTask(pair: Pair, task: Task): void {
  const { member } = pair;
  const clocks = clocksAt(member.atMs);
  const view = viewAfter(member.state.live.view, task);
  perform(pair, give(member, { kind: "observed", clocks, view }).effects);
  perform(pair, give(member, { kind: "finished", clocks, taskId: task.id, outcome: { ok: true } }).effects);
}

function viewAfter(before: ServerView, task: Task): ServerView {
  const quiet = { streaming: false, configured: null };
  switch (task.kind) {
    case "adopt":
    case "promote":
      return { ...before, report: WRITABLE, receiver: quiet };
    case "fence":
      return { ...before, report: STOPPED, receiver: quiet };
    case "start":
      return { ...viewOf(IN_RECOVERY), position: before.position };
    case "freeze":
      return { ...before, receiver: quiet };
    case "follow":
      return {
        ...before,
        receiver: { streaming: true, configured: { host: task.upstream.host, port: task.upstream.port } },
      };
  }
}

/** Somebody reigns, the member stands where that leaves it, and nothing is waited for. */
function restOf(pair: Pair): string {
  const { phase } = pair.cluster.state.durable;
  if (phase.kind !== "reigning" || !phase.opened) return kindOf(phase);
  const stands = kindOfMember(pair.member.state.phase);
  if (phase.primary === pair.target) return stands === "open" ? "reigns" : `should reign and is ${stands}`;
  if (pair.nextPollMs < 1_000) return "is waited for";
  if (stands === "observing") return "observes";
  return stands === "closed-idle" ? "rests" : `should rest and is ${stands}`;
}

/** Where the two end, and what the coordinator asked of the member on the way, each kind once. */
function courseOf(pair: Pair): string {
  const begun = pair.cluster.atMs;
  const isAtRest = () => ["reigns", "rests", "observes"].includes(restOf(pair));
  do turn(pair);
  while (pair.cluster.atMs - begun < LIMIT_MS && !(isAtRest() && pair.cluster.atMs - begun > WATCHED_MS));
  return [restOf(pair), ...new Set(pair.asked.map((command) => command.kind))].join(" ");
}

const courses: Record<PhaseKind, Record<MemberPhaseKind, string>> = {
  founding: {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "founding",
    opening: "founding",
    open: "founding",
    fencing: "founding",
  },
  "reigning-opening": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests fence",
    open: "rests",
    fencing: "rests promote start",
  },
  "reigning-opened": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow fence",
    open: "rests fence follow",
    fencing: "rests fence start follow",
  },
  deposing: {
    observing: "observes fence",
    "closed-idle": "rests fence",
    "closed-busy": "rests fence",
    opening: "rests fence",
    open: "rests fence",
    fencing: "rests fence",
  },
  "collecting-natural": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests fence follow",
    open: "rests fence follow",
    fencing: "rests fence start follow",
  },
  "collecting-explicit": {
    observing: "rests freeze follow",
    "closed-idle": "rests freeze follow",
    "closed-busy": "rests freeze follow",
    opening: "rests follow fence",
    open: "rests fence follow",
    fencing: "rests fence start follow",
  },
  vacant: {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests fence follow",
    open: "rests fence follow",
    fencing: "rests fence start follow",
  },
};

describe.each(Object.keys(courses) as PhaseKind[])("the coordinator is %s, the member", (phase) => {
  test.each(Object.keys(courses[phase]) as MemberPhaseKind[])("is %s", (kind) => {
    expect(courseOf(pairOf(phase, kind))).toBe(courses[phase][kind]);
  });
});

describe("a primary that serves already", () => {
  test("is adopted", () => {
    const pair = pairOf("founding", "observing");
    const clocks = clocksAt(pair.member.atMs);
    give(pair.member, { kind: "observed", clocks, view: { ...pair.member.state.live.view, report: WRITABLE } });
    expect(courseOf(pair)).toBe("reigns adopt");
  });
});

test("every kind of command is asked of somebody", () => {
  const asked = new Set(
    Object.values(courses).flatMap((cells) => Object.values(cells).flatMap((cell) => cell.split(" "))),
  );
  for (const kind of ["promote", "follow", "freeze", "fence", "start"]) expect(asked).toContain(kind);
});

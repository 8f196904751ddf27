/**
 * Whatever the coordinator can ask of a member leads somewhere: in each of its phases, with the member it is about in
 * each of its own, the two real machines come to rest together. A refusal that nobody handles would show as a dataservice
 * that never has a primary again, or as a command that is waited for at the operation's pace for ever.
 */
import { describe, expect, test } from "vitest";
import { pollOf } from "#shared/core/member/poll.ts";
import type { MemberEffect, Running, ServerView, Task } from "#shared/core/member/state.ts";
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
  position,
  send,
  STOPPED,
  streamingPatch,
  WRITABLE,
  type Cluster,
  type PhaseKind,
  type PollPatch,
} from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { recoverRows, switchRows, type RecoverRow, type SwitchRow } from "./plan-events.ts";
import { give, kindOfMember, memberPhases, viewOf, type Member, type MemberPhaseKind } from "./member-events.ts";

const STEP_MS = 250;
const LIMIT_MS = 60_000;
/** How long a replica without a stream is watched closely; only after it does the pace say that all is at rest. */
const WATCHED_MS = 11_000;
/** How long the engine takes for whatever was under way at the beginning. */
const HELD_MS = 1_000;

/** Where db2 left db1's log, and where the shutdown of a server that has the test's position begins. */
const FORK = position("0/3000000");
const SHUTDOWN_LSN = "0/2FFFF80";

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

type Row = PhaseKind | SwitchRow | RecoverRow;

const rows: Record<Row, () => Cluster> = { ...phases, ...switchRows, ...recoverRows };

/** Whom each phase is most about: the one that is being opened, deposed, frozen, started or repointed. */
const targets: Record<Row, string> = {
  founding: "db1",
  "reigning-opening": "db3",
  "reigning-opened": "db3",
  deposing: "db2",
  "collecting-asking": "db3",
  "collecting-natural": "db3",
  "collecting-explicit": "db3",
  vacant: "db3",
  "switch-preparing": "db2",
  "switch-holding": "db2",
  "switch-settling": "db2",
  "switch-draining": "db2",
  "switch-flushing": "db2",
  "switch-stopping": "db2",
  "switch-stopping, handing over": "db3",
  "switch-stopping, crowning": "db3",
  "switch-returning": "db2",
  "switch-undoing": "db2",
  "switch-undoing, by a new epoch": "db2",
  "recover-verifying": "db1",
  "recover-rebuilding": "db1",
  "recover-verifying, rebuilt": "db1",
  "recover-following": "db1",
};

function pairOf(phase: Row, kind: MemberPhaseKind): Pair {
  const cluster = rows[phase]();
  const target = targets[phase];
  const { member, tasks } = memberBeside(cluster, target, kind);
  return { cluster, target, member, tasks, asked: [], nextPollMs: 0 };
}

/** A member in one of its phases that has seen no more than this coordinator has given out. */
function memberBeside(cluster: Cluster, target: string, kind: MemberPhaseKind): Pick<Pair, "member" | "tasks"> {
  const member = memberPhases[kind]({ epoch: Math.max(0, epochOf(cluster) - 1), op: 0 });
  const known = cluster.polls[target];
  if (!known?.server) throw new Error(`no member ${target}`);
  // What an earlier agent has said of its past is not this one's to remember.
  const heard = cluster.state.live.hosts[target];
  if (heard) {
    const forgetful = { ...heard.poll, epochSeen: 0, opSeen: 0, attempted: 0, released: 0 };
    const hosts = { ...cluster.state.live.hosts, [target]: { ...heard, poll: forgetful } };
    cluster.state = { ...cluster.state, live: { ...cluster.state.live, hosts } };
  }
  const { durable, live } = member.state;
  const startCount = known.startCount + 1;
  // Whoever is open is so under a lease that was given at this very moment.
  const lease = durable.lease && { ...durable.lease, base: clocksAt(cluster.atMs) };
  member.state = {
    ...member.state,
    durable: { ...durable, lease, host: target, incarnation: known.incarnation, startCount },
    live: { ...live, endpoint: known.server.endpoint, view: { ...live.view, position: known.server.position } },
  };
  member.atMs = cluster.atMs;
  const { phase } = member.state;
  const running = phase.kind === "observing" ? null : phase.running;
  if (!running) return { member, tasks: [] };
  const task = taskOf(running);
  return { member, tasks: [{ task, endsAtMs: cluster.atMs + HELD_MS }] };
}

/** What the engine is at, of which the machine itself keeps only the kind. */
function taskOf({ id, kind }: Running): Task {
  const upstream = { member: "db2", host: "db2.example", port: 5432 };
  const deadlineMs = 0;
  switch (kind) {
    case "follow":
    case "ask-upstream":
      return { id, kind, upstream, deadlineMs };
    case "sync":
      return { id, kind, set: { version: 1, k: 1, members: ["db2"] }, deadlineMs };
    case "fetch-tail": {
      const from = { host: "db1", endpoint: { host: "db1.example", port: 7_432 } };
      return { id, kind, from, epoch: 2, until: { timeline: 1, lsn: "0/3000100" }, deadlineMs };
    }
    case "rebuild":
      return { id, kind, upstream, fork: { timeline: 1, lsn: "0/2FFFFA0" }, deadlineMs };
    case "promote":
      return { id, kind, timeline: 3, needsDoor: false, deadlineMs };
    case "fence":
      return { id, kind, patienceMs: 0, deadlineMs };
    case "shut":
      return { id, kind, drainMs: 0, heir: "db3", deadlineMs };
    case "adopt":
      return { id, kind, needsDoor: false, deadlineMs };
    case "freeze":
    case "prepare":
    case "reopen":
    case "settle":
    case "start":
      return { id, kind, deadlineMs };
  }
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
  const sent = pollOf(member.state, { seq, clocks, connector: null, peer: null });
  const { answer } = send(cluster, { kind: "poll", poll: sent });
  if (answer.kind !== "reply") throw new Error(`${target} is refused: ${JSON.stringify(answer)}`);
  pair.asked.push(...answer.reply.commands);
  pair.nextPollMs = answer.reply.nextPollMs;
  perform(pair, give(member, { kind: "replied", clocks, sent: clocks, reply: signed(answer.reply) }).effects);
}

function signed({ leaseEndedEpoch, ...reply }: ReplyBody): Reply {
  return {
    ...reply,
    mac: "",
    call: ["db2"],
    peerKey: "",
    leaseEnded: leaseEndedEpoch === null ? null : { epoch: leaseEndedEpoch, mac: "" },
  };
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
  const { id, op } = command;
  const done = { results: [{ id, op, outcome: "done" as const, code: "", value: "", detail: "" }] };
  switch (command.kind) {
    case "adopt":
    case "promote":
      return { ...openPatch(command.epoch), server: { phase: "open", report: WRITABLE, receiver: { state: "none" } } };
    case "freeze":
      return { ...frozenPatch(cluster), server: { receiver: { state: "frozen", op } } };
    case "follow":
      return {
        ...streamingPatch(command.upstream.member),
        server: { receiver: { state: "streaming", upstream: command.upstream.member } },
      };
    case "start":
      return { ...done, server: { report: IN_RECOVERY, receiver: { state: "none" }, shutdownLsn: null } };
    case "fence":
      return { released: command.epoch, leaseRemainingMs: null, server: { phase: "closed", report: STOPPED } };
    case "prepare":
    case "ask-upstream":
      return { ...done, server: {} };
    case "shut":
      return { ...done, server: { door: "shut" } };
    case "reopen":
      return { ...done, server: { door: "open" } };
    case "fetch-tail": {
      const lsn = command.until.lsn;
      return { ...done, server: { position: { ...FORK, lsn } } };
    }
    case "rebuild":
      return { ...done, ownEpoch: 0, server: { report: STOPPED, position: FORK } };
  }
}

/** Work for the engine ends with the next turn; a fence overtakes whatever was under way. */
function perform(pair: Pair, effects: readonly MemberEffect[]): void {
  for (const effect of effects) {
    if (effect.kind !== "run") continue;
    if (effect.task.kind === "fence" || effect.task.kind === "settle") pair.tasks = [];
    pair.tasks.push({ task: effect.task, endsAtMs: pair.cluster.atMs + STEP_MS });
  }
}

function endTask(pair: Pair, task: Task): void {
  const { member } = pair;
  const clocks = clocksAt(member.atMs);
  const view = viewAfter(member.state.live.view, task);
  perform(pair, give(member, { kind: "observed", clocks, view, after: pair.member.state.live.nonce }).effects);
  perform(pair, give(member, { kind: "finished", clocks, taskId: task.id, outcome: { ok: true } }).effects);
}

function viewAfter(before: ServerView, task: Task): ServerView {
  const quiet = { streaming: false, configured: null };
  switch (task.kind) {
    case "adopt":
    case "promote":
      return { ...before, report: WRITABLE, receiver: quiet, shutdownLsn: null };
    case "fence":
    case "settle": {
      // The shutdown checkpoint begins before the end of the log that it is part of.
      const shutdownLsn = before.report.state === "running" ? SHUTDOWN_LSN : before.shutdownLsn;
      return { ...before, report: STOPPED, receiver: quiet, shutdownLsn };
    }
    case "start":
      return { ...viewOf(IN_RECOVERY), position: before.position };
    case "freeze":
      return { ...before, receiver: quiet };
    case "follow":
      return {
        ...before,
        receiver: { streaming: true, configured: { host: task.upstream.host, port: task.upstream.port } },
      };
    case "rebuild":
      return { ...before, report: STOPPED, receiver: quiet, position: FORK };
    case "fetch-tail": {
      const known = before.position;
      return { ...before, receiver: quiet, position: known && { ...known, lsn: task.until.lsn } };
    }
    case "prepare":
    case "shut":
    case "reopen":
    case "ask-upstream":
    case "sync":
      return before;
  }
}

/** Somebody reigns, the member stands where that leaves it, and nothing is waited for. */
function restOf(pair: Pair): string {
  const { phase } = pair.cluster.state.durable;
  if (phase.kind !== "reigning" || !phase.opened) return kindOf(phase);
  const stands = kindOfMember(pair.member.state);
  if (phase.primary === pair.target) return stands === "open" ? "reigns" : `should reign and is ${stands}`;
  if (pair.nextPollMs < 1_000) return "is waited for";
  if (stands === "observing") return "observes";
  if (stands === "damaged") return "stays damaged";
  return stands === "closed-idle" ? "rests" : `should rest and is ${stands}`;
}

/** Where the two end, and what the coordinator asked of the member on the way, each kind once. */
function courseOf(pair: Pair): string {
  const begun = pair.cluster.atMs;
  const isAtRest = () => ["reigns", "rests", "observes", "stays damaged"].includes(restOf(pair));
  do turn(pair);
  while (pair.cluster.atMs - begun < LIMIT_MS && !(isAtRest() && pair.cluster.atMs - begun > WATCHED_MS));
  return [restOf(pair), ...new Set(pair.asked.map((command) => command.kind))].join(" ");
}

const courses: Record<Row, Record<MemberPhaseKind, string>> = {
  founding: {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "founding",
    opening: "founding",
    open: "founding",
    "closed-rebuilding": "founding",
    damaged: "founding",
    "open-busy": "founding",
    "open-shut": "founding",
    fencing: "founding",
    "fencing-gently": "founding",
  },
  "reigning-opening": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "reigns promote",
    open: "reigns",
    "closed-rebuilding": "rests promote start follow",
    damaged: "stays damaged promote",
    "open-busy": "reigns",
    "open-shut": "reigns",
    fencing: "rests promote start",
    "fencing-gently": "rests promote start",
  },
  "reigning-opened": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  deposing: {
    observing: "observes fence",
    "closed-idle": "rests fence",
    "closed-busy": "rests fence",
    opening: "rests fence",
    open: "rests fence",
    "closed-rebuilding": "rests fence",
    damaged: "stays damaged fence",
    "open-busy": "rests fence",
    "open-shut": "rests fence",
    fencing: "rests fence",
    "fencing-gently": "rests fence",
  },
  "collecting-asking": {
    observing: "rests ask-upstream freeze follow",
    "closed-idle": "rests ask-upstream freeze follow",
    "closed-busy": "reigns ask-upstream freeze promote",
    opening: "rests freeze follow",
    open: "rests fence freeze follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence freeze follow",
    "open-shut": "rests fence freeze follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  "collecting-natural": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  "collecting-explicit": {
    observing: "rests freeze follow",
    "closed-idle": "rests freeze follow",
    "closed-busy": "rests freeze follow",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  vacant: {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  "switch-preparing": {
    observing: "rests prepare freeze",
    "closed-idle": "rests prepare freeze",
    "closed-busy": "rests prepare freeze",
    opening: "reigns prepare",
    open: "reigns prepare shut reopen",
    "closed-rebuilding": "rests prepare",
    damaged: "stays damaged prepare",
    "open-busy": "reigns prepare shut reopen",
    "open-shut": "reigns prepare shut reopen",
    fencing: "rests prepare",
    "fencing-gently": "rests prepare",
  },
  "switch-holding": {
    observing: "rests shut freeze",
    "closed-idle": "rests shut freeze",
    "closed-busy": "rests shut freeze",
    opening: "reigns shut reopen",
    open: "reigns shut reopen",
    "closed-rebuilding": "rests shut",
    damaged: "stays damaged shut",
    "open-busy": "reigns shut reopen",
    "open-shut": "reigns shut reopen",
    fencing: "rests",
    "fencing-gently": "rests",
  },
  "switch-settling": {
    observing: "rests shut freeze",
    "closed-idle": "rests shut freeze",
    "closed-busy": "rests shut freeze",
    opening: "reigns shut",
    open: "reigns shut reopen",
    "closed-rebuilding": "rests shut",
    damaged: "stays damaged shut",
    "open-busy": "reigns shut reopen",
    "open-shut": "reigns shut reopen",
    fencing: "rests shut",
    "fencing-gently": "rests shut",
  },
  "switch-draining": {
    observing: "rests shut freeze",
    "closed-idle": "rests shut freeze",
    "closed-busy": "rests shut freeze",
    opening: "reigns shut",
    open: "reigns shut reopen",
    "closed-rebuilding": "rests shut",
    damaged: "stays damaged shut",
    "open-busy": "reigns shut reopen",
    "open-shut": "reigns shut reopen",
    fencing: "rests shut",
    "fencing-gently": "rests shut",
  },
  "switch-flushing": {
    observing: "rests freeze",
    "closed-idle": "rests freeze",
    "closed-busy": "rests freeze",
    opening: "reigns",
    open: "reigns",
    "closed-rebuilding": "rests",
    damaged: "stays damaged",
    "open-busy": "reigns",
    "open-shut": "reigns",
    fencing: "rests",
    "fencing-gently": "rests",
  },
  "switch-stopping": {
    observing: "reigns fence freeze promote",
    "closed-idle": "reigns fence promote",
    "closed-busy": "reigns fence freeze promote",
    opening: "rests fence start follow",
    open: "rests fence start follow",
    "closed-rebuilding": "rests fence start",
    damaged: "stays damaged fence",
    "open-busy": "rests fence start follow",
    "open-shut": "rests fence start follow",
    fencing: "rests fence start follow",
    "fencing-gently": "reigns fence start promote",
  },
  "switch-stopping, handing over": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  "switch-stopping, crowning": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "reigns promote",
    open: "reigns",
    "closed-rebuilding": "rests promote start follow",
    damaged: "stays damaged promote",
    "open-busy": "reigns",
    "open-shut": "reigns",
    fencing: "rests promote start",
    "fencing-gently": "rests promote start",
  },
  "switch-returning": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow start",
    open: "rests fence start follow",
    "closed-rebuilding": "rests start follow",
    damaged: "stays damaged",
    "open-busy": "rests fence start follow",
    "open-shut": "rests fence start follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start follow",
  },
  "switch-undoing": {
    observing: "rests freeze",
    "closed-idle": "rests freeze",
    "closed-busy": "rests freeze",
    opening: "reigns",
    open: "reigns",
    "closed-rebuilding": "rests",
    damaged: "stays damaged",
    "open-busy": "reigns",
    "open-shut": "reigns",
    fencing: "rests",
    "fencing-gently": "rests",
  },
  "switch-undoing, by a new epoch": {
    observing: "reigns promote",
    "closed-idle": "reigns promote",
    "closed-busy": "reigns promote",
    opening: "reigns start promote",
    open: "reigns fence start promote",
    "closed-rebuilding": "rests start",
    damaged: "stays damaged",
    "open-busy": "reigns fence start promote",
    "open-shut": "reigns fence start promote",
    fencing: "reigns fence start promote",
    "fencing-gently": "reigns start promote",
  },
  "recover-verifying": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow",
    open: "rests fence start follow",
    "closed-rebuilding": "rests rebuild start follow",
    damaged: "rests rebuild start follow",
    "open-busy": "rests fence start follow",
    "open-shut": "rests fence start follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start",
  },
  "recover-rebuilding": {
    observing: "rests rebuild start follow",
    "closed-idle": "rests rebuild start follow",
    "closed-busy": "rests rebuild start follow",
    opening: "rests rebuild start follow",
    open: "rests fence rebuild start follow",
    "closed-rebuilding": "rests rebuild start follow",
    damaged: "rests rebuild start follow",
    "open-busy": "rests fence rebuild start follow",
    "open-shut": "rests fence rebuild start follow",
    fencing: "rests fence rebuild start follow",
    "fencing-gently": "rests rebuild",
  },
  "recover-verifying, rebuilt": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow",
    open: "rests fence start follow",
    "closed-rebuilding": "rests",
    damaged: "stays damaged",
    "open-busy": "rests fence start follow",
    "open-shut": "rests fence start follow",
    fencing: "rests fence start follow",
    "fencing-gently": "rests start",
  },
  "recover-following": {
    observing: "rests follow",
    "closed-idle": "rests follow",
    "closed-busy": "rests follow",
    opening: "rests follow",
    open: "rests fence follow",
    "closed-rebuilding": "rests follow",
    damaged: "stays damaged follow",
    "open-busy": "rests fence follow",
    "open-shut": "rests fence follow",
    fencing: "rests fence follow",
    "fencing-gently": "rests follow",
  },
};

describe.each(Object.keys(courses) as Row[])("the coordinator is %s, the member", (phase) => {
  test.each(Object.keys(courses[phase]) as MemberPhaseKind[])("is %s", (kind) => {
    expect(courseOf(pairOf(phase, kind))).toBe(courses[phase][kind]);
  });
});

describe("a primary that serves already", () => {
  test("is adopted", () => {
    const pair = pairOf("founding", "observing");
    const clocks = clocksAt(pair.member.atMs);
    give(pair.member, {
      kind: "observed",
      clocks,
      view: { ...pair.member.state.live.view, report: WRITABLE },
      after: null,
    });
    expect(courseOf(pair)).toBe("reigns adopt");
  });
});

describe("a dead primary whose log reaches further than its successor's", () => {
  test("is read out before the promotion", () => {
    const pair = pairOf("collecting-natural", "closed-idle");
    const { cluster } = pair;
    const lsn = "0/3000700";
    const dead = cluster.polls["db2"]?.server?.position;
    if (!dead) throw new Error("db2 has said where its log ends");
    const server = { position: { ...dead, lsn }, tail: { timeline: dead.timeline, lsn } };
    poll(cluster, "db2", { peer: { host: "db2.example", port: 7_432 }, server });
    expect(courseOf(pair)).toBe("reigns fetch-tail promote");
  });
});

const EVERY_COMMAND: Record<Command["kind"], true> = {
  adopt: true,
  "ask-upstream": true,
  fence: true,
  "fetch-tail": true,
  follow: true,
  freeze: true,
  prepare: true,
  promote: true,
  rebuild: true,
  reopen: true,
  shut: true,
  start: true,
};

test("every kind of command is asked of somebody", () => {
  const asked = new Set(
    Object.values(courses).flatMap((cells) => Object.values(cells).flatMap((cell) => cell.split(" "))),
  );
  // A primary that serves already is met above.
  asked.add("adopt");
  // A dead primary with a tail as well.
  asked.add("fetch-tail");
  for (const kind of Object.keys(EVERY_COMMAND)) expect(asked).toContain(kind);
});

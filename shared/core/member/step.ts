/**
 * The member's machine: what one host does when its server, the coordinator or the clock speaks.
 *
 *   observing -> closed <-> opening -> open
 *                  ^           |         |
 *                  `-------- fencing <---'
 *
 * The server accepts writes only in `opening` and `open`, and only under a lease. The first thing every event does is to
 * look at the time that has passed: a process that was frozen must not renew, forward or confirm anything on a lease
 * that ran out meanwhile.
 */
import { largestElapsedMs, type Clocks } from "../../domain/clocks.ts";
import type { Reply } from "../../domain/messages.ts";
import { assertMemberInvariants } from "./invariants.ts";
import { covers, remainingMs } from "./lease.ts";
import { obey, perform } from "./commands.ts";
import { hasLostLog, noteFurthest } from "./furthest.ts";
import {
  answerPromise,
  askForPromises,
  countPromiseAnew,
  endsLater,
  forgetPromise,
  hearPromise,
  untilAskingMs,
} from "./promises.ts";
import { doorLeftMs, giveUpDoor, noteDoor, tendDoor } from "./door.ts";
import type {
  HeldLease,
  MemberDurable,
  MemberEvent,
  MemberLive,
  MemberPhase,
  MemberState,
  MemberStep,
  ServerView,
  Shut,
  TaskKind,
} from "./state.ts";
import { bringToSync, finishSync, hearSync } from "./sync.ts";
import { answer, beginWork, fence, fenceTask, pollNow, run, setDurable, type Work } from "./work.ts";

/** A server that answers no probe for this long while it should be open is given up. */
const UNRESPONSIVE_MS = 10_000;
const START_DEADLINE_MS = 60_000;

type TaskOutcome = Extract<MemberEvent, { kind: "finished" }>["outcome"];
type PhaseOf<K extends MemberPhase["kind"]> = Extract<MemberPhase, { kind: K }>;

/** One step. Throws only when an invariant is broken: the shell then fences and ends. */
export function step(state: MemberState, event: MemberEvent): MemberStep {
  const work = beginWork(state, event.clocks);
  lookAtTheTime(work);
  switch (event.kind) {
    case "finished":
      finish(work, event);
      break;
    case "observed":
      work.live = { ...work.live, lookedAfter: event.after };
      observe(work, event.view);
      break;
    case "replied":
      hear(work, event.sent, event.reply);
      break;
    case "asked-to-promise":
      answerPromise(work, event.id, event.request);
      break;
    case "promised":
      hearPromise(work, event);
      break;
    case "door-set":
      noteDoor(work, event);
      break;
    case "tick":
      break;
  }
  askForPromises(work);
  // What the kernel has refused is asked for again with the next event, not at once.
  if (event.kind !== "door-set") tendDoor(work);
  return end(state, work);
}

/**
 * The first step of a process: `durable` is as read from disk, with the start already counted; `live.view` was just
 * observed. A server that is writable and still covered is left alone; every other writable server is fenced.
 */
export function begin(durable: MemberDurable, live: MemberLive, clocks: Clocks): MemberStep {
  const closed: MemberPhase = { kind: "closed", running: null, queued: null };
  const before: MemberState = { durable, phase: durable.founded ? closed : { kind: "observing" }, live };
  const work = beginWork({ ...before, live: { ...live, answered: clocks } }, clocks);
  countPromiseAnew(work);
  noteSystem(work);
  if (durable.founded) resume(work);
  noteFurthest(work);
  tendDoor(work);
  work.reasons.unshift({ kind: "started", phase: work.phase.kind });
  pollNow(work);
  return end(before, work);
}

/** How long until the time alone changes something; null when it never does. */
export function nextDeadlineMs(state: MemberState, clocks: Clocks): number | null {
  const { phase, durable, live } = state;
  if (phase.kind !== "open" && phase.kind !== "opening") return null;
  const { bootId } = live;
  const moments: number[] = [];
  if (phase.kind === "open" && phase.shut) moments.push(shutLeftMs(phase.shut, clocks));
  const isEndless = durable.policy === "maintenance" && covers(durable, phase.epoch, { bootId, clocks });
  if (!isEndless) moments.push(durable.lease ? Math.max(0, remainingMs(durable.lease, bootId, clocks)) : 0);
  const untilAsking = untilAskingMs(state, clocks);
  if (untilAsking !== null) moments.push(untilAsking);
  const doorMs = doorLeftMs(state, clocks);
  if (doorMs !== null) moments.push(Math.max(0, doorMs));
  return moments.length === 0 ? null : Math.min(...moments);
}

function shutLeftMs({ base, forMs }: Shut, clocks: Clocks): number {
  return Math.max(0, forMs - largestElapsedMs(base, clocks));
}

function lookAtTheTime(work: Work): void {
  forgetPromise(work);
  const { phase } = work;
  if (phase.kind !== "open" && phase.kind !== "opening") return;
  const { bootId } = work.live;
  const isDoorOver = (doorLeftMs(work, work.clocks) ?? 1) <= 0;
  if (isDoorOver) giveUpDoor(work);
  if (isDoorOver || !covers(work.durable, phase.epoch, { bootId, clocks: work.clocks })) {
    return fence(work, { releases: phase.epoch, cause: "lease-lost", restart: true, command: null });
  }
  // Whoever shut the door may be gone: it opens by itself, and everything is as it was.
  if (phase.kind === "open" && phase.shut && shutLeftMs(phase.shut, work.clocks) === 0) {
    work.phase = { ...phase, shut: null };
    work.reasons.push({ kind: "door-opened" });
    pollNow(work);
  }
}

function resume(work: Work): void {
  const { attempted, released, policy, isDamaged } = work.durable;
  const { report } = work.live.view;
  const isWritable = report.state === "running" && report.writable;
  const isCovered = covers(work.durable, attempted, { bootId: work.live.bootId, clocks: work.clocks });
  if (attempted > released) {
    // Nobody opens an older copy in place of what was open: what it lacks may have been acknowledged.
    if (isCovered && hasLostLog(work)) return giveUpOlder(work, attempted);
    // A server that misses one probe is not dead: it is judged like that of any holder, by how long it stays silent.
    if (isCovered && (isWritable || report.state === "unresponsive")) {
      work.phase = { kind: "open", epoch: attempted, running: null, shut: null };
      if (isWritable) noteOpened(work, attempted);
      return;
    }
    // Covered and stopped: the server died while nobody watched, and the replicas have what it had. Not covered: the
    // host was away; its server comes back read-only and may be the best that is left.
    // In MAINTENANCE a server that runs read-only was started by its operator.
    const isRestarted = report.state === "running" && report.inRecovery && (isCovered || policy === "maintenance");
    const cause = isRestarted ? "found-in-recovery" : isCovered ? "server-died" : "lease-lost";
    // In MAINTENANCE the operator starts servers.
    const restart = !isCovered && policy !== "maintenance";
    return fence(work, { releases: attempted, cause, restart, command: null });
  }
  if (isWritable)
    return fence(work, { releases: attempted, cause: "unexpectedly-writable", restart: true, command: null });
  const mayStart = policy === "automatic" && !isDamaged;
  if (report.state === "stopped" && mayStart) work.phase = { kind: "closed", running: startServer(work), queued: null };
}

/** In MAINTENANCE the operator starts servers. */
function giveUpOlder(work: Work, epoch: number): void {
  const restart = work.durable.policy !== "maintenance";
  fence(work, { releases: epoch, cause: "log-lost", restart, command: null });
}

function startServer(work: Work) {
  return run(work, { kind: "start", deadlineMs: START_DEADLINE_MS }, null);
}

function observe(work: Work, view: ServerView): void {
  const before = work.live.view;
  const since = view.report.state === "unresponsive" ? (work.live.unresponsiveSince ?? work.clocks) : null;
  work.live = { ...work.live, view, unresponsiveSince: since };
  noteSystem(work);
  const isOtherReport = JSON.stringify(before.report) !== JSON.stringify(view.report);
  if (isOtherReport || before.receiver.streaming !== view.receiver.streaming) pollNow(work, isOtherReport);
  judge(work);
  noteFurthest(work);
  bringToSync(work);
}

/** Binds this agent to its server once; a later stranger is left to the coordinator to refuse. */
function noteSystem(work: Work): void {
  const { systemId } = work.live.view;
  if (work.durable.systemId === null && systemId !== null) setDurable(work, { systemId });
}

/** What an observation means in the phase it meets. */
function judge(work: Work): void {
  const { phase, live } = work;
  const { report } = live.view;
  switch (phase.kind) {
    case "observing":
    case "fencing":
      return;
    case "closed":
      if (report.state === "running" && report.writable) {
        fence(work, { releases: work.durable.attempted, cause: "unexpectedly-writable", restart: true, command: null });
      }
      return;
    case "opening":
      if (report.state === "stopped") lose(work, phase);
      return;
    case "open":
      return judgeOpen(work, phase);
  }
}

function judgeOpen(work: Work, phase: PhaseOf<"open">): void {
  const { report } = work.live.view;
  switch (report.state) {
    case "stopped":
    case "starting":
      return lose(work, phase);
    case "unresponsive": {
      const since = work.live.unresponsiveSince;
      if (work.durable.policy === "maintenance") return;
      if (since && largestElapsedMs(since, work.clocks) >= UNRESPONSIVE_MS) lose(work, phase);
      return;
    }
    case "running":
      if (report.writable) return hasLostLog(work) ? giveUpOlder(work, phase.epoch) : noteOpened(work, phase.epoch);
      // Read-only again without our doing: it crashed and came back. It is killed first, then reported released.
      return fence(work, { releases: phase.epoch, cause: "found-in-recovery", restart: false, command: null });
  }
}

function noteOpened(work: Work, epoch: number): void {
  if (epoch > work.durable.opened) setDurable(work, { opened: epoch });
}

/** The server is gone: whoever is left of its tree goes too, and then the epoch is released. */
function lose(work: Work, phase: { epoch: number }): void {
  fence(work, { releases: phase.epoch, cause: "server-died", restart: false, command: null });
}

function hear(work: Work, sent: Clocks, reply: Reply): void {
  if (reply.answersSeq <= work.live.answeredSeq) {
    work.reasons.push({ kind: "late-reply-dropped", answersSeq: reply.answersSeq });
    return;
  }
  work.live = {
    ...work.live,
    answeredSeq: reply.answersSeq,
    answered: sent,
    asked: null,
    nonce: reply.nonce,
    nonceClocks: work.clocks,
    nextPollMs: reply.nextPollMs,
  };
  // Whoever is answered is the member, as far as the coordinator can tell.
  if (work.live.place !== null && work.live.place !== work.durable.place) setDurable(work, { place: work.live.place });
  remember(work, reply);
  hearSync(work, reply);
  const lease = heldLease(work, sent, reply);
  extend(work, lease);
  rememberElectorate(work, reply, lease !== null && work.durable.lease === lease);
  if (reply.leaseEnded) loseReign(work, reply.leaseEnded.epoch);
  for (const command of reply.commands) obey(work, command, lease);
}

function remember(work: Work, reply: Reply): void {
  if (reply.version <= work.durable.version) return;
  const { policy, policyVersion, version, mac } = reply;
  setDurable(work, { policy, policyVersion, version, mac });
}

/** The electorate travels with each lease; only a change of it is written. */
function rememberElectorate(work: Work, { lease }: Reply, isHeld: boolean): void {
  if (!lease) return;
  const { electorate, electorateVersion } = lease;
  // While an earlier right is held on to, promises must cover the longer end of the two.
  const promiseBindsMs = isHeld ? lease.promiseBindsMs : Math.max(lease.promiseBindsMs, work.durable.promiseBindsMs);
  if (promiseBindsMs !== work.durable.promiseBindsMs) setDurable(work, { promiseBindsMs });
  if (electorateVersion > work.durable.electorate.version) {
    setDurable(work, { electorate: { version: electorateVersion, members: electorate } });
  }
}

function heldLease(work: Work, sent: Clocks, reply: Reply): HeldLease | null {
  if (!reply.lease) return null;
  const { epoch, ttlMs, hasLeaseDoor } = reply.lease;
  return { epoch, ttlMs, base: sent, bootId: work.live.bootId, hasLeaseDoor };
}

function extend(work: Work, lease: HeldLease | null): void {
  const { phase } = work;
  if (!lease || (phase.kind !== "open" && phase.kind !== "opening") || lease.epoch !== phase.epoch) return;
  const { bootId } = work.live;
  const held = work.durable.lease;
  // What the members have promised meanwhile may run longer than what this answer brings.
  if (held?.epoch === lease.epoch && endsLater(held, lease, { bootId, clocks: work.clocks })) return;
  setDurable(work, { lease });
  work.reasons.push({ kind: "lease-extended", epoch: lease.epoch });
}

function loseReign(work: Work, epoch: number): void {
  const { phase } = work;
  if ((phase.kind !== "open" && phase.kind !== "opening") || phase.epoch !== epoch) return;
  fence(work, { releases: epoch, cause: "lease-lost", restart: true, command: null });
}

function finish(work: Work, event: Extract<MemberEvent, { kind: "finished" }>): void {
  if (finishSync(work, event)) return;
  const { phase } = work;
  // A task that a fence has overtaken reports to nobody.
  if (phase.kind === "observing" || phase.running?.id !== event.taskId) return;
  const { running } = phase;
  const { outcome } = event;
  const code = outcome.ok ? "" : outcome.code;
  work.reasons.push({ kind: "task-ended", task: running.kind, ok: outcome.ok, code });
  switch (phase.kind) {
    case "opening":
      if (outcome.ok) work.phase = { kind: "open", epoch: phase.epoch, running: null, shut: null };
      else fence(work, { releases: phase.epoch, cause: "promotion-failed", restart: true, command: null });
      if (outcome.ok) noteOpened(work, phase.epoch);
      if (outcome.ok) work.reasons.push({ kind: "opened", epoch: phase.epoch });
      break;
    case "open":
      work.phase = { ...phase, running: null, shut: isShutAfter(running.kind, outcome.ok) ? phase.shut : null };
      break;
    case "fencing":
      return finishFence(work, phase, outcome);
    case "closed":
      if (running.kind === "freeze" && outcome.ok) work.live = { ...work.live, frozenOp: work.durable.frozenOp };
      if (running.kind === "rebuild") finishRebuild(work, outcome);
      work.phase = { kind: "closed", running: null, queued: null };
      break;
  }
  if (running.command) {
    // The name of the new incarnation travels in the head of every poll.
    const value = outcome.ok && running.kind !== "rebuild" ? (outcome.value ?? "") : "";
    const detail = outcome.detail ?? "";
    answer(work, { ...running.command, outcome: outcome.ok ? "done" : "failed", code, value, detail });
  }
  if (phase.kind === "closed" && phase.queued) perform(work, phase.queued.command, phase.queued.lease);
}

/** Only a door that could not be shut, or that was opened, is open after a task. */
function isShutAfter(task: TaskKind, ok: boolean): boolean {
  return task === "shut" ? ok : task !== "reopen";
}

/** These say that the engine has left the data directory as it found it. */
const UNTOUCHED: ReadonlySet<string> = new Set([
  "rebuild-not-allowed",
  "log-not-kept",
  "rewind-not-possible",
  "clone-failed",
  "called-off",
]);

/** What a rebuild leaves holds nothing of this member's own, and its acknowledgements are nobody's any more. */
function finishRebuild(work: Work, outcome: TaskOutcome): void {
  if (outcome.ok) {
    const incarnation = outcome.value ?? work.durable.incarnation;
    return setDurable(work, {
      isDamaged: false,
      incarnation,
      furthest: null,
      ownEpoch: 0,
      frozenOp: null,
      frozenEpoch: null,
      upstream: null,
    });
  }
  if (UNTOUCHED.has(outcome.code)) setDurable(work, { isDamaged: work.live.wasDamaged });
}

/** What was looked at after the fence: an agent that stood still meanwhile may find the server started again, by hand. */
function whyNotOver({ live }: Work): { code: string; detail: string } | null {
  const { report } = live.view;
  const isWritable = report.state === "running" && report.writable;
  return isWritable ? { code: "writable", detail: "the server accepts writes again" } : null;
}

function finishFence(work: Work, phase: PhaseOf<"fencing">, outcome: TaskOutcome): void {
  const { releases, cause, restart, running, isGentle } = phase;
  const trouble = outcome.ok ? whyNotOver(work) : outcome;
  if (trouble !== null) {
    // Nothing is vouched for before it is certain, however often that takes.
    work.reasons.push({ kind: "fence-failed", code: trouble.code, detail: trouble.detail });
    // Somebody has started it writable: that is no restart to be left alone.
    const mayWait = isGentle && trouble.code !== "writable";
    const task = run(work, fenceTask(work, mayWait, 0), running.command);
    work.phase = { ...phase, isGentle: mayWait, running: task };
    return;
  }
  if (releases > work.durable.released) setDurable(work, { released: releases, releaseCause: cause });
  if (work.durable.lease) setDurable(work, { lease: null });
  work.reasons.push({ kind: "released", epoch: releases, cause });
  if (running.command) answer(work, { ...running.command, outcome: "done", code: "", value: "", detail: "" });
  work.phase = { kind: "closed", running: restart ? startServer(work) : null, queued: null };
  pollNow(work);
}

function end(before: MemberState, work: Work): MemberStep {
  const state: MemberState = { durable: work.durable, phase: work.phase, live: work.live };
  assertMemberInvariants(before, state);
  return { state, fsync: mustSync(before.durable, state.durable), effects: work.effects, reasons: work.reasons };
}

/**
 * These may be lost with a kernel crash: another boot inherits no lease, an opening that is not known to have ended
 * is fenced the harder, and of how far the log was seen to reach an earlier word is true as well.
 */
function mustSync(before: MemberDurable, after: MemberDurable): boolean {
  if (before === after) return false;
  return (Object.keys(after) as (keyof MemberDurable)[]).some((key) => {
    if (before[key] === after[key] || MAY_BE_LOST.has(key)) return false;
    // Whoever finds an old promise keeps it for once more.
    if (key === "promise" && after.promise === null) return false;
    return JSON.stringify(before[key]) !== JSON.stringify(after[key]);
  });
}

const MAY_BE_LOST: ReadonlySet<keyof MemberDurable> = new Set(["lease", "opened", "version", "mac", "furthest"]);

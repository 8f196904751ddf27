/**
 * The coordinator's machine: what one dataservice does when a poll, an operator or the clock speaks.
 *
 * A function of plain data. It knows no clock, no randomness and no storage; the shell loads, steps, persists, and only
 * then answers.
 */
import type { Poll } from "../../domain/messages.ts";
import type { Voucher } from "../../domain/voucher.ts";
import { isReadmitted, isRebuilding, refusalOfForked, refusePoll } from "./admission.ts";
import { handleRequest } from "./commands.ts";
import { observeDatasources } from "./datasources.ts";
import { forkEvidence, rivalEvidence, isSameStart, quarantine, returnedAfter } from "./fork.ts";
import { noteFurthest } from "./furthest.ts";
import { nextDeadlineAt } from "./deadline.ts";
import { strikeOff } from "./electorate.ts";
import { assertClusterInvariants } from "./invariants.ts";
import { countAnew, isEndless, witnessAfter } from "./lease.ts";
import { hearElder, isElder, releasedBy } from "./place.ts";
import { replyTo } from "./reply.ts";
import { noteVoucher } from "./restoration.ts";
import { promisedBefore } from "./promises.ts";
import { voucherOf } from "./restoring.ts";
import type { ForkEvidence } from "./reason.ts";
import type { ClusterEvent, ClusterState, ClusterStep } from "./state.ts";
import { advance } from "./succession.ts";
import { because, beginWork, identity, setIdentity, type Work } from "./work.ts";

type PollEvent = Extract<ClusterEvent, { kind: "poll" }>;

/** One step. Throws only when an invariant is broken: the caller then keeps the state it had. */
export function step(before: ClusterState, event: ClusterEvent): ClusterStep {
  const again = answerAgain(before, event);
  if (again) return again;
  const state = noteTimeline(before, event);
  const refused = refusal(state, event);
  if (refused) {
    const answer = { kind: "refused", refusal: refused } as const;
    if (event.kind === "poll" && (isElder(state, event.poll) || rivalEvidence(state, event.poll))) {
      return noteOther(state, event, answer);
    }
    return { state, effects: [], reasons: [], confirm: false, answer };
  }
  const work = beginWork(state);
  passTime(work, event);
  const answer = handle(work, event);
  if (answer.kind === "refused" && event.kind === "command")
    return { state, effects: [], reasons: [], confirm: false, answer };
  return event.kind === "poll" ? noteReply(finish(state, work, answer), event.poll) : finish(state, work, answer);
}

/**
 * The newest poll of a host once more, to the letter: it came by another way because its answer was lost on this one
 * (SPEC: POLL-2). The very same answer is given, as if it had been under way for longer, and nothing else happens.
 */
function answerAgain(state: ClusterState, event: ClusterEvent): ClusterStep | null {
  if (event.kind !== "poll") return null;
  const known = state.live.hosts[event.poll.host];
  const isForked = state.durable.identities[event.poll.host]?.isForked ?? true;
  if (!known?.reply || isForked || known.poll.seq !== event.poll.seq) return null;
  if (JSON.stringify(known.poll) !== JSON.stringify(event.poll)) return null;
  const answer = { kind: "reply", reply: known.reply } as const;
  return { state, effects: [], reasons: [], confirm: false, answer };
}

/**
 * A stranger on a timeline that nobody here remembers may be all that is left of a reign that a restored coordinator has
 * forgotten: what it says is refused, and its timeline's number is not given out again (SPEC: OPEN-9).
 */
function noteTimeline(state: ClusterState, event: ClusterEvent): ClusterState {
  if (event.kind !== "poll") return state;
  const { host, server } = event.poll;
  const known = Object.hasOwn(state.durable.identities, host) ? state.durable.identities[host] : undefined;
  const position = server?.position;
  if (!known || !position || position.timeline <= state.live.timelineSeen) return state;
  const isOfThisSystem = known.systemId === null || known.systemId === position.systemId;
  return isOfThisSystem ? { ...state, live: { ...state.live, timelineSeen: position.timeline } } : state;
}

function noteReply(result: ClusterStep, { host: name }: Poll): ClusterStep {
  const { state, answer } = result;
  const host = state.live.hosts[name];
  if (answer.kind !== "reply" || !host) return result;
  const hosts = { ...state.live.hosts, [name]: { ...host, reply: answer.reply } };
  return { ...result, state: { ...state, live: { ...state.live, hosts } } };
}

/** The next moment, in `at`, at which a tick can change something; null when only events can. */
export function nextDeadline(state: ClusterState): number | null {
  return nextDeadlineAt(state);
}

function refusal(state: ClusterState, event: ClusterEvent) {
  if (event.kind !== "poll") return null;
  // Time passes though nothing that is refused leaves a trace.
  const now = { ...state, live: { ...state.live, at: Math.max(state.live.at, event.at) } };
  return refusePoll(now, event.poll, event.voucher ?? null);
}

function handle(work: Work, event: ClusterEvent): ClusterStep["answer"] {
  switch (event.kind) {
    case "poll": {
      const evidence = forkEvidence(work, event.poll);
      if (evidence !== null) return part(work, event.poll, evidence);
      hear(work, event.poll, event.voucher ?? null);
      settle(work);
      return { kind: "reply", reply: replyTo(work, event.poll) };
    }
    case "tick":
      settle(work);
      return { kind: "none" };
    case "command": {
      settle(work);
      const answer = handleRequest(work, event.command, event);
      settle(work);
      return answer;
    }
  }
}

/** Datasources first, so that the succession sees who is up; and again after it, because a new primary changes who is. */
function settle(work: Work): void {
  observeDatasources(work);
  const before = work.durable;
  advance(work);
  if (work.durable !== before) observeDatasources(work);
}

/** What is refused may betray that there are two. A start that was replaced and speaks again may be a late packet's. */
function noteOther(state: ClusterState, event: PollEvent, answer: ClusterStep["answer"]): ClusterStep {
  const { poll } = event;
  const work = beginWork(state);
  passTime(work, event);
  const evidence = rivalEvidence(state, poll);
  if (evidence !== null) return finish(state, work, part(work, poll, evidence));
  return finish(state, work, hearElder(work, poll) ? part(work, poll, "start") : answer);
}

/** Neither of two agents of one identity is answered from now on. */
function part(work: Work, poll: Poll, evidence: ForkEvidence): ClusterStep["answer"] {
  quarantine(work, poll, evidence);
  settle(work);
  return { kind: "refused", refusal: refusalOfForked(poll.host) };
}

function passTime(work: Work, event: ClusterEvent): void {
  work.live = { ...work.live, at: Math.max(work.live.at, event.at), wallMs: event.wallMs };
}

/** Takes in an admitted poll. */
function hear(work: Work, poll: Poll, voucher: Voucher | null): void {
  const name = poll.host;
  const known = work.live.hosts[name];
  noteAbsence(work);
  const witness = witnessAfter(known, poll, work.lease?.serial ?? 0);
  const sameStart = known !== undefined && isSameStart(known.poll, poll);
  const heard = {
    poll,
    handledAt: work.live.at,
    issued: sameStart ? known.issued : [],
    witness,
    returned: returnedAfter(work.live, sameStart ? known : undefined, poll),
    sent: known?.sent ?? null,
    stalledAt: known?.stalledAt ?? null,
    door: sameStart ? known.door : null,
    reply: null,
    promisedUntil: promisedBefore(work, poll),
    furthest: null,
  };
  work.live = { ...work.live, hosts: { ...work.live.hosts, [name]: heard } };
  enrol(work, poll);
  noteFurthest(work, poll, known?.poll.incarnation === poll.incarnation ? known.furthest : null);
  noteVoucher(work, poll, voucher);
}

/** A poll after a silence of everybody, longer than any lease: it was the coordinator that could not be reached. */
function noteAbsence(work: Work): void {
  const { at, hosts } = work.live;
  let lastHeardAt = -Infinity;
  for (const { handledAt } of Object.values(hosts)) lastHeardAt = Math.max(lastHeardAt, handledAt);
  if (lastHeardAt === -Infinity || at - lastHeardAt <= work.durable.settings.ttlMs) return;
  work.live = { ...work.live, awayUntil: at };
}

function enrol(work: Work, poll: Poll): void {
  const before = identity(work, poll.host);
  if (isOfOtherState(work, poll)) readmit(work, poll);
  if (poll.startCount > before.startCount) {
    because(work, { kind: "agent-started", host: poll.host, startCount: poll.startCount });
    const { startCount, place } = poll;
    setIdentity(work, poll.host, { startCount, place });
  }
  // An agent that was upgraded says it from its next start on, or from this poll.
  if (identity(work, poll.host).place === null && poll.place !== null)
    setIdentity(work, poll.host, { place: poll.place });
  const systemId = poll.server?.systemId ?? null;
  if (before.systemId === null && systemId !== null) setIdentity(work, poll.host, { systemId });
  if (poll.incarnation !== identity(work, poll.host).incarnation) {
    // What a rebuild leaves holds nothing of a past of its own.
    setIdentity(work, poll.host, {
      incarnation: poll.incarnation,
      rebuildOp: 0,
      isStray: false,
      isUnproven: false,
      assumedEpoch: 0,
      lost: null,
    });
  }
  followTimeline(work, poll);
  if (poll.policyVersion > before.policyVersion) confirmPolicy(work, poll);
  const released = releasedBy(work, poll);
  if (released > before.released) setIdentity(work, poll.host, { released });
}

/** Whether an operator lets an agent in that comes with other state than the one that was known: by name, or after a fork. */
function isOfOtherState(work: Work, poll: Poll): boolean {
  const { startCount, incarnation } = identity(work, poll.host);
  if (startCount > 0) return isReadmitted(work, poll);
  return incarnation !== null && incarnation !== poll.incarnation && !isRebuilding(work, poll);
}

/**
 * Where a member's log goes on, and whether the log of one who has forgotten everything may be what it looks like: one on the
 * timeline of another's reign, on which it was never heard, may be of a reign that had the same number and that nobody
 * remembers. No number could tell the two apart, so only a new copy is of use (SPEC: ID-15).
 */
function followTimeline(work: Work, { host, server }: Poll): void {
  const timeline = server?.position?.timeline ?? 0;
  const { timeline: known, isUnproven, isStray } = identity(work, host);
  if (timeline === 0 || (timeline <= known && !isUnproven)) return;
  const isOfAnother = work.durable.reigns.some((reign) => reign.timeline === timeline && reign.member !== host);
  const isLookalike = isUnproven && timeline > known && isOfAnother;
  setIdentity(work, host, { timeline: Math.max(timeline, known), isUnproven: false, isStray: isStray || isLookalike });
  if (isLookalike) because(work, { kind: "member-strayed", member: host, epoch: work.durable.epoch });
}

/**
 * An agent that has lost its state is a member again, by its operator's word. What it has forgotten is assumed from what
 * this coordinator remembers, in the safe direction: that its log may hold writes of every epoch that was ever its own.
 */
function readmit(work: Work, { host, startCount, incarnation, place }: Poll): void {
  const own = work.durable.reigns.filter((reign) => reign.member === host).map((reign) => reign.epoch);
  const assumedEpoch = Math.max(0, identity(work, host).assumedEpoch, ...own);
  setIdentity(work, host, {
    startCount,
    incarnation,
    place,
    readmitOp: 0,
    rebuildOp: 0,
    assumedEpoch,
    isUnproven: true,
  });
  if (host in work.durable.members) strikeOff(work, host);
  because(work, { kind: "agent-readmitted", host, startCount, assumedEpoch });
}

/** A lease without an end begins to end when its holder has learnt that it does: no wait of before counts for it. */
function confirmPolicy(work: Work, { host, policyVersion, hasLeaseDoor }: Poll): void {
  const wasEndless = isEndless(work);
  setIdentity(work, host, { policyVersion });
  if (!work.lease || !wasEndless || isEndless(work)) return;
  // The door that stood had no end either: whether one stands that shuts with the lease is said by this poll.
  countAnew(work, { ...work.lease, hasLeaseDoor: work.lease.hasLeaseDoor && hasLeaseDoor });
}

function finish(before: ClusterState, work: Work, answer: ClusterStep["answer"]): ClusterStep {
  const changed = work.durable !== before.durable;
  // A version that a restoration has raised lies above all that was vouched for: no two states share a number.
  const version = Math.max(before.durable.version, work.durable.version) + 1;
  const durable = changed ? { ...work.durable, version } : before.durable;
  const state = { durable, lease: work.lease, live: work.live };
  assertClusterInvariants(before, state);
  const confirm = work.confirm || changed;
  const vouched = { version: durable.version, voucher: voucherOf(durable) };
  const final = answer.kind === "reply" ? { ...answer, reply: { ...answer.reply, ...vouched } } : answer;
  return { state, effects: work.effects, reasons: work.reasons, confirm, answer: final };
}

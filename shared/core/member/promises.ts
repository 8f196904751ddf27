/**
 * The right to write without the coordinator.
 *
 * A promise says: "while it runs I am not opened in your place because time has ended your reign". Whoever holds the
 * promise of every member that could be elected instead needs no lease for that long: there is nobody left to be the
 * second writer. The holder counts it from the sending of its request, by its largest clock, for as long as a lease; the
 * giver from hearing of it, by its smallest clock, for the whole wait that would have ended such a lease. The holder is
 * therefore always the first to call a promise over, as with a lease.
 *
 * A majority would not do: the coordinator, when it comes back, may elect any member it can reach.
 */
import { largestElapsedMs, smallestElapsedMs, type Clocks } from "../../domain/clocks.ts";
import type { PromiseRequest, Route } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import type { Epoch, ProofKind } from "../../domain/reign.ts";
import { covers, remainingMs } from "./lease.ts";
import type { GivenPromise, HeldLease, MemberEvent, MemberState, PromiseRefusal } from "./state.ts";
import { setDurable, type Work } from "./work.ts";

/** The part of a lease after which an answer that is missing is missed, and the pause between two requests. */
const MISSED_SHARE = 0.1;
/** The same for the first poll of a process. */
const MISSED_AT_FIRST_SHARE = 0.02;

/** Whether the coordinator has left a poll unanswered for so long that other ways to it, or without it, are needed. */
export function isAlone(state: Pick<MemberState, "durable" | "live">, clocks: Clocks): boolean {
  return untilAloneMs(state, clocks) <= 0;
}

function untilAloneMs({ durable: { lease }, live }: Pick<MemberState, "durable" | "live">, clocks: Clocks): number {
  if (live.answered === null || lease === null) return Number.POSITIVE_INFINITY;
  // A process that has just begun polls at once, and of its lease the death of the one before it has used up the most.
  const patienceMs =
    live.answeredSeq === 0 ? lease.ttlMs * MISSED_AT_FIRST_SHARE : live.nextPollMs + lease.ttlMs * MISSED_SHARE;
  return patienceMs - largestElapsedMs(live.answered, clocks);
}

/** How long until promises are to be asked for; null while none are needed. */
export function untilAskingMs(state: MemberState, clocks: Clocks): number | null {
  const { phase, durable, live } = state;
  const { lease, policy, promiseBindsMs } = durable;
  if (phase.kind !== "open" || lease?.epoch !== phase.epoch || live.answered === null) return null;
  // In MAINTENANCE no time ends the right to write.
  if (policy === "maintenance" || promiseBindsMs === 0 || !durable.electorate.members.includes(durable.host))
    return null;
  const untilThirdUsed = remainingMs(lease, live.bootId, clocks) - (lease.ttlMs * 2) / 3;
  const untilAgain = live.asked ? lease.ttlMs * MISSED_SHARE - largestElapsedMs(live.asked, clocks) : 0;
  return Math.max(0, untilAloneMs(state, clocks), untilThirdUsed, untilAgain);
}

/** Asks the others when it is time to; where there are none, nobody could be elected and the right goes on by itself. */
export function askForPromises(work: Work): void {
  if (untilAskingMs(work, work.clocks) !== 0 || work.phase.kind !== "open") return;
  const { epoch } = work.phase;
  const { host, promiseBindsMs } = work.durable;
  work.live = { ...work.live, asked: work.clocks };
  const of = othersOf(work);
  if (of.length > 0)
    work.effects.push({ kind: "ask-promises", of, request: { holder: host, epoch, bindsMs: promiseBindsMs } });
  else prolong(work, epoch);
}

/** A member has promised. */
export function hearPromise(work: Work, { sent, by, epoch }: Extract<MemberEvent, { kind: "promised" }>): void {
  const { phase, live, clocks } = work;
  if (phase.kind !== "open" || phase.epoch !== epoch || !othersOf(work).includes(by)) return;
  const known = live.promised.epoch === epoch ? live.promised.by : {};
  const before = known[by];
  // Of several answers of one member the one to the newest request binds it longest.
  if (before && largestElapsedMs(before, clocks) <= largestElapsedMs(sent, clocks)) return;
  work.live = { ...live, promised: { epoch, by: { ...known, [by]: sent } } };
  prolong(work, epoch);
}

/** The right to write runs from the oldest request by which everybody has promised, if that is longer than it runs now. */
function prolong(work: Work, epoch: number): void {
  const { durable, live, clocks } = work;
  const { lease } = durable;
  if (lease?.epoch !== epoch) return;
  const by = othersOf(work);
  const sent = by.map((name) => (live.promised.epoch === epoch ? live.promised.by[name] : undefined));
  const base = oldestOf([clocks, ...sent]);
  if (base === null) return;
  const { ttlMs, hasLeaseDoor } = lease;
  const promised: HeldLease = { epoch, ttlMs, base, bootId: live.bootId, hasLeaseDoor };
  if (!endsLater(promised, lease, { bootId: live.bootId, clocks })) return;
  setDurable(work, { lease: promised });
  work.reasons.push({ kind: "promises-held", epoch, by });
}

/**
 * What this member's agent proves to connectors of its own reign, for as long as it may write for certain; null while its
 * server is not open. Counted, like every proof, from the sending of the question.
 */
export function routeOf({ phase, durable, live }: MemberState, clocks: Clocks): Route | null {
  const { lease, host } = durable;
  const now = { bootId: live.bootId, clocks };
  if (phase.kind !== "open" || !lease || !covers(durable, phase.epoch, now)) return null;
  const leftMs = durable.policy === "maintenance" ? lease.ttlMs : remainingMs(lease, live.bootId, clocks);
  const validMs = Math.floor(Math.min(leftMs, lease.ttlMs));
  const target = { member: host, ...live.endpoint };
  return { service: "read-write", epoch: phase.epoch, target, hold: phase.shut !== null, validMs };
}

/** Whether one right to write runs longer than another, by this moment's clocks. */
export function endsLater(a: HeldLease, b: HeldLease, now: { bootId: string; clocks: Clocks }): boolean {
  return remainingMs(a, now.bootId, now.clocks) > remainingMs(b, now.bootId, now.clocks);
}

/** The earliest that each of the clocks showed; null when one reading is missing. */
function oldestOf(readings: readonly (Clocks | undefined)[]): Clocks | null {
  const known = readings.filter((reading) => reading !== undefined);
  if (known.length < readings.length) return null;
  const least = (clock: keyof Clocks): number => Math.min(...known.map((reading) => reading[clock]));
  return { monoMs: least("monoMs"), bootMs: least("bootMs"), wallMs: least("wallMs") };
}

/** Everybody else who may be elected, by the list that came with the lease. */
function othersOf({ durable: { electorate, host } }: Pick<Work, "durable">): MemberName[] {
  return electorate.members.filter((name) => name !== host);
}

/** A peer asks. The promise is on the disk before the answer leaves. */
export function answerPromise(work: Work, id: number, request: PromiseRequest): void {
  const { holder, epoch } = request;
  const refusal = whyNotPromise(work, request);
  work.effects.push({ kind: "answer-promise", id, refusal });
  if (refusal !== null) {
    work.reasons.push({ kind: "promise-refused", holder, epoch, code: refusal });
    return;
  }
  const { promise } = work.durable;
  const leftMs = promise ? promiseLeftMs(promise, work.live.bootId, work.clocks) : 0;
  // An earlier promise may bind for longer than this one: it is not shortened by it.
  const bindsMs = Math.max(request.bindsMs, Math.ceil(leftMs));
  setDurable(work, { promise: { ...request, bindsMs, base: work.clocks, bootId: work.live.bootId } });
  work.reasons.push({ kind: "promise-given", holder, epoch });
}

function whyNotPromise({ durable, live, phase }: Work, { holder, epoch }: PromiseRequest): PromiseRefusal | null {
  if (!durable.founded) return "not-founded";
  if (durable.place !== null && live.place !== null && durable.place !== live.place) return "maybe-a-copy";
  if (holder === durable.host) return "own-request";
  const seen = Math.max(durable.epochSeen, durable.promise?.epoch ?? 0);
  if (epoch < seen || epoch <= durable.attempted || epoch <= durable.released) return "epoch-superseded";
  if (phase.kind === "opening" || phase.kind === "open") return "promotion-under-way";
  if (phase.kind === "closed" && phase.queued?.command.kind === "promote") return "promotion-under-way";
  // Its position is what a successor is chosen by: from the freeze on it is no longer the holder's.
  if (durable.frozenOp !== null && (durable.frozenEpoch ?? durable.epochSeen) >= epoch) return "frozen-for-a-successor";
  return null;
}

/**
 * What is left of a promise given: the whole of it, where it cannot be known. A wall clock that was set back, which anyone
 * may do, makes it last twice as long at most: nobody can set the other two.
 */
export function promiseLeftMs({ bindsMs, base, bootId }: GivenPromise, boot: string, clocks: Clocks): number {
  if (bootId !== boot) return bindsMs;
  const unsetMs = Math.min(clocks.monoMs - base.monoMs, clocks.bootMs - base.bootMs);
  return bindsMs - Math.max(smallestElapsedMs(base, clocks), unsetMs - bindsMs);
}

/**
 * Whether a promise given stands against an opening by this proof. That the old holder has released or is dead ends it; but
 * of an epoch that is not before this one no proof of this opening can speak: its coordinator has forgotten a reign.
 */
export function isBound(
  { durable: { promise }, live, clocks }: Work,
  { proof, epoch }: { proof: ProofKind; epoch: Epoch },
): boolean {
  if (promise === null || promiseLeftMs(promise, live.bootId, clocks) <= 0) return false;
  return proof === "expired" || proof === "revoked" || promise.epoch >= epoch;
}

/** A promise that is over is forgotten. */
export function forgetPromise(work: Work): void {
  const { promise } = work.durable;
  if (promise && promiseLeftMs(promise, work.live.bootId, work.clocks) <= 0) setDurable(work, { promise: null });
}

/** How long this process was away nobody knows: what was promised before it is counted again, whole. */
export function countPromiseAnew(work: Work): void {
  const { promise } = work.durable;
  if (promise) setDurable(work, { promise: { ...promise, base: work.clocks, bootId: work.live.bootId } });
}

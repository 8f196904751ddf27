/**
 * Two agents with one identity: a copy of a virtual machine, or of a state directory, speaks beside the original, with
 * the same token, the same start count and the same data incarnation (SPEC: ID-10).
 *
 * One process cannot go back: the newest nonce that it has received, its clocks within one boot, and what it keeps with
 * fsync only grow from poll to poll, whatever is lost, delayed or doubled on the way. A newer poll that goes back
 * in any of these comes from another process. Which of the two is the member nobody here can tell: neither is heard from
 * then on, until an operator has ended one of them and says so.
 */
import type { Poll } from "../../domain/messages.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import { isOperatorsWord } from "../../domain/datasource.ts";
import { hasReached } from "../../domain/position.ts";
import { type Answer, refused } from "./answers.ts";
import { isRestoring } from "./restoring.ts";
import type { ForkEvidence } from "./reason.ts";
import type { ClusterState, DurableState, LiveHost, LiveState } from "./state.ts";
import { type Work, because, identity, member, nextOp, setIdentity, setPhase, setState } from "./work.ts";

/** Whether two polls are of one process: a start is counted in the state that it began with. */
export function isSameStart(a: Poll, b: Poll): boolean {
  return a.startCount === b.startCount && a.incarnation === b.incarnation;
}

/** Whether two agents were seen to speak for a host, and no operator has settled it since. */
export function isForked({ durable }: Pick<ClusterState, "durable">, host: HostName): boolean {
  return durable.identities[host]?.isForked === true;
}

/** Whether a poll is of state that lies elsewhere than where it was known to. */
export function isElsewhere(known: string | null | undefined, place: string | null): boolean {
  return known !== null && known !== undefined && place !== null && place !== known;
}

/** What gives away that an otherwise admitted poll is another process's than the one before; null when nothing does. */
export function forkEvidence({ durable, live }: ClusterState, poll: Poll): ForkEvidence | null {
  const known = live.hosts[poll.host];
  const enrolled = durable.identities[poll.host];
  // A host with a connector only has no word in anything.
  if (poll.server === null || enrolled?.incarnation !== poll.incarnation) return null;
  if (enrolled.startCount === poll.startCount && isElsewhere(enrolled.place, poll.place)) return "place";
  if (known?.poll.incarnation !== poll.incarnation) return null;
  if (hasGoneBack(known.poll, poll)) return "state";
  if (known.poll.startCount !== poll.startCount) return null;
  if (hasShrunkWhileOpen(known.poll, poll)) return "state";
  const before = known.returned;
  if (before !== null && nonceBelow(live, poll.nonce, before)) return "nonce";
  if (wasHeldBack(known.poll, poll)) return "nonce";
  return isOutOfTime(known.poll, poll) ? "clock" : null;
}

/**
 * Whether two polls of one start were not sent in the order of their numbers, by its own clocks. Wall time is anybody's to
 * set; the other two never go back within one boot, and no process outlives one.
 */
function isOutOfTime(known: Poll, poll: Poll): boolean {
  const monoMs = poll.clocks.monoMs - known.clocks.monoMs;
  const bootMs = poll.clocks.bootMs - known.clocks.bootMs;
  if (poll.seq > known.seq) return monoMs < 0 || bootMs < 0;
  if (poll.seq < known.seq) return monoMs > 0 || bootMs > 0;
  return monoMs !== 0 || bootMs !== 0;
}

/**
 * What gives away that a poll that is refused as stale is another process's; null when nothing does. What is late was sent
 * before the newest, and from where that was sent.
 */
export function rivalEvidence({ durable, live }: ClusterState, poll: Poll): ForkEvidence | null {
  const known = live.hosts[poll.host];
  const enrolled = durable.identities[poll.host];
  if (!known || enrolled?.isForked !== false || !Object.hasOwn(durable.members, poll.host)) return null;
  if (!isSameStart(known.poll, poll) || poll.seq > known.poll.seq) return null;
  if (isElsewhere(enrolled.place, poll.place)) return "place";
  return isOutOfTime(known.poll, poll) ? "clock" : null;
}

/**
 * Whether a poll returns another nonce than the one before, and one that had been received when that one was sent: it would
 * have been returned then. Two that take turns give themselves away by nothing else.
 */
function wasHeldBack(before: Poll, { nonce, nonceClocks }: Poll): boolean {
  return nonceClocks !== null && nonce !== before.nonce && nonceClocks.monoMs < before.clocks.monoMs;
}

/** The newest nonce of this incarnation that a start has returned; what another incarnation issued is not comparable. */
export function returnedAfter(live: LiveState, known: LiveHost | undefined, poll: Poll): string | null {
  return counterOf(live, poll.nonce) === null ? (known?.returned ?? null) : poll.nonce;
}

/** A nonce of another incarnation says nothing: a replaced object may have answered in between. */
function nonceBelow(live: LiveState, nonce: string | null, before: string): boolean {
  if (nonce === null) return true;
  const counter = counterOf(live, nonce);
  return counter !== null && counter < (counterOf(live, before) ?? 0);
}

/** The place of a nonce among those of this incarnation; null when it is of none of them. */
export function counterOf({ generation, nonceCounter }: LiveState, nonce: string | null): number | null {
  if (nonce === null || !nonce.startsWith(`${generation}.`)) return null;
  const counter = Number(nonce.slice(`${generation}.`.length));
  return Number.isSafeInteger(counter) && counter <= nonceCounter ? counter : null;
}

/** These are on the agent's disk before it says them. */
function hasGoneBack(before: Poll, now: Poll): boolean {
  return (
    now.epochSeen < before.epochSeen ||
    now.opSeen < before.opSeen ||
    now.attempted < before.attempted ||
    now.released < before.released
  );
}

/**
 * Whether the log of a server that has been open all the while is shorter than it was. No server loses what it has flushed
 * while it runs, and none that was stopped is open again in the same epoch: of a copied machine, memory and all, either
 * writes a log of its own.
 */
function hasShrunkWhileOpen(before: Poll, now: Poll): boolean {
  const [had, has] = [before.server, now.server].map((server) => (server?.phase === "open" ? server.position : null));
  return !!had && !!has && before.attempted === now.attempted && !hasReached(has, had);
}

/**
 * From now on neither is heard, and what either has said is forgotten: no position, freeze, promise or acknowledgement of
 * theirs counts. A reign of theirs is ended, by time; in MAINTENANCE nothing is, and an operator asserts it.
 */
export function quarantine(work: Work, poll: Poll, evidence: ForkEvidence): void {
  const { host, startCount } = poll;
  because(work, { kind: "identity-forked", host, startCount, evidence });
  const { forks, assumedEpoch } = identity(work, host);
  setIdentity(work, host, {
    isForked: true,
    forks: forks + 1,
    forkedEpoch: work.durable.epoch,
    // Whichever is left may be a copy of before the original's last reign.
    assumedEpoch: Math.max(assumedEpoch, poll.ownEpoch, work.live.hosts[host]?.poll.ownEpoch ?? 0),
  });
  forgetWord(work, host);
  const { state, reason } = member(work, host);
  if (state !== "shunned" && !isOperatorsWord(reason)) setState(work, host, "failed", { kind: "identity-forked" });
  depose(work, host);
}

/** Nobody but an operator can say which of the two is the member's. */
export function refusedAsForked({ durable: { dataservice } }: Work, name: MemberName): Answer {
  return refused(
    "needs-force",
    `two agents have spoken for '${name}@${dataservice}': end one of them for certain, then \`set force true\` and recover it`,
  );
}

/** Whether a reign was vouched for to be over, by its holder itself and not by one of two that speak for it. */
export function hasReleased({ durable }: Pick<ClusterState, "durable">, { epoch, primary }: Reigned): boolean {
  const known = durable.identities[primary];
  if (!known || known.released < epoch) return false;
  return !known.isForked || known.forkedEpoch < epoch;
}

/** What was said in its name: no position, freeze, promise or acknowledgement of that counts any more. */
export function forgetWord(work: Work, host: HostName): void {
  const { [host]: _, ...hosts } = work.live.hosts;
  const { [host]: __, ...elders } = work.live.elders;
  work.live = { ...work.live, hosts, elders };
}

interface Reigned {
  epoch: number;
  primary: HostName;
}

function depose(work: Work, host: HostName): void {
  const { phase, policy } = work.durable;
  if (isRestoring(work)) return;
  // The one vouched for itself, and the other may hold the same lease: its end is proved by time, or by an operator.
  if (
    (phase.kind === "collecting" || phase.kind === "vacant") &&
    phase.deposed === host &&
    phase.proof === "released"
  ) {
    const { epoch } = phase;
    return setPhase(work, { kind: "deposing", epoch, primary: host, op: nextOp(work), cause: "identity-forked" });
  }
  if (phase.kind !== "reigning" || phase.primary !== host || policy === "maintenance") return;
  const { epoch, primary } = phase;
  const op = nextOp(work);
  because(work, { kind: "primary-fencing", op, epoch, member: primary, cause: "identity-forked" });
  setPhase(work, { kind: "deposing", epoch, primary, op, cause: "identity-forked" });
}

/**
 * An operator says that one of the two is gone, and that the other is the member. What is left may be the copy: it has
 * forgotten what the original has promised, and what either wrote by itself in its last reign cannot be told apart by numbers.
 */
export function settleFork(work: Work, name: MemberName): void {
  const { isStray, forkedEpoch } = identity(work, name);
  const own = work.durable.reigns.findLast((reign) => reign.member === name)?.epoch ?? 0;
  const wasSucceeded = own > 0 && own === forkedEpoch && work.durable.epoch > own;
  // Whichever speaks first now is the member: the one that is left may have been started less often.
  setIdentity(work, name, { isForked: false, isStray: isStray || wasSucceeded, startCount: 0, place: null });
  because(work, { kind: "identity-settled", host: name });
}

/**
 * The name under which a member's acknowledgements count: another one after a fork, after a new data directory, and after
 * an older copy of it.
 */
export function acknowledgerOf({ identities }: Pick<DurableState, "identities">, name: MemberName): string {
  const { incarnation, forks, losses } = identities[name] ?? { incarnation: null, forks: 0, losses: 0 };
  if (incarnation === null) return "";
  return forks + losses === 0 ? incarnation : `${incarnation}#${forks + losses}`;
}

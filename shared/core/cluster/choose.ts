/**
 * Choosing a successor: lineage first (the reign table), then coverage (the partial order of positions), then
 * preference, priority and name. Two candidates of which neither covers the other stop the failover: somebody's writes
 * would be thrown away, and that is for a person to decide.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { Poll } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import { type Position, comparePositions, coversPosition } from "../../domain/position.ts";
import { lastOpenedEpoch, onLineage, unseenEpochs } from "../../domain/reign.ts";
import type { Ineligible } from "./reason.ts";
import { isElectable } from "./electorate.ts";
import { counterOf, isForked } from "./fork.ts";
import { logTrouble } from "./furthest.ts";
import { ownEpochOf } from "./restoring.ts";
import type { ClusterState, DurableState, EndProof, PhaseOf } from "./state.ts";
import { isSettled } from "./sync.ts";

type Collecting = PhaseOf<"collecting">;

export interface Candidate {
  member: MemberName;
  position: Position;
  priority: number;
  /** The last holder of a lease that was given up in good order wins every tie. */
  preferred: boolean;
  /** It was given the last epoch or one before that nobody was seen to open: among equals somebody else is tried first. */
  hasFailed: boolean;
}

/**
 * A proof `released` leaves nobody to receive from: a stream that has ended is final. Otherwise, and where a stream has
 * found another source meanwhile, an explicit freeze is needed.
 */
export function freezeMode(phase: Collecting): "natural" | "explicit" {
  return phase.proof === "released" ? "natural" : "explicit";
}

/** Whether a member may succeed, apart from whether its position is final yet. */
export function ineligible(
  state: ClusterState,
  phase: Pick<Collecting, "epoch"> & { target?: MemberName | null; isForced?: boolean; proof?: EndProof },
  name: MemberName,
): Ineligible | null {
  const { durable, live } = state;
  const record = durable.members[name];
  const isAsserted = phase.proof === "asserted";
  if (!record || (!isElectable(state, name) && !isAsserted)) return "not-in-electorate";
  // In AUTOMATIC it is on its way back by itself; elsewhere an operator keeps it out, unless it is the one that is wanted.
  if (record.state === "offline" && durable.policy !== "automatic" && !isWanted(state, phase, name)) return "offline";
  if (isOperatorsWord(record.reason)) return record.state === "shunned" ? "shunned" : "failed-by-operator";
  const lastOpened = lastOpenedEpoch(durable.reigns, phase.epoch);
  const isLastHolder = durable.reigns.some(
    (reign) => (reign.epoch === phase.epoch || reign.epoch === lastOpened) && reign.member === name,
  );
  if (record.state === "shunned" && !isLastHolder) return "shunned";
  if (isForked(state, name)) return "identity-forked";
  const host = live.hosts[name];
  if (host && isOfAnotherLife(durable, host.poll)) return "of-another-life";
  const server = host?.poll.server;
  if (!host || !server) return "no-report";
  if (live.at - host.handledAt > durable.settings.silentMs) return "silent";
  if (server.report.state !== "running") return "server-down";
  const isShut = server.phase === "closed" || server.phase === "observing";
  if (!server.report.inRecovery || server.report.writable || !isShut) return "server-writable";
  if (server.isDamaged) return "damaged";
  if (!server.position) return "no-position";
  const isTakenAsItIs = phase.isForced === true && phase.target === name;
  const trouble = logTrouble(state, name);
  if (trouble !== null && !isTakenAsItIs) return trouble;
  if (durable.durability === "sync" && !isSettled(state, name) && !isTakenAsItIs) return "sync-unsettled";
  const ownEpoch = ownEpochOf(state, name);
  if (durable.identities[name]?.isStray) return "not-on-lineage";
  // Whoever attempted an epoch that nobody was seen to open in may have opened in it unseen: its own log then goes on.
  if (unseenEpochs(durable.reigns, phase.epoch).includes(ownEpoch)) return null;
  // The operator has chosen this one as it is.
  if (isTakenAsItIs) return null;
  return onLineage(durable.reigns, lastOpened, { ownEpoch, position: server.position }) ? null : "not-on-lineage";
}

/**
 * Whether a member is bound by numbers that this coordinator has not reached, and has no proof that they were its own: it
 * would obey nothing. (With the proof everybody would be restored to what it says: SPEC, ID-9.)
 */
export function isOfAnotherLife(
  durable: Pick<DurableState, "epoch" | "op" | "restoration">,
  poll: Pick<Poll, "epochSeen" | "attempted" | "released" | "opSeen">,
): boolean {
  if (durable.restoration?.kind === "reporting") return false;
  return Math.max(poll.epochSeen, poll.attempted, poll.released) > durable.epoch || poll.opSeen > durable.op;
}

/** Everybody who may succeed. */
export function eligibleMembers(state: ClusterState, phase: Parameters<typeof ineligible>[1]): MemberName[] {
  return state.durable.electorate.members.filter((name) => ineligible(state, phase, name) === null);
}

/** Whether an operator named it, or a switch has taken it offline itself and may have to bring it back. */
function isWanted(
  { durable: { plan } }: ClusterState,
  { target }: { target?: MemberName | null },
  name: MemberName,
): boolean {
  return target === name || (plan?.kind === "switch" && plan.primary === name);
}

/** Why an eligible member's position is not final yet; null when it is. */
export function notFinal(state: ClusterState, phase: Collecting, name: MemberName): Ineligible | null {
  const host = state.live.hosts[name];
  const receiver = host?.poll.server?.receiver;
  if (!host || !receiver) return "no-report";
  // A word that is older than two polls may be that of a host that has died since.
  if (state.live.at - host.handledAt > 2 * state.durable.settings.pollMs) return "silent";
  if (freezeMode(phase) === "explicit") {
    return receiver.state === "frozen" && receiver.op === phase.op ? null : "not-frozen";
  }
  if (receiver.state === "streaming") return "still-receiving";
  return mustBeRead(state) && !wasSeenSinceTheEnd(state, name) ? "not-seen-since" : null;
}

/** Whether what a position says of acknowledged writes is counted on. */
function mustBeRead({ durable }: ClusterState): boolean {
  return durable.durability === "sync" || durable.syncSets.length > 0;
}

/**
 * Whether the server was looked at after the reign had ended. A word from before may be of a moment in which its stream was
 * down: it came back, and what it then received may have been acknowledged (SPEC: FREEZE-1).
 */
function wasSeenSinceTheEnd({ live }: ClusterState, name: MemberName): boolean {
  const counter = counterOf(live, live.hosts[name]?.poll.server?.lookedAfter ?? null);
  return counter !== null && counter > live.endNonce;
}

/**
 * From whom a named target must first fetch what it lacks: the most advanced of the others, when that one holds more.
 * Null when nothing is lacking, or nothing may be waited for.
 */
export function catchUpFrom(state: ClusterState, phase: Collecting): MemberName | null {
  const { target, isForced } = phase;
  if (target === null || isForced || ineligible(state, phase, target) !== null) return null;
  const own = state.live.hosts[target]?.poll.server?.position;
  const others = eligibleMembers(state, phase).filter(
    (name) => name !== target && notFinal(state, phase, name) === null,
  );
  const choice = choose(candidatesOf(state, others, null));
  if (!own || choice.kind !== "chosen") return null;
  return comparePositions(own, choice.winner.position) === "behind" ? choice.winner.member : null;
}

/** The members with the positions they report. `preferred` wins ties. */
export function candidatesOf(
  state: ClusterState,
  names: readonly MemberName[],
  preferred: MemberName | null,
): Candidate[] {
  const { reigns, epoch: newest } = state.durable;
  const unseen = unseenEpochs(reigns, newest);
  return names.flatMap((name): Candidate[] => {
    const position = state.live.hosts[name]?.poll.server?.position;
    const priority = state.durable.members[name]?.priority ?? 0;
    const hasFailed = reigns.some(({ epoch, member }) => member === name && unseen.includes(epoch));
    return position ? [{ member: name, position, priority, preferred: name === preferred, hasFailed }] : [];
  });
}

export type Choice =
  | { kind: "chosen"; winner: Candidate }
  | { kind: "diverged"; members: MemberName[] }
  | { kind: "none" };

/**
 * The candidate that covers all others. Ties by who has not failed to open, then preference, priority and name: the same
 * picture, the same winner.
 */
export function choose(candidates: readonly Candidate[]): Choice {
  if (candidates.length === 0) return { kind: "none" };
  const best = candidates.filter((candidate) =>
    candidates.every((other) => coversPosition(candidate.position, other.position)),
  );
  if (best.length === 0) {
    const members = candidates
      .filter((candidate) =>
        candidates.every((other) => comparePositions(candidate.position, other.position) !== "behind"),
      )
      .map((candidate) => candidate.member);
    return { kind: "diverged", members };
  }
  const [winner] = best.toSorted(
    (a, b) =>
      Number(a.hasFailed) - Number(b.hasFailed) ||
      Number(b.preferred) - Number(a.preferred) ||
      b.priority - a.priority ||
      (a.member < b.member ? -1 : 1),
  );
  return winner ? { kind: "chosen", winner } : { kind: "none" };
}

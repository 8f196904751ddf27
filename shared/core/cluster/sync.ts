/**
 * Sync sets (SPEC: SYNC): who must acknowledge a commit, and whom a failover must therefore ask.
 *
 * A write that was acknowledged under a set of n members, k of which must answer, is on one of any n - k + 1 of them: the
 * read quorum. So every set under which a write may have been acknowledged is kept until it is certain that all of it is
 * covered by a newer one: k members of that one have flushed past a point that lies behind everything that was
 * acknowledged before. Until then a failover needs a read quorum of every set that is kept, or somebody who holds what a
 * later set was in force from. A set is stored before a server hears of it; nothing else about a change of sets has to
 * be atomic, and it may be interrupted anywhere.
 *
 * The sets outlive the durability that they were for: what was acknowledged while it was synchronous is kept after it has
 * become asynchronous (durability.ts), until everybody holds it.
 *
 * (The timeline that taught it: W acknowledged by b alone; b promoted with the set {c}; b dies before c has W; if {c}
 * alone could elect c, W would be lost.)
 */
import type { SyncSet } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import { coversPosition, type Position } from "../../domain/position.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { isElectable } from "./electorate.ts";
import { acknowledgerOf } from "./fork.ts";
import { isEndless } from "./lease.ts";
import { promisedUntil } from "./promises.ts";
import { isRestoring, ownEpochOf } from "./restoring.ts";
import type { ClusterState, DurableState, OpenSyncSet, PhaseOf, SyncPolicy } from "./state.ts";
import { because, becauseOnce, nextOp, setPhase, type Work } from "./work.ts";

type Reigning = PhaseOf<"reigning">;
type Wanted = Pick<SyncSet, "k" | "members">;

/** What a server is told where no acknowledgement is waited for. */
const NOBODY: Wanted = { k: 0, members: [] };

/** Brings the sets on as far as what is known allows: told, taken, covered. */
export function advanceSync(work: Work): void {
  if (isRestoring(work)) return;
  const { phase } = work.durable;
  if (phase.kind === "founding") return;
  const asked = askedFor(work.durable);
  tellReplicas(work, phase.kind === "reigning" ? phase.primary : null, asked);
  if (phase.kind !== "reigning" || !phase.opened) return;
  takeNote(work, phase);
  if (asked === null) {
    retireHeld(work);
    return relax(work, phase);
  }
  retireCovered(work);
  // What is not promised yet is counted by nobody: the change itself tells the primary (durability.ts).
  if (work.durable.durability === "sync") change(work, phase);
}

/** How many are to acknowledge, also while the primary is being brought there; null where nobody is waited for. */
export function askedFor({ durability, durabilityChange, syncPolicy }: DurableState): SyncPolicy | null {
  const isComing = durabilityChange !== null && durabilityChange.step.kind !== "relaxing";
  return durability === "sync" || isComing ? syncPolicy : null;
}

/** What a member's server is to go by; null where nothing is asked of it. */
export function syncFor({ durable }: ClusterState, name: MemberName): SyncSet | null {
  return durable.syncTold[name] ?? null;
}

/** Whether a member's server was seen to go by what it was told, so that it can be opened without a gap. */
export function isSettled({ durable, live }: ClusterState, name: MemberName): boolean {
  const told = durable.syncTold[name];
  return told !== undefined && live.hosts[name]?.poll.server?.sync?.version === told.version;
}

/** The set that a member opens with, for the epoch that is being minted: what its server goes by from its first write. */
export function openSet(work: Work, { epoch, member: name }: { epoch: number; member: MemberName }): void {
  if (work.durable.durability !== "sync") return openBehind(work, { epoch, member: name });
  const told = work.durable.syncTold[name];
  // A founding primary, and one that is crowned by force, may acknowledge alone until it has heard of a set.
  const { version, k, members } = told && isSettled(work, name) ? told : { version: 0, k: 0, members: [] };
  keep(work, { version, epoch, primary: name, k, members: incarnated(work, members), from: null });
  // What it was told and has not been seen to take may be in force at any time.
  if (told && version !== told.version) {
    keep(work, { ...told, epoch, primary: name, members: incarnated(work, told.members), from: null });
  }
}

/**
 * Asynchronous, and older sets still count: nothing that is written in this epoch adds to them. When its server is seen to
 * go by it, its log answers for all before.
 */
function openBehind(work: Work, { epoch, member: name }: { epoch: number; member: MemberName }): void {
  const { syncSets, syncTold } = work.durable;
  if (syncSets.length === 0) return;
  // However long a member is away, and however many reigns go by meanwhile: few of what asks nobody say enough.
  const places = syncSets.filter(({ k, from }) => k === 0 && from !== null);
  const telling = new Set([places[0], places.at(-1), syncSets.at(-1)]);
  work.durable = { ...work.durable, syncSets: syncSets.filter((set) => set.k > 0 || telling.has(set)) };
  const told = syncTold[name];
  const version = told?.k === 0 ? told.version : 0;
  keep(work, { version, epoch, primary: name, ...NOBODY, members: [], from: null });
}

/**
 * After a restore nobody knows which sets were in force. All that was acknowledged in earlier epochs is on whoever wrote
 * last; of what it acknowledged itself any one of the others may hold a part, so all of them must be read, until a set
 * that is known has covered it. Its version is that of none, and every server is told anew.
 */
export function forgetSets(work: Work, { epoch, primary }: { epoch: number; primary: MemberName }): void {
  const others = Object.keys(work.durable.members).filter((name) => name !== primary);
  const seen = Object.values(work.live.hosts).map((host) => host.poll.syncSeen);
  const syncVersion = Math.max(work.durable.syncVersion, ...seen);
  // Asynchronous since nobody remembers when: who was ever told a set may have waited for others until a moment ago.
  if (work.durable.durability !== "sync" && syncVersion === 0) return;
  work.durable = { ...work.durable, syncVersion, syncTold: {}, syncSets: [] };
  keep(work, { version: 0, epoch, primary, k: 1, members: incarnated(work, others), from: null });
}

interface Reigned {
  epoch: number;
  primary: MemberName;
}

/** Nothing was acknowledged in an epoch that its member was never told of, or vouches never to have begun. */
export function dropUnopened(work: Work, reigned: Reigned): void {
  const { epoch, primary } = reigned;
  const poll = work.live.hosts[primary]?.poll;
  const wasRefused = poll !== undefined && poll.released >= epoch && poll.attempted < epoch;
  if (work.lease?.epoch !== epoch || wasRefused) drop(work, reigned);
}

/**
 * Nor in one that its member has not begun when its reign is over: the lease that it came with does not let it begin any
 * more. What an agent has forgotten is assumed to have been begun.
 */
export function dropNeverBegun(work: Work, reigned: Reigned): void {
  const { epoch, primary } = reigned;
  const host = work.live.hosts[primary];
  if (host === undefined || host.handledAt < work.live.phaseAt || work.lease?.epoch !== epoch) return;
  // After a restoration the last that is known to have written need not be whom that epoch was given to.
  if (work.lease.member !== primary) return;
  if (host.poll.attempted < epoch && ownEpochOf(work, primary) < epoch) drop(work, reigned);
}

function drop(work: Work, { epoch, primary }: Reigned): void {
  const syncSets = work.durable.syncSets.filter((set) => set.epoch !== epoch || set.primary !== primary);
  if (syncSets.length < work.durable.syncSets.length) work.durable = { ...work.durable, syncSets };
}

/** A set of which too few members are there to be read, with those that are not. */
export interface Missing {
  version: number;
  missing: MemberName[];
}

/**
 * The sets that the final positions of `ready` do not answer for. The log of the last primary itself answers for all:
 * when it opened it had everything, and all that was acknowledged since it wrote.
 */
export function missingQuorums(state: ClusterState, ready: readonly MemberName[]): Missing[] {
  const { durable } = state;
  const last = durable.syncSets.at(-1);
  const ownEpoch = last === undefined ? 0 : (state.live.hosts[last.primary]?.poll.ownEpoch ?? 0);
  // Of two agents with its identity the other one may have the log that was acknowledged from; an older copy lacks some of it.
  const isOwnLog = last !== undefined && isIntactSince(durable, last);
  if (isOwnLog && ready.includes(last.primary) && ownEpoch === last.epoch) return [];
  return durable.syncSets.flatMap((set, index): Missing[] => {
    if (isOvertaken(state, index, ready)) return [];
    const missing = set.members.filter((entry) => !ready.includes(entry.name) || !isSame(state, entry));
    const read = set.members.length - missing.length;
    return read >= readQuorum(set) ? [] : [{ version: set.version, missing: missing.map(({ name }) => name) }];
  });
}

/** Whether a primary's data directory is the only one of its name, and whole, since it was opened in its epoch. */
function isIntactSince({ identities }: DurableState, { primary, epoch }: Reigned): boolean {
  const { forkedEpoch, lostEpoch } = identities[primary] ?? { forkedEpoch: 0, lostEpoch: 0 };
  return Math.max(forkedEpoch, lostEpoch) < epoch;
}

/**
 * Whether one of `ready` holds the place from which a later set was in force: all that was acknowledged under this one
 * lies before it. The winner covers all that are ready.
 */
function isOvertaken({ durable, live }: ClusterState, index: number, ready: readonly MemberName[]): boolean {
  const held = ready.flatMap((name) => live.hosts[name]?.poll.server?.position ?? []);
  return durable.syncSets
    .slice(index + 1)
    .some(({ from }) => from !== null && held.some((position) => coversPosition(position, from)));
}

/** Whether anything acknowledged is certain to be found by a failover: there is no set that asks nobody. */
export function isProtected({ durable }: ClusterState): boolean {
  return durable.durability === "sync" && durable.syncSets.every(({ k, version }) => k > 0 && version > 0);
}

/** How many of a set must be read to meet every acknowledgement given under it; none where none was asked for. */
function readQuorum({ k, members }: OpenSyncSet): number {
  return k === 0 ? 0 : members.length - k + 1;
}

/**
 * Whether a silent primary's replicas are to stop acknowledging to it: it has been silent for long enough, and enough of
 * them are there to make that certain. Its lease may still run, and its server may serve: it only cannot finish a write.
 */
export function suspect(work: Work, phase: Reigning): void {
  const { durable, live } = work;
  const isAsked = durable.durability === "sync";
  if (!isAsked && !phase.isSuspected) return;
  // Where it has promises it is its coordinator that is out of reach, not the primary.
  const isSilent = live.at >= silentFrom(work, phase) && promisedUntil(work) === null;
  if (phase.isSuspected) {
    if (isSilent && isAsked && durable.policy === "automatic") return;
    const op = nextOp(work);
    because(work, { kind: "suspicion-over", op, epoch: phase.epoch, member: phase.primary });
    return setPhase(work, { ...phase, op, isSuspected: false });
  }
  const mayAct = durable.policy === "automatic" && durable.plan === null && durable.operation === null;
  if (!isSilent || !mayAct || isEndless(work) || !canRevoke(work, phase)) return;
  const op = nextOp(work);
  because(work, { kind: "primary-suspected", op, epoch: phase.epoch, member: phase.primary });
  setPhase(work, { ...phase, op, isSuspected: true });
}

/** When a suspicion may begin, in `at`; null where there is none. */
export function suspicionAt({ durable, live }: ClusterState, phase: Reigning): number | null {
  if (durable.durability !== "sync" || phase.isSuspected || durable.policy !== "automatic") return null;
  return silentFrom({ durable, live }, phase);
}

/**
 * From when on a primary counts as silent, in `at`. A fresh incarnation may not be the only one that the primary speaks
 * with: it waits for a whole lease more, in which one that was replaced fails to extend that lease and ends.
 */
function silentFrom({ durable, live }: Pick<ClusterState, "durable" | "live">, { primary }: Reigning): number {
  const { suspicionMs, ttlMs } = durable.settings;
  const heardAt = Math.max(live.hosts[primary]?.handledAt ?? 0, ttlMs);
  return heardAt + suspicionMs;
}

/**
 * The proof `revoked`: under every set that the primary of this epoch may go by, too few are left that could acknowledge
 * anything to it. Each of the others has stopped receiving durably, by the command of this suspicion.
 */
export function isRevoked(work: Work, phase: Reigning): boolean {
  if (!phase.isSuspected) return false;
  return isBeyondReach(work, phase, (name) => {
    const receiver = work.live.hosts[name]?.poll.server?.receiver;
    return receiver?.state === "frozen" && receiver.op === phase.op;
  });
}

function canRevoke(work: Work, phase: Reigning): boolean {
  return isBeyondReach(work, phase, (name) => {
    const isUp = work.live.hosts[name]?.poll.server?.report.state === "running";
    return isUp && isHeard(work, name) && isElectable(work, name) && work.durable.members[name]?.state === "online";
  });
}

function isBeyondReach(state: ClusterState, { epoch }: Reigning, isFrozen: (name: MemberName) => boolean): boolean {
  const sets = state.durable.syncSets.filter((set) => set.epoch === epoch);
  return (
    sets.length > 0 &&
    sets.every((set) => {
      const frozen = set.members.filter((entry) => isSame(state, entry) && isFrozen(entry.name)).length;
      // What a restored coordinator assumes says whom to read, not what the primary really waits for.
      return set.version > 0 && set.k > 0 && frozen >= readQuorum(set);
    })
  );
}

/** A replica's server is told all the others: whoever of them is left will do when it is opened. */
function tellReplicas(work: Work, reigns: MemberName | null, asked: SyncPolicy | null): void {
  const { members } = work.durable;
  for (const { name, role } of Object.values(members)) {
    if (name === reigns) continue;
    if (asked === null) {
      tellToWaitForNobody(work, name);
      continue;
    }
    // The last primary comes back with what it was told while it reigned, if it was to wait for anybody.
    const told = syncFor(work, name);
    if (role === "primary" && told !== null && (told.k > 0 || asked.onLoss === "degrade")) continue;
    const others = Object.keys(members).filter((other) => other !== name);
    const k = Math.min(asked.k, others.length);
    if (!isTold(work, name, { k, members: others })) tell(work, name, { k, members: others });
  }
}

/** Who was never told a set is not told one now; what a member has seen a restored coordinator may have forgotten. */
function tellToWaitForNobody(work: Work, name: MemberName): void {
  const wasTold = syncFor(work, name) !== null || (work.live.hosts[name]?.poll.syncSeen ?? 0) > 0;
  if (wasTold && !isTold(work, name, NOBODY)) tell(work, name, NOBODY);
}

/** The primary's report says which set its whole server goes by, and a position that was read after that was seen. */
function takeNote(work: Work, { primary, epoch }: Reigning): void {
  const server = work.live.hosts[primary]?.poll.server;
  const taken = server?.phase === "open" ? server.sync : null;
  const position = server?.position;
  if (!taken || !position || work.live.hosts[primary]?.poll.attempted !== epoch) return;
  const set = work.durable.syncSets.find((entry) => entry.version === taken.version && entry.epoch === epoch);
  if (!set || set.from !== null) return;
  const syncSets = work.durable.syncSets.map((entry) => (entry === set ? { ...entry, from: position } : entry));
  work.durable = { ...work.durable, syncSets };
  because(work, { kind: "sync-set-taken", member: primary, version: set.version }, work.durable.durabilityChange?.op);
}

/** The newest set is the only one once enough of its members hold all that was acknowledged before it. */
function retireCovered(work: Work): void {
  const { syncSets } = work.durable;
  const newest = syncSets.at(-1);
  const until = newest?.from;
  // What asks nobody covers nothing: what was acknowledged before it stays where its own sets say.
  if (syncSets.length < 2 || !newest || newest.k === 0 || !until) return;
  if (holdersOf(work, newest).length < newest.k) return;
  const retired = syncSets.slice(0, -1).map(({ version }) => version);
  because(work, { kind: "sync-sets-covered", version: newest.version, retired });
  work.durable = { ...work.durable, syncSets: [newest] };
}

/** The members of a set that hold, and follow on from, the place from which it was in force. */
export function holdersOf(work: Work, { members, primary, from }: OpenSyncSet): MemberName[] {
  if (from === null) return [];
  return members.filter((entry) => isSame(work, entry) && holds(work, entry.name, { primary, from })).map(nameOf);
}

function holds(work: Work, name: MemberName, { primary, from }: { primary: MemberName; from: Position }): boolean {
  const position = work.live.hosts[name]?.poll.server?.position ?? null;
  return position !== null && streamsFrom(work, name, primary) && coversPosition(position, from);
}

/** Asynchronous: nothing has to be asked any more when every member, electable or not, holds what was acknowledged. */
function retireHeld(work: Work): void {
  const { syncSets, members } = work.durable;
  const newest = syncSets.at(-1);
  if (!newest || newest.k > 0 || newest.from === null) return;
  const { primary, from, version } = newest;
  const others = Object.keys(members).filter((name) => name !== primary);
  if (!others.every((name) => holds(work, name, { primary, from }))) return;
  because(work, { kind: "sync-sets-covered", version, retired: syncSets.map((set) => set.version) });
  work.durable = { ...work.durable, syncSets: [] };
}

/** Asynchronous: the primary waits for nobody; while older sets count, so does the place from which that is certain. */
function relax(work: Work, { primary, epoch }: Reigning): void {
  const { plan, syncSets, durabilityChange } = work.durable;
  const newest = syncSets.at(-1);
  if (plan?.kind === "switch") return;
  if (!newest) return tellToWaitForNobody(work, primary);
  const isTheirs = newest.epoch === epoch && newest.version > 0 && newest.k === 0;
  if (isTheirs && isTold(work, primary, NOBODY)) return;
  const told = tell(work, primary, NOBODY);
  keep(work, { ...told, epoch, primary, members: [], from: null });
  const { version } = told;
  because(work, { kind: "sync-set-told", member: primary, version, k: 0, members: [] }, durabilityChange?.op);
}

/** One change at a time: the set that the primary should go by, once it goes by the one before. */
function change(work: Work, phase: Reigning): void {
  const { primary, epoch } = phase;
  const { plan, syncTold, durabilityChange } = work.durable;
  if (phase.isSuspected || plan?.kind === "switch") return;
  const newest = work.durable.syncSets.at(-1);
  const isUnderWay = newest !== undefined && newest.version > 0 && newest.from === null;
  const wanted = wantedSet(work, primary);
  if (isUnderWay || wanted === null || isCurrent(work, newest, wanted)) return;
  if (wanted.k < work.durable.syncPolicy.k && syncTold[primary]?.k !== wanted.k) {
    because(work, { kind: "sync-degraded", member: primary, k: wanted.k, available: wanted.members.length });
  }
  // Stored with the same step that tells it: no server goes by a set that nobody counts.
  const told = tell(work, primary, wanted);
  keep(work, { ...told, epoch, primary, members: incarnated(work, told.members), from: null });
  const { version, k } = told;
  because(work, { kind: "sync-set-told", member: primary, version, k, members: told.members }, durabilityChange?.op);
}

/** Whom the primary should wait for: the replicas that serve. Null leaves things as they are. */
function wantedSet(work: Work, primary: MemberName): Wanted | null {
  const { syncPolicy, syncSets } = work.durable;
  const fit = membersFit(work, primary, syncSets.at(-1)?.members.map(nameOf) ?? []);
  if (fit.length >= syncPolicy.k) return { k: syncPolicy.k, members: fit };
  if (syncPolicy.onLoss === "degrade") return { k: fit.length, members: fit };
  becauseOnce(work, { kind: "sync-degraded", member: primary, k: syncPolicy.k, available: fit.length });
  return null;
}

/** The replicas that serve and can acknowledge; `before` are those that a set counts on already. */
export function membersFit(work: Work, primary: MemberName, before: readonly MemberName[]): MemberName[] {
  return (
    Object.values(work.durable.members)
      .filter(({ name, role, state }) => role === "replica" && state === "online" && name !== primary)
      // One that is in the set stays in it until its state says that it has failed; one that joins must stream.
      // And it must be electable: whoever acknowledges and cannot be read is missed in every read quorum.
      .filter(({ name }) => before.includes(name) || (streamsFrom(work, name, primary) && isElectable(work, name)))
      .map(nameOf)
  );
}

function nameOf({ name }: { name: MemberName }): MemberName {
  return name;
}

/** Whether the newest set is just this one, of data directories that are still the same. */
export function isCurrent(work: Work, newest: OpenSyncSet | undefined, wanted: Wanted): boolean {
  if (!newest || newest.version === 0 || newest.k !== wanted.k) return false;
  const names = newest.members.map(({ name }) => name);
  return sameNames(names, wanted.members) && newest.members.every((entry) => isSame(work, entry));
}

function isTold({ durable }: Work, name: MemberName, { k, members }: Wanted): boolean {
  const told = durable.syncTold[name];
  return told !== undefined && told.k === k && sameNames(told.members, members);
}

function sameNames(a: readonly MemberName[], b: readonly MemberName[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

/** Gives a member's server a set of a new version; whoever tells a primary keeps it as well. */
export function tell(work: Work, name: MemberName, { k, members }: Wanted): SyncSet {
  const version = work.durable.syncVersion + 1;
  const told = { version, k, members };
  work.durable = {
    ...work.durable,
    syncVersion: version,
    syncTold: { ...work.durable.syncTold, [name]: told },
  };
  return told;
}

function keep(work: Work, set: OpenSyncSet): void {
  work.durable = { ...work.durable, syncSets: [...work.durable.syncSets, set] };
}

export function incarnated({ durable }: Work, names: readonly MemberName[]): OpenSyncSet["members"] {
  return names.map((name) => ({ name, incarnation: acknowledgerOf(durable, name) }));
}

/** Whether a member still has the data directory that it gave its acknowledgements from, and nobody has a copy of it. */
function isSame({ durable }: ClusterState, { name, incarnation }: OpenSyncSet["members"][number]): boolean {
  return incarnation !== "" && acknowledgerOf(durable, name) === incarnation;
}

/** Whether the living primary's newest set is in force, and the only one. For display. */
export function syncState(state: ClusterState): { k: number; members: MemberName[]; settled: boolean } | null {
  const newest = state.durable.syncSets.at(-1);
  if (!newest) return null;
  const isInForce = newest.from !== null && state.durable.syncSets.length === 1;
  const members = newest.members.map(({ name }) => name);
  return { k: newest.k, members, settled: isInForce && newest.k > 0 && livingPrimary(state) === newest.primary };
}

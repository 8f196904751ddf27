/**
 * Sync sets (SPEC: SYNC): who must acknowledge a commit, and whom a failover must therefore ask.
 *
 * A write that was acknowledged under a set of n members, k of which must answer, is on one of any n - k + 1 of them: the
 * read quorum. So every set under which a write may have been acknowledged is kept until it is certain that all of it is
 * covered by a newer one: k members of that one have flushed past a point that lies behind everything that was
 * acknowledged before. Until then a failover needs a read quorum of every set that is kept. A set is stored before a
 * server hears of it; nothing else about a change of sets has to be atomic, and it may be interrupted anywhere.
 *
 * (The timeline that taught it: W acknowledged by b alone; b promoted with the set {c}; b dies before c has W; if {c}
 * alone could elect c, W would be lost.)
 */
import type { SyncSet } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import { coversPosition } from "../../domain/position.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { isElectable } from "./electorate.ts";
import { acknowledgerOf } from "./fork.ts";
import { isEndless } from "./lease.ts";
import { promisedUntil } from "./promises.ts";
import { isRestoring, ownEpochOf } from "./restoring.ts";
import type { ClusterState, DurableState, OpenSyncSet, PhaseOf } from "./state.ts";
import { because, becauseOnce, nextOp, setPhase, type Work } from "./work.ts";

type Reigning = PhaseOf<"reigning">;

/** Brings the sets on as far as what is known allows: told, taken, covered. */
export function advanceSync(work: Work): void {
  if (work.durable.durability !== "sync" || isRestoring(work)) return;
  tellReplicas(work);
  const { phase } = work.durable;
  if (phase.kind !== "reigning" || !phase.opened) return;
  takeNote(work, phase);
  retireCovered(work);
  change(work, phase);
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
  if (work.durable.durability !== "sync") return;
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
 * After a restore nobody knows which sets were in force. All that was acknowledged in earlier epochs is on whoever wrote
 * last; of what it acknowledged itself any one of the others may hold a part, so all of them must be read, until a set
 * that is known has covered it. Its version is that of none, and every server is told anew.
 */
export function forgetSets(work: Work, { epoch, primary }: { epoch: number; primary: MemberName }): void {
  if (work.durable.durability !== "sync") return;
  const others = Object.keys(work.durable.members).filter((name) => name !== primary);
  const seen = Object.values(work.live.hosts).map((host) => host.poll.syncSeen);
  const syncVersion = Math.max(work.durable.syncVersion, ...seen);
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
  if (durable.durability !== "sync") return [];
  const last = durable.syncSets.at(-1);
  const ownEpoch = last === undefined ? 0 : (state.live.hosts[last.primary]?.poll.ownEpoch ?? 0);
  // Of two agents with its identity the other one may have the log that was acknowledged from; an older copy lacks some of it.
  const isOwnLog = last !== undefined && isIntactSince(durable, last);
  if (isOwnLog && ready.includes(last.primary) && ownEpoch === last.epoch) return [];
  return durable.syncSets.flatMap((set): Missing[] => {
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
  if (durable.durability !== "sync") return;
  // Where it has promises it is its coordinator that is out of reach, not the primary.
  const isSilent = live.at >= silentFrom(work, phase) && promisedUntil(work) === null;
  if (phase.isSuspected) {
    if (isSilent && durable.policy === "automatic") return;
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
 * From when on a primary counts as silent, in `at`. A fresh incarnation may not be the one that the primary still speaks
 * with: one that it has never heard it gives a whole lease more.
 */
function silentFrom({ durable, live }: Pick<ClusterState, "durable" | "live">, { primary }: Reigning): number {
  const { suspicionMs, ttlMs } = durable.settings;
  const heardAt = live.hosts[primary]?.handledAt ?? ttlMs;
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
function tellReplicas(work: Work): void {
  const { members, syncPolicy, phase } = work.durable;
  if (phase.kind === "founding") return;
  const reigns = phase.kind === "reigning" ? phase.primary : null;
  for (const { name, role } of Object.values(members)) {
    // The last primary comes back with what it was told while it reigned, if it was told anything.
    if (name === reigns || (role === "primary" && syncFor(work, name) !== null)) continue;
    const others = Object.keys(members).filter((other) => other !== name);
    const k = Math.min(syncPolicy.k, others.length);
    if (!isTold(work, name, { k, members: others })) tell(work, name, { k, members: others });
  }
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
  because(work, { kind: "sync-set-taken", member: primary, version: set.version });
}

/** The newest set is the only one once enough of its members hold all that was acknowledged before it. */
function retireCovered(work: Work): void {
  const { syncSets } = work.durable;
  const newest = syncSets.at(-1);
  const until = newest?.from;
  // What asks nobody covers nothing: what was acknowledged before it stays where its own sets say.
  if (syncSets.length < 2 || !newest || newest.k === 0 || !until) return;
  const holding = newest.members.filter((entry) => {
    const server = work.live.hosts[entry.name]?.poll.server;
    const isFollowing = streamsFrom(work, entry.name, newest.primary);
    return isSame(work, entry) && isFollowing && server?.position && coversPosition(server.position, until);
  });
  if (holding.length < newest.k) return;
  const retired = syncSets.slice(0, -1).map(({ version }) => version);
  because(work, { kind: "sync-sets-covered", version: newest.version, retired });
  work.durable = { ...work.durable, syncSets: [newest] };
}

/** One change at a time: the set that the primary should go by, once it goes by the one before. */
function change(work: Work, phase: Reigning): void {
  const { primary, epoch } = phase;
  const { plan, syncTold } = work.durable;
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
  because(work, { kind: "sync-set-told", member: primary, version: told.version, k: told.k, members: told.members });
}

/** Whom the primary should wait for: the replicas that serve. Null leaves things as they are. */
function wantedSet(work: Work, primary: MemberName): Pick<SyncSet, "k" | "members"> | null {
  const { members, syncPolicy, syncSets } = work.durable;
  const before = new Set(syncSets.at(-1)?.members.map(({ name }) => name));
  const fit = Object.values(members)
    .filter(({ name, role, state }) => role === "replica" && state === "online" && name !== primary)
    // One that is in the set stays in it until its state says that it has failed; one that joins must stream.
    // And it must be electable: whoever acknowledges and cannot be read is missed in every read quorum.
    .filter(({ name }) => before.has(name) || (streamsFrom(work, name, primary) && isElectable(work, name)))
    .map(({ name }) => name);
  if (fit.length >= syncPolicy.k) return { k: syncPolicy.k, members: fit };
  if (syncPolicy.onLoss === "degrade") return { k: fit.length, members: fit };
  becauseOnce(work, { kind: "sync-degraded", member: primary, k: syncPolicy.k, available: fit.length });
  return null;
}

/** Whether the newest set is just this one, of data directories that are still the same. */
function isCurrent(work: Work, newest: OpenSyncSet | undefined, wanted: Pick<SyncSet, "k" | "members">): boolean {
  if (!newest || newest.version === 0 || newest.k !== wanted.k) return false;
  const names = newest.members.map(({ name }) => name);
  return sameNames(names, wanted.members) && newest.members.every((entry) => isSame(work, entry));
}

function isTold({ durable }: Work, name: MemberName, { k, members }: Pick<SyncSet, "k" | "members">): boolean {
  const told = durable.syncTold[name];
  return told !== undefined && told.k === k && sameNames(told.members, members);
}

function sameNames(a: readonly MemberName[], b: readonly MemberName[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

function tell(work: Work, name: MemberName, { k, members }: Pick<SyncSet, "k" | "members">): SyncSet {
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

function incarnated({ durable }: Work, names: readonly MemberName[]): OpenSyncSet["members"] {
  return names.map((name) => ({ name, incarnation: acknowledgerOf(durable, name) }));
}

/** Whether a member still has the data directory that it gave its acknowledgements from, and nobody has a copy of it. */
function isSame({ durable }: ClusterState, { name, incarnation }: OpenSyncSet["members"][number]): boolean {
  return incarnation !== "" && acknowledgerOf(durable, name) === incarnation;
}

/** Whether the living primary's newest set is in force, and the only one. For display. */
export function syncState(state: ClusterState): { k: number; members: MemberName[]; settled: boolean } | null {
  const newest = state.durable.syncSets.at(-1);
  if (state.durable.durability !== "sync" || !newest) return null;
  const isInForce = newest.from !== null && state.durable.syncSets.length === 1;
  const members = newest.members.map(({ name }) => name);
  return { k: newest.k, members, settled: isInForce && newest.k > 0 && livingPrimary(state) === newest.primary };
}

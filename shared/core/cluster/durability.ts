/**
 * From asynchronous to synchronous and back, while the dataservice lives (SPEC: SYNC-8, SYNC-9).
 *
 * What is promised (`durability`) is one thing, and what servers do another: the promise is given when it is kept already,
 * and withdrawn before anybody stops keeping it.
 *
 *   to synchronous:   preparing -> arming -> covering -> (promised)
 *   to asynchronous:  (withdrawn) -> relaxing
 *
 * Until it is promised nothing counts: the set that the primary is told stands in this change and nowhere else, a failover
 * asks nobody about it, and whatever interrupts the change leaves an asynchronous dataservice whose servers are told to
 * wait for nobody. Once it is withdrawn the sets stay, and are asked about, until everybody holds what was acknowledged
 * under them (`retireHeld` in sync.ts): that goes on by itself, whatever becomes of the change that began it.
 */
import type { Durability } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { type Answer, noPrimary, refused } from "./answers.ts";
import { livingPrimary } from "./datasources.ts";
import type { DurabilityFailure } from "./reason.ts";
import { isRestoring } from "./restoring.ts";
import type { ClusterState, DurabilityChange, DurabilityStep, OpenSyncSet, SyncPolicy } from "./state.ts";
import { holdersOf, incarnated, isCurrent, isSettled, membersFit, tell } from "./sync.ts";
import { type Work, because, beginOperation, endOperation, nextOp } from "./work.ts";

/** A server's checkpoint is part of it, and one of a busy server takes its time: as long as an agent gives its server. */
const CHANGE_MS = 120_000;

/** `sync` is who is to acknowledge; null asks for asynchronous durability. A change under way gives way to this one. */
export function setDurability(work: Work, sync: SyncPolicy | null, tellOf: () => void): Answer {
  const primary = livingPrimary(work);
  if (primary === null) return noPrimary(work);
  const refusal = sync === null ? null : whyTooFew(work, primary, sync);
  if (refusal !== null) return refusal;
  tellOf();
  interruptDurability(work, "durability-superseded");
  const { durability: from, syncPolicy } = work.durable;
  const op = nextOp(work);
  beginOperation(work, op, "set-durability", true);
  const to = sync === null ? "async" : "sync";
  because(work, { kind: "durability-changing", op, from, to, k: sync?.k ?? 0 }, op);
  work.durable = { ...work.durable, syncPolicy: sync ?? syncPolicy };
  // What is promised from now on is less: stored before any server hears of it.
  if (sync === null) work.durable = { ...work.durable, durability: "async" };
  const step = sync === null ? "relaxing" : from === "sync" ? "adjusting" : "preparing";
  setStep(work, { op, step: { kind: step } });
  work.live = { ...work.live, planAt: work.live.at };
  return { kind: "accepted", op };
}

function whyTooFew(work: Work, primary: MemberName, { k }: SyncPolicy): Answer | null {
  const { dataservice, members, durability, syncPolicy } = work.durable;
  // Asking fewer needs nobody.
  if (durability === "sync" && k <= syncPolicy.k) return null;
  const replicas = Object.keys(members).length - 1;
  if (k > replicas) {
    return refused(
      "target-not-eligible",
      `'${dataservice}' has ${replicas} replica${replicas === 1 ? "" : "s"}: ${k} cannot acknowledge; ask for fewer`,
    );
  }
  const fit = membersFit(work, primary, []);
  if (fit.length >= k) return null;
  const others = Object.keys(members).filter((name) => name !== primary && !fit.includes(name));
  return refused(
    "target-not-eligible",
    `${fit.length} of the ${k} replicas that are to acknowledge are ONLINE, stream from '${primary}@${dataservice}' and may be elected: \`recover\` ${others.join(", ")} first, or ask for fewer`,
  );
}

/** Goes on with the change under way as far as what is known allows. */
export function advanceDurability(work: Work): void {
  const { durabilityChange: change } = work.durable;
  const primary = livingPrimary(work);
  if (change === null || primary === null || isRestoring(work)) return;
  switch (change.step.kind) {
    case "preparing":
      return prepare(work, change, primary);
    case "arming":
      return arm(work, change, change.step.set);
    case "covering":
      return cover(work, change, change.step.set);
    case "adjusting":
      return isAdjusted(work) ? succeed(work, change, "sync") : watchTime(work, change);
    case "relaxing":
      return isRelaxed(work, primary) ? succeed(work, change, "async") : watchTime(work, change);
  }
}

/** Every server that may be opened goes by a set first: once it is promised, no other one may be. */
function prepare(work: Work, change: DurabilityChange, primary: MemberName): void {
  const fit = fitOrNone(work, change, primary, []);
  if (fit === null) return;
  if (!fit.every((name) => isSettled(work, name))) return watchTime(work, change);
  tellPrimary(work, change, primary, fit);
}

/** The primary's whole server goes by the set: from a place that was read after that. */
function arm(work: Work, change: DurabilityChange, set: OpenSyncSet): void {
  if (isOutdated(work, change, set)) return;
  const poll = work.live.hosts[set.primary]?.poll;
  const server = poll?.server;
  const isTaken = server?.phase === "open" && server.sync?.version === set.version && poll?.attempted === set.epoch;
  if (!isTaken || !server.position) return watchTime(work, change);
  const { op } = change;
  because(work, { kind: "sync-set-taken", member: set.primary, version: set.version }, op);
  const taken = { ...set, from: server.position };
  setStep(work, { op, step: { kind: "covering", set: taken } });
  cover(work, { op, step: { kind: "covering", set: taken } }, taken);
}

/** Enough of its members hold all that was written before: that set alone says where everything acknowledged is. */
function cover(work: Work, change: DurabilityChange, set: OpenSyncSet): void {
  if (isOutdated(work, change, set)) return;
  if (holdersOf(work, set).length < set.k) return watchTime(work, change);
  const retired = work.durable.syncSets.map(({ version }) => version);
  because(work, { kind: "sync-sets-covered", version: set.version, retired }, change.op);
  work.durable = { ...work.durable, durability: "sync", syncSets: [set] };
  succeed(work, change, "sync");
}

/** Whether another set is wanted by now; it is told then. One that joins waits until its own server goes by a set. */
function isOutdated(work: Work, change: DurabilityChange, set: OpenSyncSet): boolean {
  const before = set.members.map(({ name }) => name);
  const fit = fitOrNone(work, change, set.primary, before);
  if (fit === null) return true;
  const ready = fit.filter((name) => before.includes(name) || isSettled(work, name));
  if (isCurrent(work, set, { k: set.k, members: ready })) return false;
  tellPrimary(work, change, set.primary, ready);
  return true;
}

/** The replicas that can acknowledge. With too few of them clients would wait for a promise that nobody has given yet. */
function fitOrNone(
  work: Work,
  change: DurabilityChange,
  primary: MemberName,
  before: readonly MemberName[],
): MemberName[] | null {
  const fit = membersFit(work, primary, before);
  if (fit.length >= work.durable.syncPolicy.k) return fit;
  fail(work, change, "too-few-replicas");
  return null;
}

function tellPrimary(work: Work, { op }: DurabilityChange, primary: MemberName, members: MemberName[]): void {
  const { epoch, syncPolicy } = work.durable;
  const told = tell(work, primary, { k: syncPolicy.k, members });
  const set: OpenSyncSet = { ...told, epoch, primary, members: incarnated(work, members), from: null };
  setStep(work, { op, step: { kind: "arming", set } });
  const { version, k } = told;
  because(work, { kind: "sync-set-told", member: primary, version, k, members }, op);
}

/** Whether the set that counts, and no other one, asks for as many as are wanted. */
function isAdjusted({ durable: { syncSets, syncPolicy } }: Work): boolean {
  const [only, ...others] = syncSets;
  return only !== undefined && others.length === 0 && only.from !== null && only.k === syncPolicy.k;
}

/** Whether the primary's whole server is seen to wait for nobody. */
function isRelaxed(work: Work, primary: MemberName): boolean {
  const { syncTold, syncSets } = work.durable;
  const told = syncTold[primary];
  if (told === undefined) return syncSets.length === 0;
  return told.k === 0 && isSettled(work, primary) && syncSets.at(-1)?.from !== null;
}

function watchTime(work: Work, change: DurabilityChange): void {
  if (work.live.at - work.live.planAt >= CHANGE_MS) fail(work, change, "durability-timed-out");
}

/** When a change is given up, in `at`; null where none is under way. */
export function durabilityDeadline({ durable, live }: ClusterState): number | null {
  return durable.durabilityChange === null ? null : live.planAt + CHANGE_MS;
}

/** Something else has come in between: the reign has ended, or the operator wants another thing. */
export function interruptDurability(work: Work, code: DurabilityFailure): void {
  const { durabilityChange: change } = work.durable;
  if (change !== null) fail(work, change, code);
}

function succeed(work: Work, { op }: DurabilityChange, to: Durability): void {
  because(work, { kind: "durability-changed", op, to }, op);
  work.durable = { ...work.durable, durabilityChange: null };
  endOperation(work, "");
}

/** What is not promised yet is taken back; what has been stored already comes true by itself, later. */
function fail(work: Work, { op, step }: DurabilityChange, code: DurabilityFailure): void {
  const to = step.kind === "relaxing" ? "async" : "sync";
  if (hasBegun(step)) because(work, { kind: "durability-awaited", op, to, code }, op);
  else because(work, { kind: "durability-unchanged", op, code }, op);
  work.durable = { ...work.durable, durabilityChange: null };
  endOperation(work, code);
}

function hasBegun({ kind }: DurabilityStep): boolean {
  return kind === "relaxing" || kind === "adjusting";
}

function setStep(work: Work, change: DurabilityChange): void {
  work.durable = { ...work.durable, durabilityChange: change };
}

/**
 * A coordinator that was restored to the past, and its way back.
 *
 *   (a voucher says more) -> reporting -> unconfirmed -> (an operator sets the policy)
 *
 * While members report nothing is decided, but the lease of the holder that is proved to be the newest goes on. Then the
 * state is restated from what they hold: numbers above all that was vouched for, the reign of the holder or a vacancy after
 * the last one, whom operators had put aside; and the policy is MANUAL, because an operator's last word may be among what is
 * lost and nothing automatic may undo it (SPEC: G4).
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { Poll } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import type { Position } from "../../domain/position.ts";
import type { Epoch, Reign } from "../../domain/reign.ts";
import { expiryWaitMs } from "../../domain/settings.ts";
import type { SetAside, Voucher } from "../../domain/voucher.ts";
import { type Answer, refused, setAtOnce } from "./answers.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { countAnew } from "./lease.ts";
import type { DurableState, LiveHost } from "./state.ts";
import { isBeyond, isHolder, isOfAnother, isRestoring, merged, voucherOf } from "./restoring.ts";
import { forgetSets } from "./sync.ts";
import {
  type Work,
  because,
  becauseOnce,
  endOperation,
  identity,
  member,
  nextOp,
  setIdentity,
  setMember,
  setPhase,
  setState,
} from "./work.ts";

/** Takes in what a poll's voucher says, and whose lease must go on. */
export function noteVoucher(work: Work, poll: Poll, voucher: Voucher | null): void {
  if (voucher && isBeyond(work.durable, voucher)) learn(work, poll, voucher);
  if (!isRestoring(work) || !isHolder(work, poll)) return;
  // A claim of its own is not enough: some coordinator must have minted that epoch.
  if (poll.attempted <= (voucher?.epoch ?? 0) || isOwnReign(work, poll)) restateReign(work, poll);
}

/** Goes on when every member has reported what it holds, and none is still between two epochs. */
export function advanceRestoration(work: Work): void {
  const names = Object.keys(work.durable.members);
  if (names.every((name) => hasReported(work, name) && isAtRest(work, name))) restate(work, []);
}

/** The operator's word: this state is of the past; or, while it waits for reports, that no more will come. */
export function coordinatorRestored(work: Work, { force, tell }: { force: boolean; tell: () => void }): Answer {
  const { durable, live } = work;
  if (!isRestoring(work)) {
    tell();
    return setAtOnce(work, "coordinator-restored", () => beginReporting(work));
  }
  const silent = Object.keys(durable.members).filter((name) => !hasReported(work, name) || !isHeard(work, name));
  if (!force) {
    return refused(
      "needs-force",
      `'${durable.dataservice}' waits for ${silent.join(", ") || "members that are being opened or fenced"}: start their agents, or \`set force true\` to vouch that their servers are dead`,
    );
  }
  const waitMs = expiryWaitMs(work.lease ?? durable.settings, durable.settings) - live.at;
  const unsettled = Object.keys(durable.members).filter((name) => !silent.includes(name) && !isSettled(work, name));
  if (waitMs > 0 || unsettled.length > 0) {
    const why = unsettled.length > 0 ? `${unsettled.join(", ")} is being opened or fenced` : "leases may still run";
    return refused("coordinator-restoring", `${why}: try again in ${Math.max(1, Math.ceil(waitMs / 1_000))} s`);
  }
  tell();
  return setAtOnce(work, "coordinator-restored", () => {
    for (const name of Object.keys(durable.members)) believe(work, name);
    restate(work, silent);
  });
}

function learn(work: Work, { host }: Poll, voucher: Voucher): void {
  const { epoch: epochSeen, op: opSeen, version } = voucher;
  becauseOnce(work, { kind: "coordinator-behind-members", host, epochSeen, opSeen, version });
  if (isOfAnother(work.durable, voucher) && Object.hasOwn(work.durable.members, host)) stray(work, host, voucher.epoch);
  if (!isRestoring(work)) beginReporting(work);
  raise(work, voucher);
}

function stray(work: Work, name: MemberName, epoch: Epoch): void {
  if (identity(work, name).isStray) return;
  setIdentity(work, name, { isStray: true });
  because(work, { kind: "member-strayed", member: name, epoch });
}

/** What was under way is forgotten: its members have gone on without this coordinator. */
function beginReporting(work: Work): void {
  const { version } = work.durable;
  const known = voucherOf(work.durable);
  endOperation(work, "coordinator-restored");
  work.durable = {
    ...work.durable,
    plan: null,
    durabilityChange: null,
    commands: {},
    restoration: { kind: "reporting", ownVersion: version, known },
  };
  // What members say from now on must be said after they have heard from this coordinator: until then a reply of before
  // may be on its way to them.
  const hosts = Object.entries(work.live.hosts).map(([name, host]): [string, LiveHost] => [
    name,
    { ...host, issued: [] },
  ]);
  work.live = { ...work.live, hosts: Object.fromEntries(hosts) };
}

function raise(work: Work, voucher: Voucher): void {
  const { restoration } = work.durable;
  if (restoration?.kind !== "reporting") return;
  const known = merged(restoration.known, voucher);
  const { version, op } = known;
  work.durable = {
    ...work.durable,
    version: Math.max(work.durable.version, version),
    op: Math.max(work.durable.op, op),
    restoration: { ...restoration, known },
  };
}

/** What no dataservice goes through between a backup of its coordinator and now; a row of the reign table for each epoch. */
const MOST_EPOCHS_FORGOTTEN = 10_000;
const MOST_FORGOTTEN = 2 ** 32;

/** What a member claims without a voucher, within reason: only an operator who forces it makes this count. */
function believe(work: Work, name: MemberName): void {
  const poll = work.live.hosts[name]?.poll;
  if (!poll || !hasReported(work, name)) return;
  const epoch = Math.max(poll.epochSeen, poll.attempted, poll.ownEpoch, poll.released);
  const own = voucherOf(work.durable);
  const isLie =
    epoch > own.epoch + MOST_EPOCHS_FORGOTTEN ||
    Math.max(poll.version - own.version, poll.opSeen - own.op) > MOST_FORGOTTEN ||
    Math.max(poll.policyVersion - own.policyVersion, poll.electorateVersion - own.electorateVersion) > MOST_FORGOTTEN;
  if (isLie) return;
  const { version, opSeen: op, policyVersion, electorateVersion } = poll;
  const claim = { ...own, version, op, policyVersion, electorateVersion };
  raise(work, { ...claim, epoch, mintedWallMs: 0 });
}

function isOwnReign({ durable }: Work, { attempted, host }: Poll): boolean {
  return durable.reigns.some((reign) => reign.epoch === attempted && reign.member === host);
}

/** Whether a member has spoken since it heard this coordinator, so that nothing it was told before can still reach it. */
function hasReported({ live }: Work, name: MemberName): boolean {
  const host = live.hosts[name];
  return host !== undefined && host.issued.some(({ nonce }) => nonce === host.poll.nonce);
}

/** Whether nothing that a member holds or claims stands in the way. */
function isAtRest(work: Work, name: MemberName): boolean {
  const poll = work.live.hosts[name]?.poll;
  const known = voucherOf(work.durable);
  if (!poll || !isSettled(work, name)) return false;
  return Math.max(poll.epochSeen, poll.attempted) <= known.epoch && poll.opSeen <= known.op;
}

/** Whether a member reigns as restated, or may write no more. */
function isSettled(work: Work, name: MemberName): boolean {
  const poll = work.live.hosts[name]?.poll;
  if (!poll?.server) return false;
  if (isHolder(work, poll)) return livingPrimary(work) === name;
  const isShut = poll.server.phase === "closed" || poll.server.phase === "observing";
  return isShut && poll.released >= poll.attempted;
}

/** The holder's own word says in which epoch it reigns: its lease goes on, whatever was forgotten. */
function restateReign(work: Work, poll: Poll): void {
  const { attempted: epoch, host: primary, server } = poll;
  const { phase, settings, op } = work.durable;
  if (phase.kind === "reigning" && phase.opened && phase.epoch === epoch && phase.primary === primary) return;
  fillReigns(work, epoch);
  noteOpened(work, { epoch, member: primary, position: server?.position ?? null });
  const timeline = work.durable.reigns.find((reign) => reign.epoch === epoch)?.timeline ?? 0;
  setPhase(work, {
    kind: "reigning",
    epoch,
    primary,
    op,
    how: "promote",
    proof: "released",
    timeline,
    opened: true,
    isSuspected: false,
  });
  const { ttlMs } = settings;
  const fenceMs = Math.max(settings.fenceMs, poll.fenceMs);
  const serial = work.lease?.serial ?? 0;
  for (const { name, role } of Object.values(work.durable.members)) {
    if (role === "primary" && name !== primary)
      setState(work, name, "shunned", { kind: "failed-over-to", to: primary });
  }
  setMember(work, primary, { role: "primary" });
  const position = server?.position ?? null;
  // On which word its lease was granted is not remembered: a fence is waited for.
  const { place } = poll;
  countAnew(work, { member: primary, epoch, ttlMs, fenceMs, hasLeaseDoor: false, place, serial, position });
}

/** A row for every epoch up to `epoch` that this coordinator does not remember. */
function fillReigns(work: Work, epoch: Epoch): void {
  const known = voucherOf(work.durable);
  const rows: Reign[] = [];
  for (let next = work.durable.epoch + 1; next <= epoch; next += 1) {
    const isNewest = next === known.epoch;
    rows.push({
      epoch: next,
      member: "",
      parent: next - 1,
      proof: "restated",
      fork: null,
      timeline: isNewest ? known.timeline : 0,
      opened: false,
      mintedWallMs: isNewest ? known.mintedWallMs : 0,
    });
  }
  if (rows.length > 0) work.durable = { ...work.durable, epoch, reigns: [...work.durable.reigns, ...rows] };
}

/** A member's log shows where its reign began: its own history ends there, and the timelines in it are those of its past. */
function noteOpened(work: Work, seen: { epoch: Epoch; member: MemberName; position: Position | null }): void {
  const { epoch, position } = seen;
  const before = work.durable.reigns;
  const restated = (reign: Reign): Reign => {
    if (reign.epoch !== epoch) return reign;
    if (reign.proof !== "restated" || !position) return { ...reign, opened: true };
    const last = position.history.at(-1);
    const fork: Position | null = last
      ? { ...position, timeline: last.timeline, lsn: last.endLsn, history: position.history.slice(0, -1) }
      : null;
    const parent = before.findLast(
      (other) => other.epoch < epoch && position.history.some((end) => end.timeline === other.timeline),
    );
    const { member: name } = seen;
    return { ...reign, member: name, parent: parent?.epoch ?? 0, fork, timeline: position.timeline, opened: true };
  };
  work.durable = { ...work.durable, reigns: before.map(restated) };
}

/** Everything that can be known is taken over. */
function restate(work: Work, waived: MemberName[]): void {
  const known = voucherOf(work.durable);
  const holder = restatedHolder(work, waived);
  if (known.epoch > 0 && holder === null) vacate(work, known.epoch, waived);
  for (const name of Object.keys(work.durable.members)) setAside(work, name, { holder, aside: known.aside });
  if (holder !== null) deposeByWord(work, holder);
  for (const name of waived)
    because(work, { kind: "reign-ended", epoch: known.epoch, member: name, proof: "asserted", cause: "none" });
  const policyVersion = known.policyVersion + 1;
  const policy = known.policy === "maintenance" ? "maintenance" : "manual";
  const { electorate, syncVersion } = work.durable;
  work.durable = {
    ...work.durable,
    restoration: { kind: "unconfirmed" },
    policy,
    policyVersion,
    // MAINTENANCE may have been among what is lost: until a member confirms the new policy its lease has no end.
    endlessBelow: policyVersion,
    electorate: { ...electorate, version: Math.max(electorate.version, known.electorateVersion) + 1 },
    syncVersion: Math.max(syncVersion, known.syncVersion),
    ...restatedDurability(work, known),
  };
  outrank(work);
  const { epoch, op, phase } = work.durable;
  if (phase.kind === "reigning" || phase.kind === "deposing") forgetSets(work, phase);
  // Where the newest writer was given up, no older log answers for what it acknowledged.
  if (phase.kind === "vacant") {
    const isNewest = lastWritten(work, phase.deposed) >= known.epoch;
    forgetSets(work, { epoch: isNewest ? lastWritten(work, phase.deposed) : known.epoch, primary: phase.deposed });
  }
  const aside = known.aside.map((entry) => entry.member);
  because(work, { kind: "coordinator-restated", epoch, op, primary: livingPrimary(work), policy, aside, waived });
}

/** What was under way and is forgotten had a number that its members have obeyed: no command may carry a lower one. */
function outrank(work: Work): void {
  const { phase, op } = work.durable;
  if (phase.kind === "reigning" || phase.kind === "deposing")
    work.durable = { ...work.durable, phase: { ...phase, op } };
}

/** What was promised last. Which sets were in force for it nobody knows (`forgetSets`). */
function restatedDurability(
  { durable: { durability, syncPolicy } }: Work,
  { sync }: Voucher,
): Pick<DurableState, "durability" | "syncPolicy"> {
  if (sync === "unknown") return { durability, syncPolicy };
  return sync === null ? { durability: "async", syncPolicy } : { durability: "sync", syncPolicy: sync };
}

/** Who reigns in the newest epoch, by its own word; null when nobody does. One whom an operator put aside is deposed. */
function restatedHolder(work: Work, waived: readonly MemberName[]): MemberName | null {
  const primary = livingPrimary(work);
  if (primary !== null && waived.includes(primary)) return null;
  const poll = primary === null ? undefined : work.live.hosts[primary]?.poll;
  return poll && isHolder(work, poll) ? primary : null;
}

/** Nobody reigns: the last epoch that left a log is that of the member that wrote last. */
function vacate(work: Work, epoch: Epoch, waived: MemberName[]): void {
  fillReigns(work, epoch);
  const polls = Object.keys(work.durable.members).flatMap((name) => work.live.hosts[name]?.poll ?? []);
  const last = polls
    .filter(({ host, ownEpoch }) => ownEpoch > 0 && !identity(work, host).isStray)
    .toSorted((a, b) => b.ownEpoch - a.ownEpoch || (a.host < b.host ? -1 : 1))[0];
  if (last) noteOpened(work, { epoch: last.ownEpoch, member: last.host, position: last.server?.position ?? null });
  const deposed = last?.host ?? subjectOf(work);
  // Who was not heard may hold more, whose log is astray may be missed, nobody may remember the newest epoch, and a server
  // of a founding that was forgotten may be its owner's: then a person decides who comes next.
  const isOlder = !last || last.ownEpoch < epoch;
  const mustAsk = waived.length > 0 || isOlder || polls.some(({ host }) => identity(work, host).isStray);
  const code = mustAsk ? "coordinator-restored" : "not-automatic";
  const proof = waived.length > 0 ? "asserted" : "released";
  const op = nextOp(work);
  setPhase(work, { kind: "vacant", epoch, deposed, op, proof, cause: "lease-lost", code, welcomed: null });
}

function lastWritten({ live }: Work, name: MemberName): Epoch {
  return live.hosts[name]?.poll.ownEpoch ?? 0;
}

/** Whom the forgotten phase was about: nobody has ever written. */
function subjectOf({ durable: { phase } }: Work): MemberName {
  return phase.kind === "collecting" || phase.kind === "vacant" ? phase.deposed : phase.primary;
}

/** An operator had failed or shunned it while it reigned, and its end was forgotten. */
function deposeByWord(work: Work, primary: MemberName): void {
  const { reason } = member(work, primary);
  const { epoch } = work.durable;
  if (!isOperatorsWord(reason)) return;
  const cause = reason.kind === "manually-failed" ? "operator-failed" : "operator-shunned";
  const op = nextOp(work);
  because(work, { kind: "primary-fencing", op, epoch, member: primary, cause });
  setPhase(work, { kind: "deposing", epoch, primary, op, cause });
}

function setAside(
  work: Work,
  name: MemberName,
  { holder, aside }: { holder: MemberName | null; aside: SetAside[] },
): void {
  const { phase } = work.durable;
  const { role, reason } = member(work, name);
  const word = aside.find((entry) => entry.member === name)?.as;
  const isFirst = name === holder || (phase.kind === "vacant" && phase.deposed === name);
  if (isFirst && role !== "primary") setMember(work, name, { role: "primary" });
  if (word) return setState(work, name, word === "manually-failed" ? "failed" : "shunned", { kind: word });
  if (phase.kind === "founding") return;
  // The later word is that there is none any more.
  if (isOperatorsWord(reason)) setState(work, name, "offline", { kind: "none" });
  if (name === holder) return setState(work, name, "online", { kind: "none" });
  if (isFirst) return setState(work, name, "shunned", { kind: "failsafe-shun" });
  if (holder !== null && streamsFrom(work, name, holder)) {
    setMember(work, name, { role: "replica" });
    return setState(work, name, "online", { kind: "none" });
  }
  const to = holder ?? (phase.kind === "vacant" ? phase.deposed : null);
  if (role === "primary" && to !== null) setState(work, name, "shunned", { kind: "failed-over-to", to });
}

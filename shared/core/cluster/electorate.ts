/**
 * Who may be elected, as the primary knows it: the list that travels with its lease.
 *
 * The primary lives without the coordinator only while everybody on its list promises (SPEC: ALONE-4). So a member that
 * cannot promise, its agent being silent, or that could not be elected anyway, is struck off while the coordinator lives;
 * that takes effect here at once, because a primary that still holds the longer list only asks for more. Who is put on
 * the list again counts only when the primary has confirmed it: until then it may go by a list without him, and not ask.
 */
import { isOperatorsWord, type StateReason } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { isHeard, isSilent } from "./datasources.ts";
import { countAnew } from "./lease.ts";
import { isOfTime } from "./promises.ts";
import { isRestoring } from "./restoring.ts";
import type { ClusterState, PhaseOf } from "./state.ts";
import { type Work, becauseOnce, member } from "./work.ts";

/** Brings the electorate in line with what is known now. */
export function tendElectorate(work: Work): void {
  outgrow(work);
  if (isRestoring(work)) return;
  const { phase, members } = work.durable;
  switch (phase.kind) {
    case "founding":
    case "deposing":
      return;
    case "reigning":
      if (!phase.opened) return;
      noteConfirmation(work, phase);
      // What is changed must reach the primary: otherwise it would only take away who could succeed it.
      if (isHeard(work, phase.primary)) enlist(work, namesFit(work, phase.primary), "to-be-confirmed");
      return;
    case "collecting":
    case "vacant":
      // Nobody goes by the list of a reign whose holder has laid it down himself.
      if (isOfTime(phase.proof)) return;
      return enlist(
        work,
        Object.keys(members).filter((name) => isListed(work, name) || isHeard(work, name)),
        "at-once",
      );
  }
}

/** Further than this no count has gone on while it was forgotten: a claim beyond it is a lie, and would be the last number. */
const MOST_FORGOTTEN = 1_000_000;

/** A list that is newer than ours was sent before we were restored: nobody is known to be on it but its primary. */
function outgrow(work: Work): void {
  const { electorate } = work.durable;
  // Only members are told of lists.
  const reported = Object.keys(work.durable.members).map((name) => work.live.hosts[name]?.poll.electorateVersion ?? 0);
  const believed = reported.filter((version) => version <= electorate.version + MOST_FORGOTTEN);
  const highest = Math.max(electorate.version, ...believed);
  if (highest === electorate.version) return;
  work.durable = {
    ...work.durable,
    electorate: { ...electorate, version: highest + 1, unconfirmed: electorate.members },
  };
}

/** Whether a member may be elected: on every list that the holder of the last reign may go by. */
export function isElectable({ durable: { electorate } }: Pick<ClusterState, "durable">, name: MemberName): boolean {
  return electorate.members.includes(name) && !electorate.unconfirmed.includes(name);
}

/**
 * Whether there is anybody whose promise the holder of the reign needs. Where there is nobody its right to write goes on
 * by itself, and no time ends it; says so once.
 */
export function hasElectorate(work: Work, { epoch, primary }: { epoch: number; primary: MemberName }): boolean {
  const others = work.durable.electorate.members.filter((name) => name !== primary && isElectable(work, name));
  if (others.length > 0) return true;
  becauseOnce(work, { kind: "electorate-empty", epoch, member: primary });
  return false;
}

/**
 * A member whose agent has forgotten everything may have promised, and would break its word: it is on no list until the
 * primary has confirmed one with it again.
 */
export function strikeOff(work: Work, name: MemberName): void {
  const { version, members, unconfirmed } = work.durable.electorate;
  if (!members.includes(name)) return;
  const without = (names: readonly MemberName[]) => names.filter((other) => other !== name);
  const electorate = { version: version + 1, members: without(members), unconfirmed: without(unconfirmed) };
  work.durable = { ...work.durable, electorate };
}

function isListed({ durable }: Work, name: MemberName): boolean {
  return durable.electorate.members.includes(name);
}

/** The primary's own poll says by which list it goes; that is on its disk. */
function noteConfirmation(work: Work, { primary, epoch }: PhaseOf<"reigning">): void {
  const { electorate } = work.durable;
  const poll = work.live.hosts[primary]?.poll;
  if (electorate.unconfirmed.length === 0 || poll?.attempted !== epoch || poll.server?.phase !== "open") return;
  if (poll.electorateVersion < electorate.version) return;
  work.durable = { ...work.durable, electorate: { ...electorate, unconfirmed: [] } };
  // It may have lived on the promises of the shorter list until it took this one up: the wait for its end begins here.
  if (work.lease?.epoch === epoch) countAnew(work, work.lease);
}

function namesFit(work: Work, primary: MemberName): MemberName[] {
  return Object.keys(work.durable.members).filter((name) => {
    if (name === primary) return true;
    if (isListed(work, name)) return !mustGo(work, name);
    return member(work, name).state === "online" && isHeard(work, name) && !mustGo(work, name);
  });
}

const OUT: ReadonlySet<StateReason["kind"]> = new Set(["diverged", "needs-provision", "identity-forked"]);

/** Whether a member is not to be asked for a promise: it could give none, or would never be elected. */
function mustGo(work: Work, name: MemberName): boolean {
  const { state, reason } = member(work, name);
  const isOut = state === "shunned" || OUT.has(reason.kind);
  return isOut || isOperatorsWord(reason) || isSilent(work, name);
}

function enlist(work: Work, members: MemberName[], how: "at-once" | "to-be-confirmed"): void {
  const { electorate } = work.durable;
  const added = members.filter((name) => !electorate.members.includes(name));
  const struck = electorate.members.filter((name) => !members.includes(name));
  const unconfirmed =
    how === "at-once" ? [] : [...electorate.unconfirmed.filter((name) => members.includes(name)), ...added];
  const isSame = added.length === 0 && struck.length === 0;
  if (isSame && unconfirmed.length === electorate.unconfirmed.length) return;
  const version = isSame ? electorate.version : electorate.version + 1;
  work.durable = {
    ...work.durable,
    electorate: { version, members: isSame ? electorate.members : members, unconfirmed },
  };
}

/**
 * The tail of a dead primary's log: what it had acknowledged and sent to nobody lies on its disk, and its agent lives.
 * Whoever is to succeed fetches it from there before it is promoted; no longer than `salvageMs`, because nobody can write
 * meanwhile.
 */
import type { MemberName } from "../../domain/names.ts";
import { comparePositions, lsnDistance } from "../../domain/position.ts";
import { candidatesOf, choose, ineligible } from "./choose.ts";
import type { ClusterState, PhaseOf, Salvage } from "./state.ts";
import { isOver, resultOf } from "./switch.ts";
import { type Work, because, setPhase } from "./work.ts";

type Collecting = PhaseOf<"collecting">;
type Fetching = Extract<Salvage, { kind: "fetching" }>;

/** Begins to fetch the tail, if the one who would win now lacks some of it and it can be had. */
export function beginSalvage(work: Work, phase: Collecting, ready: readonly MemberName[]): boolean {
  const salvage = tailFor(work, phase, ready);
  if (!salvage) return false;
  const { winner, from, bytes } = salvage;
  because(work, { kind: "tail-fetching", op: phase.op, member: winner, from: from.host, bytes }, phase.op);
  setPhase(work, { ...phase, salvage });
  return true;
}

/** Whether the tail is still waited for: its fetcher has not answered, and has time left. One that is gone is forgotten. */
export function isFetching(work: Work, phase: Collecting): boolean {
  const { salvage, op } = phase;
  if (salvage.kind !== "fetching") return false;
  if (isOver(resultOf(work, salvage.winner, { kind: "fetch-tail", op }))) return false;
  if (ineligible(work, phase, salvage.winner) !== null) {
    // Whoever would win instead may fetch it as well.
    setPhase(work, { ...phase, salvage: { kind: "none" } });
    return true;
  }
  return work.live.at - work.live.phaseAt < work.durable.settings.salvageMs;
}

/** Says what became of the tail, when a winner is chosen. */
export function tellTail(work: Work, { salvage, op }: Collecting, winner: MemberName): void {
  if (salvage.kind !== "fetching") return;
  const { from, until, bytes } = salvage;
  const position = work.live.hosts[winner]?.poll.server?.position;
  const told = { op, member: winner, from: from.host };
  const isHad = position?.timeline === until.timeline && lsnDistance(until.lsn, position.lsn) <= 0n;
  if (isHad) return because(work, { kind: "tail-salvaged", ...told, bytes }, op);
  const result = resultOf(work, salvage.winner, { kind: "fetch-tail", op });
  const lackedBytes = position?.timeline === until.timeline ? Number(lsnDistance(until.lsn, position.lsn)) : bytes;
  because(work, { kind: "tail-lost", ...told, bytes: lackedBytes, code: result?.code || "not-in-time" }, op);
}

/**
 * What the winner lacks of the dead primary's log. Only the agent's word that its server is dead makes the end of that log
 * the end; and a winner that has everything already is kept waiting by nothing.
 */
function tailFor(state: ClusterState, phase: Collecting, ready: readonly MemberName[]): Fetching | null {
  const { proof, deposed, isForced, salvage } = phase;
  if (proof !== "released" || isForced || salvage.kind !== "none" || state.durable.settings.salvageMs === 0)
    return null;
  const dead = state.live.hosts[deposed]?.poll;
  const { tail, position, report } = dead?.server ?? {};
  if (!dead?.peer || !tail || !position || report?.state !== "stopped") return null;
  const winner = likelyWinner(state, phase, ready);
  if (!winner || winner.member === deposed || winner.position.timeline !== tail.timeline) return null;
  if (comparePositions(position, winner.position) !== "covers") return null;
  const bytes = Number(lsnDistance(tail.lsn, winner.position.lsn));
  const from = { host: deposed, endpoint: dead.peer };
  return { kind: "fetching", winner: winner.member, from, until: tail, bytes };
}

function likelyWinner(state: ClusterState, { target }: Collecting, ready: readonly MemberName[]) {
  const candidates = candidatesOf(state, ready, null);
  if (target !== null) return candidates.find(({ member }) => member === target);
  const choice = choose(candidates);
  return choice.kind === "chosen" ? choice.winner : undefined;
}

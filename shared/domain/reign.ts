/**
 * Reigns: who was primary in which epoch, and from whose log it continued.
 *
 * Timeline numbers cannot tell two promotions from one position apart; the reign table can. A member descends from
 * the current primary's past only if the last epoch in which it may itself have written is an ancestor of the current
 * one.
 */
import type { MemberName } from "./names.ts";
import { comparePositions, type Position } from "./position.ts";

/** The number of a primary's reign. 0 means: none yet. */
export type Epoch = number;

/** Why epoch e+1 was allowed to follow epoch e. */
export type ProofKind = "founded" | "released" | "expired" | "revoked" | "asserted";

export interface Reign {
  epoch: Epoch;
  member: MemberName;
  /** The epoch whose log this reign continues; 0 for the founding one. */
  parent: Epoch;
  /** `restated` by a coordinator that was restored to the past: there was a proof, and it is forgotten. */
  proof: ProofKind | "restated";
  /**
   * Where the parent's log was left: the new primary's position when the epoch was minted, made exact by its own
   * history once it is open; null when it was adopted while running.
   */
  fork: Position | null;
  /**
   * The timeline that the reign writes on: the one it was given when it was minted, above all that earlier epochs were
   * given, or the higher one that it was seen open on. Timeline numbers alone thereby name one branch of the log.
   */
  timeline: number;
  /** Whether the member was ever seen writable in this epoch. */
  opened: boolean;
  /** Display only. */
  mintedWallMs: number;
}

/** The epochs from `epoch` back to the founding, newest first. */
export function ancestry(reigns: readonly Reign[], epoch: Epoch): Reign[] {
  const chain: Reign[] = [];
  let at = epoch;
  while (at > 0) {
    const reign = reigns.find((candidate) => candidate.epoch === at);
    if (!reign || chain.includes(reign)) return chain;
    chain.push(reign);
    at = reign.parent;
  }
  return chain;
}

/**
 * Whether a member's log belongs to the line that ends in `epoch`: the last epoch in which it may hold writes of its own
 * must be on that line, and its log must reach no further than the place where the newest reign forked, or go on in that reign.
 * Older forks need no look: whoever holds no more than the newest fork holds nothing that it lacks.
 */
export function onLineage(
  reigns: readonly Reign[],
  epoch: Epoch,
  member: { ownEpoch: Epoch; position: Position },
): boolean {
  const { ownEpoch, position } = member;
  const chain = ancestry(reigns, epoch);
  const [newest] = chain;
  // A log that went through the newest reign's own timeline is that reign's, whatever lay in its place before.
  if (newest?.fork && goesOnIn(newest, position)) return true;
  if (ownEpoch !== 0 && !chain.some((reign) => reign.epoch === ownEpoch)) return false;
  if (!newest?.fork || ownEpoch === newest.epoch) return true;
  const coverage = comparePositions(position, newest.fork);
  return coverage === "equal" || coverage === "behind";
}

/** Every reign has a timeline number of its own: a log that names it has followed that reign. */
function goesOnIn(reign: Reign, position: Position): boolean {
  return position.timeline === reign.timeline || position.history.some((end) => end.timeline === reign.timeline);
}

/** `epoch`, or the nearest one before it that was opened: one that was minted and never opened has left no log. */
export function lastOpenedEpoch(reigns: readonly Reign[], epoch: Epoch): Epoch {
  const reign = reigns.find((entry) => entry.epoch === epoch);
  if (!reign || reign.opened || reign.parent === 0) return epoch;
  return lastOpenedEpoch(reigns, reign.parent);
}

/**
 * The epochs since the last opened one, on the line that ends in `epoch`: minted, never seen open. A member may have
 * opened in any of them unseen, and its own log goes on there.
 */
export function unseenEpochs(reigns: readonly Reign[], epoch: Epoch): Epoch[] {
  const line = ancestry(reigns, epoch);
  const opened = line.findIndex((reign) => reign.opened);
  return line.slice(0, opened === -1 ? line.length : opened).map((reign) => reign.epoch);
}

/**
 * How far above every timeline given out a server's own may lie: each number in between costs a promotion a file. More than
 * that no hand has promoted behind our back; it is a lie, and would make every promotion to come take for ever.
 */
export const TIMELINE_LEEWAY = 100;

/** The number for the next reign's timeline, if it continues `position`: above every one given out or, within reason, `seen`. */
export function nextTimeline(reigns: readonly Reign[], position: Position, seen = 0): number {
  const given = Math.max(position.timeline, ...reigns.map((reign) => reign.timeline));
  return Math.max(given, Math.min(seen, given + TIMELINE_LEEWAY)) + 1;
}

/** The fork as the history of an open primary states it; `fork` itself where that history is not known. */
export function exactFork(fork: Position | null, primary: Position): Position | null {
  const last = primary.history.at(-1);
  if (!fork || !last || primary.timeline === fork.timeline) return fork;
  return { ...fork, timeline: last.timeline, lsn: last.endLsn, history: primary.history.slice(0, -1) };
}

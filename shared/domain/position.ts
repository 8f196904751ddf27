/**
 * Positions: how far a server's log reaches.
 *
 * Positions form a partial order. Two servers may each hold something the other lacks, and then neither is ahead: no
 * number and no string comparison can say so. Every comparison in Interrex goes through `comparePositions`.
 */

/** A PostgreSQL log sequence number as the server prints it: two hexadecimal halves, `0/3000060`. */
export type Lsn = string;

/** One finished timeline of a server's past: `timeline` was left at `endLsn`. */
export interface TimelineEnd {
  timeline: number;
  endLsn: Lsn;
}

export interface PostgresPosition {
  engine: "postgres";
  /** The cluster identifier that initdb drew; two servers that differ here share no history at all. */
  systemId: string;
  timeline: number;
  /** The end of the log: flushed, and for a replica the greater of received and replayed. */
  lsn: Lsn;
  /** The timelines before `timeline`, oldest first. */
  history: TimelineEnd[];
}

/** How far a log reaches. A union by engine: GTID sets of the MySQL family join here. */
export type Position = PostgresPosition;

/**
 * What the first position is to the second: `covers` holds everything the other holds and more, `behind` the reverse,
 * `diverged` means that each holds something the other lacks (or may).
 */
export type Coverage = "equal" | "covers" | "behind" | "diverged";

/** The byte number of an LSN. Throws on text that is no LSN: it can only come from a broken engine. */
export function lsnBytes(lsn: Lsn): bigint {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(lsn);
  if (!match) throw new Error(`not an LSN: ${lsn}`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** The LSN of a byte number, as the server prints it. */
export function lsnOf(bytes: bigint): Lsn {
  const hex = (half: bigint) => half.toString(16).toUpperCase();
  return `${hex(bytes >> 32n)}/${hex(bytes & 0xffff_ffffn)}`;
}

/** How many bytes of log `behind` lacks of `ahead`; negative when it is the longer one. */
export function lsnDistance(ahead: Lsn, behind: Lsn): bigint {
  return lsnBytes(ahead) - lsnBytes(behind);
}

/** What `a` is to `b`. Total, reflexive, and antisymmetric: swapping the arguments swaps `covers` and `behind`. */
export function comparePositions(a: Position, b: Position): Coverage {
  if (a.systemId !== b.systemId) return "diverged";
  if (!historiesAgree(a, b)) return "diverged";
  if (a.timeline === b.timeline) return compareLsn(a.lsn, b.lsn);
  const forkOfB = a.history.find((end) => end.timeline === b.timeline);
  if (forkOfB) return lsnBytes(b.lsn) <= lsnBytes(forkOfB.endLsn) ? "covers" : "diverged";
  const forkOfA = b.history.find((end) => end.timeline === a.timeline);
  if (forkOfA) return lsnBytes(a.lsn) <= lsnBytes(forkOfA.endLsn) ? "behind" : "diverged";
  return "diverged";
}

/** Whether `a` holds everything that `b` holds. */
export function coversPosition(a: Position, b: Position): boolean {
  const coverage = comparePositions(a, b);
  return coverage === "equal" || coverage === "covers";
}

/**
 * Whether a log that ends at `position` still has what it had when it ended at `mark`. One that has gone on in a later
 * timeline is of another line by now: whether that one lacks something is said by the reign table, not by the mark.
 */
export function hasReached(position: Position, mark: Position): boolean {
  return position.timeline > mark.timeline || coversPosition(position, mark);
}

/**
 * The furthest place that a log is known to have reached, `position` included. An end on the border of a page may lie
 * inside a record, and what a server has of a record without its end it forgets at its next start: that is no mark.
 */
export function furthest(mark: Position | null, position: Position): Position | null {
  if (lsnBytes(position.lsn) % SMALLEST_PAGE === 0n) return mark;
  if (mark === null) return position;
  const isFurther = hasReached(position, mark) && comparePositions(position, mark) !== "equal";
  return isFurther ? position : mark;
}

/** Servers are built with log pages of 1 to 64 kB, 8 as a rule: every border of theirs is one of these. */
const SMALLEST_PAGE = 1_024n;

/** How many bytes `a` holds beyond `point` on the timeline of `point`; 0 when it reaches no further. */
export function bytesBeyond(a: Position, point: { timeline: number; lsn: Lsn }): number {
  return a.timeline < point.timeline ? 0 : Math.max(0, Number(lsnDistance(a.lsn, point.lsn)));
}

/** The last place that two logs have in common; null when they share none. */
export function commonPoint(a: Position, b: Position): { timeline: number; lsn: Lsn } | null {
  if (a.systemId !== b.systemId) return null;
  const [pathOfA, pathOfB] = [pathOf(a), pathOf(b)];
  let common: { timeline: number; lsn: Lsn } | null = null;
  for (const [index, leg] of pathOfA.entries()) {
    const other = pathOfB[index];
    if (other?.timeline !== leg.timeline) return common;
    const isShorter = lsnBytes(leg.endLsn) <= lsnBytes(other.endLsn);
    common = { timeline: leg.timeline, lsn: isShorter ? leg.endLsn : other.endLsn };
    if (leg.endLsn !== other.endLsn) return common;
  }
  return common;
}

/** Every timeline of a log with the place where it was left, the present one last. */
function pathOf({ history, timeline, lsn }: Position): TimelineEnd[] {
  return [...history, { timeline, endLsn: lsn }];
}

/** The display number of a position: for PostgreSQL the LSN as a byte number. */
export function positionNumber(position: Position): number {
  return Number(lsnBytes(position.lsn));
}

function compareLsn(a: Lsn, b: Lsn): Coverage {
  const difference = lsnBytes(a) - lsnBytes(b);
  if (difference === 0n) return "equal";
  return difference > 0n ? "covers" : "behind";
}

/**
 * Two histories agree when they leave every timeline they share at the same place, and, on one timeline, came the same
 * way. An empty history on a later timeline is one that is not known yet.
 */
function historiesAgree(a: Position, b: Position): boolean {
  const known = a.history.length > 0 && b.history.length > 0;
  if (known && a.timeline === b.timeline && a.history.length !== b.history.length) return false;
  return a.history.every((end) => {
    const other = b.history.find((candidate) => candidate.timeline === end.timeline);
    return !other || lsnBytes(other.endLsn) === lsnBytes(end.endLsn);
  });
}

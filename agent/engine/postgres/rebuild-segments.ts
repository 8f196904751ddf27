/** The segments of a server's log as files: what their names and their first pages tell. No IO. */
import type { LogPoint } from "#shared/domain/messages.ts";
import { lsnBytes, type Lsn } from "#shared/domain/position.ts";

/** One file of `pg_wal`. */
export interface Segment {
  file: string;
  timeline: number;
  /** The how-manieth segment of the log it holds, from the log's very beginning. */
  number: bigint;
}

/** What the first page of a segment says of itself. */
export interface SegmentHead {
  /** Where in the log this page belongs: a segment that only waits to be written still names the place it came from. */
  address: bigint;
  systemId: string;
  segmentBytes: number;
}

/** Enough of a segment for `parseHead`. */
export const HEAD_BYTES = 40;

const LOG_BYTES = 1n << 32n;
/** The high byte of the page's magic number, from server 9.3 on. */
const MAGIC_HIGH = 0xd1;
const LONG_HEADER = 0x0002;

/** A file name of `pg_wal` as a segment; null when it is something else. A `.partial` one ends where its timeline was left. */
export function parseSegment(file: string, segmentBytes: number): Segment | null {
  const match = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(?:\.partial)?$/.exec(file);
  if (!match) return null;
  const [timeline, log, part] = match.slice(1).map((digits) => Number.parseInt(digits, 16));
  return {
    file,
    timeline: timeline ?? 0,
    number: BigInt(log ?? 0) * (LOG_BYTES / BigInt(segmentBytes)) + BigInt(part ?? 0),
  };
}

/** The first page of a segment; null when none was ever written there. */
export function parseHead(page: Buffer): SegmentHead | null {
  if (page.length < HEAD_BYTES || page.readUInt16LE(0) >> 8 !== MAGIC_HIGH) return null;
  if ((page.readUInt16LE(2) & LONG_HEADER) === 0) return null;
  return {
    address: page.readBigUInt64LE(8),
    systemId: page.readBigUInt64LE(24).toString(),
    segmentBytes: page.readUInt32LE(32),
  };
}

/** Whether a segment's file holds the part of the log that its name says. */
export function isWritten({ number }: Segment, { address, segmentBytes }: SegmentHead): boolean {
  return address === number * BigInt(segmentBytes);
}

/** Which segment holds the byte at `lsn`. */
export function segmentAt(lsn: Lsn, segmentBytes: number): bigint {
  return lsnBytes(lsn) / BigInt(segmentBytes);
}

/** Where a segment begins. */
export function startOf({ number }: Segment, segmentBytes: number): Lsn {
  const address = number * BigInt(segmentBytes);
  const hex = (half: bigint) => half.toString(16).toUpperCase();
  return `${hex(address / LOG_BYTES)}/${hex(address % LOG_BYTES)}`;
}

/**
 * The written segments that hold the log from `fork` on, in the log's order, or the number of one that should be there
 * and is not. `end` is where the log is known to reach; it may reach further.
 */
export function segmentsFrom(
  written: readonly Segment[],
  range: { fork: LogPoint; end: Lsn | null; segmentBytes: number },
): { found: Segment[] } | { missing: bigint } {
  const first = segmentAt(range.fork.lsn, range.segmentBytes);
  const found = written
    .filter(({ timeline, number }) => timeline >= range.fork.timeline && number >= first)
    .toSorted((a, b) => Number(a.number - b.number) || a.timeline - b.timeline);
  const numbers = new Set(found.map(({ number }) => number));
  const last = [...numbers].reduce(larger, lastNeeded(first, range));
  for (let number = first; number <= last; number += 1n) if (!numbers.has(number)) return { missing: number };
  return { found };
}

function lastNeeded(first: bigint, { end, segmentBytes }: { end: Lsn | null; segmentBytes: number }): bigint {
  if (end === null || lsnBytes(end) === 0n) return first;
  // A log that ends with a segment has not begun the next one.
  return larger(first, (lsnBytes(end) - 1n) / BigInt(segmentBytes));
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

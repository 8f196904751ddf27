/**
 * Where the log of a dead server ends, found as the server's own recovery would find it: record after record, each with
 * its checksum and the place of the one before, until one is not whole.
 *
 * What a primary acknowledged before it was killed lies here, though its replicas may not have been sent it. Records that
 * were written and never flushed count too: nobody was told of them, and to have them is harmless.
 */
import { lsnBytes, lsnOf, type Lsn } from "#shared/domain/position.ts";
import { crc32c } from "./crc32c.ts";
import type { LogPage, LogPages } from "./log-pages.ts";

/** A record's header: total length, transaction, place of the record before, kind, checksum. */
const RECORD_HEADER_BYTES = 24;
const PREVIOUS_AT = 8;
const INFO_AT = 16;
const MANAGER_AT = 17;
const CHECKSUM_AT = 20;
/** Records begin at multiples of this. */
const ALIGNMENT = 8;
/** The record that ends a segment early is kind 0x40 of resource manager 0. */
const SWITCH_INFO = 0x40;
const KIND_MASK = 0xf0;
/** How far back the beginning of a record is looked for: none is longer. */
const LONGEST_RECORD_BYTES = 1_020 * 1_024 * 1_024;

/** Where a walk stands: all before `end` is whole. */
export interface WalkedTo {
  end: number;
  /** Where the last record begins; null before the first. */
  previous: number | null;
  /** False when the walk stopped because it had gone as far as it may. */
  isEnd: boolean;
}

/** Where a record begins, not behind `lsn`, which is known to be in the log; null when the log is unreadable there. */
export function walkFrom(pages: LogPages, lsn: Lsn): WalkedTo | null {
  const known = Number(lsnBytes(lsn));
  const { pageBytes, segmentBytes } = pages;
  // The segment before may be gone already.
  if (known % segmentBytes === 0 && pages.page(known)?.continuedBytes === 0) return startAt(known);
  for (let address = pageOf(Math.max(0, known - 1), pageBytes); address >= 0; address -= pageBytes) {
    if (known - address > LONGEST_RECORD_BYTES) return null;
    const page = pages.page(address);
    // Nothing is written behind the record that ends a segment early.
    if (!page && address % segmentBytes === 0) return null;
    if (!page) continue;
    const first = address + page.headerBytes + aligned(page.continuedBytes);
    // A page that the record before fills to its end begins none.
    if (first < address + pageBytes && first <= Math.max(known, address + page.headerBytes)) return startAt(first);
  }
  return null;
}

function startAt(place: number): WalkedTo {
  return { end: place, previous: null, isEnd: false };
}

/** Walks on from `start`, over `limitBytes` at most and at least one record. */
export function walkOn(pages: LogPages, start: WalkedTo, limitBytes: number): WalkedTo {
  let { end, previous } = start;
  while (end - start.end < limitBytes) {
    const record = readRecord(pages, end, previous);
    if (!record) return { end, previous, isEnd: true };
    previous = record.begin;
    end = record.end;
  }
  return { end, previous, isEnd: false };
}

/** The end of a walk as the server names it. */
export function walkedLsn({ end }: WalkedTo): Lsn {
  return lsnOf(BigInt(end));
}

/** The record that begins at `from`, or behind the page header there; null when it is not whole. */
function readRecord(pages: LogPages, from: number, previous: number | null): { begin: number; end: number } | null {
  const { pageBytes } = pages;
  let address = pageOf(from, pageBytes);
  let page = pages.page(address);
  if (!page) return null;
  // A page that was begun for a record says so; otherwise its first record begins behind its header.
  const begin = from === address ? from + page.headerBytes : from;
  if (from === address && page.continuedBytes > 0) return null;
  let at = begin - address;
  const length = page.bytes.readUInt32LE(at);
  if (length < RECORD_HEADER_BYTES || length > LONGEST_RECORD_BYTES) return null;
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  let checksum = 0;
  for (let done = 0; ;) {
    const part = page.bytes.subarray(at, Math.min(pageBytes, at + length - done));
    if (done < RECORD_HEADER_BYTES) {
      part.copy(header, done);
      const isHeaderWhole = done + part.length >= RECORD_HEADER_BYTES;
      if (isHeaderWhole && !fitsBehind(header, previous, begin)) return null;
    }
    checksum = crc32c(part.subarray(Math.max(0, RECORD_HEADER_BYTES - done)), checksum);
    done += part.length;
    at += part.length;
    if (done === length) break;
    address += pageBytes;
    page = continuation(pages, address, length - done);
    if (!page) return null;
    at = page.headerBytes;
  }
  if (crc32c(header.subarray(0, CHECKSUM_AT), checksum) !== header.readUInt32LE(CHECKSUM_AT)) return null;
  const end = address + aligned(at);
  return { begin, end: isSwitch(header) ? nextSegment(end, pages.segmentBytes) : end };
}

function continuation(pages: LogPages, address: number, leftBytes: number): LogPage | null {
  const page = pages.page(address);
  return page?.continuedBytes === leftBytes ? page : null;
}

/** What lies in a recycled file has its place of before. */
function fitsBehind(header: Buffer, previous: number | null, begin: number): boolean {
  const stated = Number(header.readBigUInt64LE(PREVIOUS_AT));
  return previous === null ? stated < begin : stated === previous;
}

function isSwitch(header: Buffer): boolean {
  return header[MANAGER_AT] === 0 && ((header[INFO_AT] ?? 0) & KIND_MASK) === SWITCH_INFO;
}

function nextSegment(end: number, segmentBytes: number): number {
  return Math.ceil(end / segmentBytes) * segmentBytes;
}

function pageOf(place: number, pageBytes: number): number {
  return place - (place % pageBytes);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

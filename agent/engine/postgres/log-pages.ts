/** The write-ahead log in the files of `pg_wal`, page by page, as far as it is what its place says. */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";
import { HEAD_BYTES, parseHead, parseSegment, type SegmentHead } from "./rebuild-segments.ts";

/** So much is read at a time: the walk goes from page to page. */
const READ_BYTES = 1 << 20;
const SHORT_HEADER_BYTES = 24;
const LONG_HEADER_BYTES = 40;
const PAGE_SIZE_AT = 36;
/** The bits of a page's `xlp_info`. */
const FIRST_IS_CONTINUED = 0x1;
const LONG_HEADER = 0x2;
const KNOWN_BITS = 0xf;

export interface LogPage {
  /** The whole page, its header included. */
  bytes: Buffer;
  headerBytes: number;
  timeline: number;
  /** How much of the record that began before this page is still to come, on this page and after it; 0 when none is. */
  continuedBytes: number;
}

/** Places in the log are byte numbers: exact up to 2^53, which no server reaches. */
export class LogPages {
  readonly timeline: number;
  readonly segmentBytes: number;
  readonly pageBytes: number;
  readonly #directory: string;
  readonly #head: SegmentHead & { magic: number };
  #open: { number: number; fd: number } | null = null;
  #read: { from: number; bytes: Buffer } | null = null;

  private constructor(directory: string, timeline: number, head: SegmentHead & { magic: number; pageBytes: number }) {
    this.#directory = directory;
    this.#head = head;
    this.timeline = timeline;
    this.segmentBytes = head.segmentBytes;
    this.pageBytes = head.pageBytes;
  }

  /** Null where there is no segment of the timeline to tell what segments look like. The caller closes it. */
  static open(dataDirectory: string, timeline: number): LogPages | null {
    const directory = join(dataDirectory, "pg_wal");
    for (const file of readdirSync(directory)) {
      if (parseSegment(file, 1)?.timeline !== timeline || file.endsWith(".partial")) continue;
      const head = readHead(join(directory, file));
      if (head) return new LogPages(directory, timeline, head);
    }
    return null;
  }

  close(): void {
    if (this.#open) closeSync(this.#open.fd);
    this.#open = null;
    this.#read = null;
  }

  /** The page that begins at `address`; null when it was never written, or is of another place, server or future. */
  page(address: number): LogPage | null {
    const bytes = this.#bytesAt(address);
    if (!bytes || bytes.readUInt16LE(0) !== this.#head.magic) return null;
    const info = bytes.readUInt16LE(2);
    const timeline = bytes.readUInt32LE(4);
    const isFirst = address % this.segmentBytes === 0;
    if ((info & ~KNOWN_BITS) !== 0 || ((info & LONG_HEADER) !== 0) !== isFirst) return null;
    if (timeline > this.timeline || Number(bytes.readBigUInt64LE(8)) !== address) return null;
    if (isFirst && !this.#isOfThisServer(bytes)) return null;
    const continuedBytes = (info & FIRST_IS_CONTINUED) === 0 ? 0 : bytes.readUInt32LE(16);
    return { bytes, headerBytes: isFirst ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES, timeline, continuedBytes };
  }

  /** The log as it lies there, from `from` to before `until`; shorter where a file is missing or short. */
  raw(from: number, until: number): Buffer {
    const parts: Buffer[] = [];
    let at = from;
    while (at < until) {
      const start = at - (at % this.pageBytes);
      const page = this.#bytesAt(start);
      if (!page) break;
      const part = page.subarray(at - start, Math.min(this.pageBytes, until - start));
      parts.push(part);
      at += part.length;
    }
    return Buffer.concat(parts);
  }

  #isOfThisServer(bytes: Buffer): boolean {
    const head = parseHead(bytes);
    return head?.systemId === this.#head.systemId && head.segmentBytes === this.segmentBytes;
  }

  #bytesAt(address: number): Buffer | null {
    const { pageBytes } = this;
    const known = this.#read;
    if (!known || address < known.from || address + pageBytes > known.from + known.bytes.length) {
      this.#read = this.#readAt(address);
    }
    const { from, bytes } = this.#read ?? { from: address, bytes: Buffer.alloc(0) };
    const page = bytes.subarray(address - from, address - from + pageBytes);
    return page.length === pageBytes ? page : null;
  }

  #readAt(address: number): { from: number; bytes: Buffer } | null {
    const number = Math.floor(address / this.segmentBytes);
    const fd = this.#fileOf(number);
    if (fd === null) return null;
    const offset = address % this.segmentBytes;
    const bytes = Buffer.allocUnsafe(Math.min(READ_BYTES, this.segmentBytes - offset));
    return { from: address, bytes: bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, offset)) };
  }

  #fileOf(number: number): number | null {
    if (this.#open?.number === number) return this.#open.fd;
    this.close();
    const fd = openIfThere(join(this.#directory, segmentFile(this.timeline, number, this.segmentBytes)));
    if (fd !== null) this.#open = { number, fd };
    return fd;
  }
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** The name of the file that holds a segment of the log. */
export function segmentFile(timeline: number, number: number, segmentBytes: number): string {
  const perLog = 2 ** 32 / segmentBytes;
  const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, "0");
  return `${hex(timeline)}${hex(Math.floor(number / perLog))}${hex(number % perLog)}`;
}

/** Null also for one that has just been recycled. */
function readHead(path: string): (SegmentHead & { magic: number; pageBytes: number }) | null {
  const fd = openIfThere(path);
  if (fd === null) return null;
  try {
    const bytes = Buffer.alloc(HEAD_BYTES);
    const head = readSync(fd, bytes, 0, HEAD_BYTES, 0) === HEAD_BYTES ? parseHead(bytes) : null;
    const pageBytes = bytes.readUInt32LE(PAGE_SIZE_AT);
    const isSound = pageBytes >= 1_024 && head !== null && head.segmentBytes % pageBytes === 0;
    return isSound ? { ...head, magic: bytes.readUInt16LE(0), pageBytes } : null;
  } finally {
    closeSync(fd);
  }
}

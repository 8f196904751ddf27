/**
 * Gives a standby the end of a dead primary's log that no stream has brought it.
 *
 * The bytes go where a receiver would have put them: into the segments of `pg_wal`, behind what the standby has received.
 * A standby whose stream has ended looks there by itself, and at once when it is told to read its settings again. Whatever
 * ends this in the middle leaves what a broken stream leaves: a log with the beginning of a record at its end.
 */
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { LogPoint } from "#shared/domain/messages.ts";
import { lsnBytes, lsnOf, type Lsn, type Position } from "#shared/domain/position.ts";
import { writeAll, syncDirectory } from "../../whole-file.ts";
import type { TailRange } from "../engine.ts";
import { handToOwner } from "./durable-file.ts";
import { LogPages, segmentFile } from "./log-pages.ts";
import { Refusal, type Control } from "./steering.ts";

/** So much is asked for at a time. */
const PIECE_BYTES = 4 * 1_024 * 1_024;
/** A longer tail is no matter of moments. */
const LONGEST_TAIL_BYTES = 256 * 1_024 * 1_024;
const LOOK_EVERY_MS = 2;
/** The startup process may go to sleep right after it was told: it is told again after this long. */
const TELL_EVERY_MS = 25;
/** The server removes what carries this name when it starts. */
const TEMPORARY = "xlogtemp.interrex";

const STANDBY_SQL = `
  SELECT pg_is_in_recovery() AS in_recovery,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,
    EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming') AS streams`;

export interface Tail {
  /** How far the standby's own log reaches. */
  own: Position | null;
  until: LogPoint;
  /** Brings a piece; rejects when it cannot be had. */
  fetch: (range: TailRange) => Promise<Buffer>;
}

/**
 * Takes the tail, and waits until it is replayed; returns how many bytes it was. Fails with `not-in-recovery`,
 * `replay-paused`, `still-receiving`, `another-timeline`, `tail-too-long`, `tail-not-had`, `tail-differs`, `not-in-time`.
 */
export async function takeTail(control: Control, { own, until, fetch }: Tail): Promise<number> {
  await mustTake(control);
  if (own?.timeline !== until.timeline) {
    throw new Refusal("another-timeline", `the tail is of timeline ${until.timeline}: follow that one first`);
  }
  const [from, end] = [Number(lsnBytes(own.lsn)), Number(lsnBytes(until.lsn))];
  if (from >= end) return 0;
  if (end - from > LONGEST_TAIL_BYTES) throw new Refusal("tail-too-long", `${end - from} bytes are too many`);
  const pages = LogPages.open(control.options.dataDirectory, own.timeline);
  if (!pages) throw new Refusal("another-timeline", `no segment of timeline ${own.timeline} is there`);
  try {
    const overlap = from % pages.pageBytes;
    const tail = await fetchAll(control, { timeline: own.timeline, from: from - overlap, end, fetch });
    // The same place in two logs need not be of one log: its bytes tell.
    if (!pages.raw(from - overlap, from).equals(tail.subarray(0, overlap))) {
      throw new Refusal("tail-differs", `what lies before ${own.lsn} is not the same in both logs`);
    }
    writeLog(control.options.dataDirectory, pages, { at: from, bytes: tail.subarray(overlap) });
  } finally {
    pages.close();
  }
  await untilReplayed(control, until.lsn);
  return end - from;
}

async function mustTake({ connection, deadline }: Control): Promise<void> {
  const [row] = await connection.askWithin(STANDBY_SQL, deadline.remainingMs);
  if (row?.["in_recovery"] !== true) throw new Refusal("not-in-recovery", "the server is a primary");
  if (row["paused"] === true) throw new Refusal("replay-paused", "run pg_wal_replay_resume() first");
  if (row["streams"] === true) throw new Refusal("still-receiving", "the server streams: freeze it first");
}

async function fetchAll(
  { deadline, isCalledOff }: Control,
  { timeline, from, end, fetch }: { timeline: number; from: number; end: number; fetch: Tail["fetch"] },
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let at = from; at < end;) {
    if (deadline.isOver) throw new Refusal("not-in-time", "the tail did not come in time");
    if (isCalledOff()) throw new Refusal("called-off", "the server is being fenced");
    const bytes = Math.min(PIECE_BYTES, end - at);
    const piece = await had(fetch({ timeline, from: lsnOf(BigInt(at)), bytes, withinMs: deadline.remainingMs }));
    if (piece.length !== bytes) throw new Refusal("tail-not-had", `${piece.length} of ${bytes} bytes came`);
    pieces.push(piece);
    at += bytes;
  }
  return Buffer.concat(pieces);
}

async function had(piece: Promise<Buffer>): Promise<Buffer> {
  try {
    return await piece;
  } catch (error) {
    throw new Refusal("tail-not-had", error instanceof Error ? error.message : String(error));
  }
}

/** Earlier segments first: what is there is then always the beginning of the tail. */
function writeLog(dataDirectory: string, pages: LogPages, { at, bytes }: { at: number; bytes: Buffer }): void {
  const { segmentBytes, timeline } = pages;
  const directory = join(dataDirectory, "pg_wal");
  for (let done = 0; done < bytes.length;) {
    const place = at + done;
    const offset = place % segmentBytes;
    const part = bytes.subarray(done, done + segmentBytes - offset);
    const path = join(directory, segmentFile(timeline, Math.floor(place / segmentBytes), segmentBytes));
    if (existsSync(path)) writePart(path, "r+", { offset, part });
    else makeSegment(directory, { path, segmentBytes, offset, part });
    done += part.length;
  }
}

/** A segment appears whole: the server takes none that is shorter. */
function makeSegment(
  directory: string,
  { path, segmentBytes, offset, part }: { path: string; segmentBytes: number; offset: number; part: Buffer },
): void {
  const temporary = join(directory, TEMPORARY);
  writePart(temporary, "w", { offset, part, segmentBytes });
  renameSync(temporary, path);
  syncDirectory(directory);
}

function writePart(
  path: string,
  flags: "r+" | "w",
  { offset, part, segmentBytes }: { offset: number; part: Buffer; segmentBytes?: number },
): void {
  const fd = openSync(path, flags, 0o600);
  try {
    if (segmentBytes !== undefined) {
      handToOwner(fd, join(path, ".."));
      ftruncateSync(fd, segmentBytes);
    }
    writeAll(fd, part, offset);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

async function untilReplayed({ connection, deadline }: Control, until: Lsn): Promise<void> {
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const sql = "SELECT pg_last_wal_replay_lsn()::text AS replayed";
    const [row] = await connection.askWithin(sql, deadline.remainingMs);
    if (lsnBytes(String(row?.["replayed"])) >= lsnBytes(until)) return;
    if (deadline.isOver) throw new Refusal("not-in-time", `${String(row?.["replayed"])} of ${until} is replayed`);
    if (performance.now() - toldMs >= TELL_EVERY_MS) {
      toldMs = performance.now();
      await connection.askWithin("SELECT pg_reload_conf()", deadline.remainingMs);
    }
    await pause(LOOK_EVERY_MS);
  }
}

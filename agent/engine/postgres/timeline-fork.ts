/**
 * The log of a standby that was coming over to another timeline when it was cut off.
 *
 * Its receiver asks for a new timeline from the beginning of the segment in which it forks, though all before the fork is
 * there, under the old timeline's name. PostgreSQL takes each place of the log from the newest timeline that has a file for
 * it. So until that much has come again, the server cannot be promoted (PANIC: invalid magic number 0000 in WAL segment)
 * and cannot be started without a stream. What lies before a fork is one log by definition: it is copied.
 *
 * And a server knows of a timeline as soon as its history has come, however far it is from the fork. Promoted before it is
 * there, it would write a history whose forks go backwards, by which another's log counts as this one's though it is not.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { LogPoint } from "#shared/domain/messages.ts";
import { lsnBytes, lsnOf, type TimelineEnd } from "#shared/domain/position.ts";
import { syncDirectory, writeAll } from "../../whole-file.ts";
import { readControlFile } from "./control-file.ts";
import { historyFile, newestTimeline, TimelineHistories } from "./history.ts";
import { LogPages, segmentFile } from "./log-pages.ts";
import { walkFrom, walkOn } from "./log-walk.ts";

/** What a history file is called that the server is not to know of yet: it comes again with the stream. */
const SET_ASIDE = ".unreached";

/** A timeline that the server knows of. */
interface Fork {
  timeline: number;
  /** Where it begins, in bytes. */
  at: number;
  /** Whose log leads there: the oldest of those that end in that place. */
  parent: number;
  /** Those between the two that nothing was written in. */
  between: number[];
}

/**
 * Makes a server's log readable up to the fork of the newest timeline that it knows of. `known` is a place that its log
 * has reached. The server may run, as a standby that receives nothing. Returns that timeline when its fork is beyond the
 * log's end; null when all is well.
 */
export function mendFork(dataDirectory: string, known: LogPoint): { unreached: number } | null {
  const fork = newestFork(dataDirectory, known);
  if (!fork || (endNear(dataDirectory, fork.timeline, fork.at) ?? 0) >= fork.at) return null;
  const isThere = Number(lsnBytes(known.lsn)) === fork.at;
  const end = isThere ? fork.at : (endNear(dataDirectory, fork.parent, fork.at) ?? 0);
  if (end < fork.at) return { unreached: fork.timeline };
  // A log that goes on beyond the fork is another: the server will not come over by itself.
  if (end === fork.at) for (const timeline of [...fork.between, fork.timeline]) complete(dataDirectory, fork, timeline);
  return null;
}

/** The same for a server that is down, which then also forgets the timelines whose forks are beyond its log's end. */
export function mendForksAtRest(dataDirectory: string): void {
  const known = reachedAtRest(dataDirectory);
  if (!known) return;
  const directory = join(dataDirectory, "pg_wal");
  for (let left = mendFork(dataDirectory, known); left !== null; left = mendFork(dataDirectory, known)) {
    const path = join(directory, historyFile(left.unreached));
    renameSync(path, path + SET_ASIDE);
    syncDirectory(directory);
  }
}

/** The later of the two places that the control file tells of. */
function reachedAtRest(dataDirectory: string): LogPoint | null {
  const file = readControlFile(dataDirectory);
  if (!file?.minRecovery) return file?.checkpoint ?? null;
  const { checkpoint, minRecovery } = file;
  return lsnBytes(minRecovery.lsn) > lsnBytes(checkpoint.lsn) ? minRecovery : checkpoint;
}

/** Null when the log is beyond it, and when it is no descendant's. */
function newestFork(dataDirectory: string, known: LogPoint): Fork | null {
  const timeline = newestTimeline(dataDirectory);
  const history = new TimelineHistories(dataDirectory).before(timeline);
  const last = history.at(-1);
  if (!last || !leadsThrough(history, known.timeline, timeline)) return null;
  const at = Number(lsnBytes(last.endLsn));
  if (Number(lsnBytes(known.lsn)) > at) return null;
  const [parent, ...between] = history
    .filter(({ endLsn }) => Number(lsnBytes(endLsn)) === at)
    .map((entry) => entry.timeline);
  return parent === undefined ? null : { timeline, at, parent, between };
}

function leadsThrough(history: readonly TimelineEnd[], known: number, timeline: number): boolean {
  return known === timeline || history.some((entry) => entry.timeline === known);
}

/** How far a timeline's files go on without a gap from around `place`, in bytes; null when they have nothing there. */
function endNear(dataDirectory: string, timeline: number, place: number): number | null {
  return withPages(dataDirectory, timeline, (pages) => {
    const start = walkFrom(pages, lsnOf(BigInt(place)));
    return start && walkOn(pages, start, place - start.end + 1).end;
  });
}

/** Copies what lies before the fork into the timeline's segment of it, where there is one. */
function complete(dataDirectory: string, { parent, at }: Fork, timeline: number): void {
  withPages(dataDirectory, parent, (pages) => {
    const { segmentBytes } = pages;
    const begin = at - (at % segmentBytes);
    const path = join(dataDirectory, "pg_wal", segmentFile(timeline, begin / segmentBytes, segmentBytes));
    const bytes = pages.raw(begin, at);
    if (begin === at || bytes.length < at - begin || !existsSync(path)) return null;
    const fd = openSync(path, "r+");
    try {
      writeAll(fd, bytes, 0);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    return null;
  });
}

function withPages<T>(dataDirectory: string, timeline: number, work: (pages: LogPages) => T): T | null {
  const pages = LogPages.open(dataDirectory, timeline);
  if (!pages) return null;
  try {
    return work(pages);
  } finally {
    pages.close();
  }
}

/**
 * Keeps aside the log that a rebuild gives up: nobody's transactions disappear without a trace (SPEC: G5).
 *
 * Read from the files alone, with the server up or down, and before anything else is done: a start and an orderly stop may
 * already recycle segments that are wanted here.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { LogPoint } from "#shared/domain/messages.ts";
import { Deadline } from "./deadline.ts";
import { writeDurably } from "./durable-file.ts";
import { runProgram } from "./rebuild-command.ts";
import { copyConfiguration, copyDurably, makePrivate } from "./rebuild-files.ts";
import {
  HEAD_BYTES,
  isWritten,
  parseHead,
  parseSegment,
  segmentsFrom,
  startOf,
  type Segment,
  type SegmentHead,
} from "./rebuild-segments.ts";
import { Refusal } from "./steering.ts";
import { syncDirectory } from "../../whole-file.ts";

const LISTING_TIMEOUT_MS = 60_000;
/** Some hundred bytes each: enough to see what was lost, not so much as to fill the disk. */
const LISTED_RECORDS = 100_000;

export interface LogToKeep {
  dataDirectory: string;
  binDirectory: string;
  /** Where the directories of kept logs lie; made when it is not there. */
  keepDirectory: string;
  fork: LogPoint;
  /** How far the log is known to reach, if it is. */
  end: LogPoint | null;
  deadline: Deadline;
}

interface Chosen {
  segments: Segment[];
  systemId: string;
  segmentBytes: number;
}

/**
 * Copies the segments from the one that holds `fork` to the end, the timeline histories and the configuration into a new
 * directory, and returns it. Throws a Refusal `log-not-kept`, and leaves nothing behind then.
 */
export async function keepLog(wanted: LogToKeep): Promise<string> {
  const { keepDirectory, fork } = wanted;
  const moment = new Date().toISOString().replaceAll(/[-:.]/g, "");
  const directory = join(keepDirectory, `${moment}-${fork.timeline}-${fork.lsn.replace("/", "-")}`);
  try {
    const chosen = await choose(wanted);
    await mkdir(keepDirectory, { recursive: true, mode: 0o700 });
    await makePrivate(directory);
    await copyAll(wanted, chosen, directory);
    await listRecords(wanted, chosen, directory);
    writeDurably(join(directory, "README"), readme(wanted, chosen));
    syncDirectory(keepDirectory);
    syncDirectory(dirname(keepDirectory));
    return directory;
  } catch (error) {
    await discardLog(directory);
    if (error instanceof Refusal) throw error;
    throw new Refusal("log-not-kept", `${(error as Error).message}: free the way for ${directory} and try again`);
  }
}

/** Removes a kept log that was not given up after all. */
export async function discardLog(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

async function choose({ dataDirectory, fork, end }: LogToKeep): Promise<Chosen> {
  const wal = join(dataDirectory, "pg_wal");
  const written: Segment[] = [];
  let first: SegmentHead | null = null;
  for (const file of readdirSync(wal).filter((name) => parseSegment(name, 1) !== null)) {
    const head = await readHead(join(wal, file));
    if (!head) continue;
    const segment = parseSegment(file, head.segmentBytes);
    if (!segment || !isWritten(segment, head)) continue;
    first ??= head;
    written.push(segment);
  }
  if (!first) throw new Refusal("log-not-kept", `${wal} holds no segment of the log: put the server's own back there`);
  const { segmentBytes, systemId } = first;
  const range = segmentsFrom(written, { fork, end: end?.lsn ?? null, segmentBytes });
  if ("found" in range) return { segments: range.found, segmentBytes, systemId };
  const missing = startOf({ file: "", timeline: fork.timeline, number: range.missing }, segmentBytes);
  throw new Refusal(
    "log-not-kept",
    `the segment of the log that begins at ${missing} is not in ${wal}: put it back there, from the archive, and try again`,
  );
}

async function readHead(path: string): Promise<SegmentHead | null> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await file.read(buffer, 0, HEAD_BYTES, 0);
    return parseHead(buffer.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}

async function copyAll({ dataDirectory, deadline }: LogToKeep, { segments }: Chosen, directory: string): Promise<void> {
  const wal = join(dataDirectory, "pg_wal");
  const histories = readdirSync(wal).filter((name) => /^[0-9A-F]{8}\.history$/.test(name));
  await makePrivate(join(directory, "wal"));
  for (const file of [...segments.map((segment) => segment.file), ...histories]) {
    if (deadline.isOver) throw new Refusal("log-not-kept", "copying it took all the time there was: allow more");
    await copyDurably(join(wal, file), join(directory, "wal", file));
  }
  syncDirectory(join(directory, "wal"));
  await makePrivate(configurationOf(directory));
  await copyConfiguration(dataDirectory, configurationOf(directory));
}

/** Where beside a kept log the configuration of its server lies. */
export function configurationOf(directory: string): string {
  return join(directory, "configuration");
}

/** For people; a listing that cannot be made takes nothing from the log itself. */
async function listRecords(
  { binDirectory, fork, deadline }: LogToKeep,
  { segments, segmentBytes }: Chosen,
  directory: string,
): Promise<void> {
  const path = join(binDirectory, "pg_waldump");
  if (!existsSync(path)) return;
  const whole = segments.filter(({ file }) => !file.endsWith(".partial"));
  for (const timeline of new Set(whole.map((segment) => segment.timeline))) {
    const first = whole.find((segment) => segment.timeline === timeline);
    const begin = first && first.number > (whole[0]?.number ?? 0n) ? startOf(first, segmentBytes) : fork.lsn;
    const listing = await open(join(directory, `records-of-timeline-${timeline}.txt`), "wx", 0o600);
    try {
      const words = ["--path", join(directory, "wal"), "--timeline", String(timeline), "--start", begin];
      await runProgram({
        path,
        args: [...words, "--limit", String(LISTED_RECORDS)],
        account: null,
        workingDirectory: directory,
        stdout: listing.fd,
        deadline: new Deadline(Math.min(LISTING_TIMEOUT_MS, deadline.remainingMs)),
      });
      await listing.sync();
    } finally {
      await listing.close();
    }
  }
}

function readme({ fork, end, dataDirectory }: LogToKeep, { segments, systemId, segmentBytes }: Chosen): string {
  const last = segments.at(-1);
  const reaches = end
    ? `at least ${end.lsn} on timeline ${end.timeline}`
    : `in the segment that begins at ${last ? startOf(last, segmentBytes) : fork.lsn}`;
  const bytes = segments.reduce((sum, { file }) => sum + statSync(join(dataDirectory, "pg_wal", file)).size, 0);
  return `This is a piece of a PostgreSQL server's write-ahead log, kept before the server was laid out anew.

The server had gone its own way: what it wrote after the fork is not on the primary that reigned
when this was kept. Nothing has been merged; whether anything here is wanted is for you to judge.

data directory     ${dataDirectory}
system identifier  ${systemId}
fork               ${fork.lsn} on timeline ${fork.timeline}
end of the log     ${reaches}
segments           ${segments.length}, ${bytes} bytes, in wal/

To read it, with the pg_waldump of the server's own major version:

  pg_waldump --path wal --timeline ${last?.timeline ?? fork.timeline} --start ${fork.lsn}

The files records-of-timeline-*.txt, where there are any, are what that said, up to ${LISTED_RECORDS} records; an
error in the end is only the end of the log. The server's configuration files are in configuration/.
Delete this directory when nobody needs it any more: Interrex never does.
`;
}

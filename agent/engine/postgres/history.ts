/** The timelines that a server came from, as its `pg_wal` tells. */
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { TimelineEnd } from "#shared/domain/position.ts";
import { readIfThere, writeDurably } from "./durable-file.ts";
import { syncDirectory } from "../../whole-file.ts";

/** The entries of a history file, oldest first. */
export function parseHistory(text: string): TimelineEnd[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    return match?.[2] ? [{ timeline: Number(match[1]), endLsn: match[2] }] : [];
  });
}

/** Histories by timeline: a timeline's past never changes while its server runs. */
export class TimelineHistories {
  readonly #directory: string;
  readonly #known = new Map<number, TimelineEnd[]>();

  constructor(dataDirectory: string) {
    this.#directory = join(dataDirectory, "pg_wal");
  }

  /** The timelines before `timeline`; empty for the first, and while the file has not arrived. */
  before(timeline: number): TimelineEnd[] {
    if (timeline === 1) return [];
    const known = this.#known.get(timeline);
    if (known) return known;
    const text = readIfThere(join(this.#directory, historyFile(timeline)));
    const history = text === null ? [] : parseHistory(text);
    if (history.length > 0) this.#known.set(timeline, history);
    return history;
  }

  /** A server that was down may have been rewound or cloned meanwhile. */
  forget(): void {
    this.#known.clear();
  }
}

/** A file each, on the disk before the promotion: what a coordinator asks for beyond that is a fault of its own. */
const MOST_RESERVED = 10_000;

/**
 * Takes the timeline numbers from the server's own up to `below` out of use, by history files without entries: a
 * promotion draws the first number that has no file. They stay: a standby that comes over asks for each one in between.
 * Throws when there are more than anybody can have used.
 */
export function reserveTimelines(dataDirectory: string, { above, below }: { above: number; below: number }): void {
  const directory = join(dataDirectory, "pg_wal");
  const own = Math.max(above, ...knownTimelines(directory).map(({ timeline }) => timeline));
  if (below - own > MOST_RESERVED)
    throw new Error(`timeline ${below} is out of reach for a server that knows of ${own}`);
  for (let timeline = own + 1; timeline < below; timeline += 1)
    writeDurably(join(directory, historyFile(timeline)), "");
}

/**
 * Deletes reserved numbers that no real timeline has passed: a promotion that never came has left them, and they are
 * fatal to the next start. The server itself never writes a history without entries.
 */
export function deleteReservedTimelines(dataDirectory: string): void {
  const directory = join(dataDirectory, "pg_wal");
  const known = knownTimelines(directory);
  const highest = Math.max(0, ...known.filter(({ isReal }) => isReal).map(({ timeline }) => timeline));
  const left = known.filter(({ timeline, isReal }) => !isReal && timeline > highest);
  for (const { timeline } of left) unlinkSync(join(directory, historyFile(timeline)));
  if (left.length > 0) syncDirectory(directory);
}

/** The newest timeline that a server knows of by its history; 1 when there is none. */
export function newestTimeline(dataDirectory: string): number {
  const real = knownTimelines(join(dataDirectory, "pg_wal")).filter(({ isReal }) => isReal);
  return Math.max(1, ...real.map(({ timeline }) => timeline));
}

function knownTimelines(directory: string): { timeline: number; isReal: boolean }[] {
  return readdirSync(directory)
    .filter((name) => /^[0-9A-F]{8}\.history$/.test(name))
    .map((name) => ({
      timeline: Number.parseInt(name, 16),
      isReal: parseHistory(readIfThere(join(directory, name)) ?? "1 0/0").length > 0,
    }));
}

/** The name of the file that tells what a timeline came from. */
export function historyFile(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, "0")}.history`;
}

/** The timelines that a server came from, as its `pg_wal` tells. */
import { readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { TimelineEnd } from "#shared/domain/position.ts";
import { readIfThere, syncDirectory } from "./durable-file.ts";

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

/**
 * Deletes history files without entries. The server itself never writes one; they reserve timeline numbers around a
 * promotion, and one that is left over is fatal to the next start.
 */
export function deleteReservedTimelines(dataDirectory: string): void {
  const directory = join(dataDirectory, "pg_wal");
  const reserved = readdirSync(directory)
    .filter((name) => /^[0-9A-F]{8}\.history$/.test(name))
    .filter((name) => parseHistory(readIfThere(join(directory, name)) ?? "1 0/0").length === 0);
  for (const name of reserved) unlinkSync(join(directory, name));
  if (reserved.length > 0) syncDirectory(directory);
}

function historyFile(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, "0")}.history`;
}

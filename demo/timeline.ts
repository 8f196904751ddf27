/** Where the milliseconds of one run go: the coordinator's own events, counted from what was done to it. */
import type { EventLine } from "#shared/protocol/api.ts";

export interface TimelineEntry {
  /** Milliseconds after the fault, or the command. */
  afterMs: number;
  text: string;
}

/** The events since then in words, with what happened outside the coordinator among them, oldest first. */
export function timelineOf(
  events: readonly EventLine[],
  beganWallMs: number,
  others: readonly TimelineEntry[],
): TimelineEntry[] {
  const told = events.map(({ wallMs, kind, data }) => ({
    afterMs: wallMs - beganWallMs,
    text: `${kind} ${inWords(data)}`.trim(),
  }));
  return [...told, ...others].toSorted((a, b) => a.afterMs - b.afterMs);
}

/** One line an entry, the numbers aligned. */
export function renderTimeline(entries: readonly TimelineEntry[]): string {
  return entries.map(({ afterMs, text }) => `${afterMs.toFixed(0).padStart(7)} ms  ${text}\n`).join("");
}

function inWords(data: Record<string, unknown>): string {
  return Object.entries(data)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}

/** Where the milliseconds of one failover go: the coordinator's own events, counted from the fault. */
import type { EventLine } from "#shared/protocol/api.ts";

export interface TimelineEntry {
  /** Milliseconds after the fault. */
  afterMs: number;
  text: string;
}

/** The events after the fault in words, with the client's first acknowledgement among them, oldest first. */
export function timelineOf(events: readonly EventLine[], faultWallMs: number, firstAckMs: number): TimelineEntry[] {
  const told = events.map(({ wallMs, kind, data }) => ({
    afterMs: wallMs - faultWallMs,
    text: `${kind} ${inWords(data)}`.trim(),
  }));
  const entries = [...told, { afterMs: firstAckMs, text: "the client's first acknowledged write" }];
  return entries.toSorted((a, b) => a.afterMs - b.afterMs);
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

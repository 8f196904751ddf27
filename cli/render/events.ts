/** One event, one line. */
import type { EventLine } from "#shared/protocol/api.ts";
import { plain } from "./plain.ts";
import { logTime } from "./time.ts";

/** `12 2025-01-27 13:51:23.042 UTC failover-started cause=server-died deposed=db1`: the keys in order, so that lines compare. */
export function renderEvent(event: EventLine): string {
  const words = sortedEntries(event.data).map(([key, value]) => `${plain(key)}=${renderValue(value)}`);
  return [String(event.id), logTime(event.wallMs), plain(event.kind), ...words].join(" ");
}

/** `failed-over-to(to=db3)`: a typed reason by its kind, other objects in braces, words without quotes. */
function renderValue(value: unknown): string {
  if (typeof value === "string") return renderText(value);
  if (Array.isArray(value)) return `[${value.map(renderValue).join(",")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const { kind, ...rest } = value as Record<string, unknown>;
  const isTyped = typeof kind === "string";
  const parts = sortedEntries(isTyped ? rest : (value as Record<string, unknown>)).map(
    ([key, each]) => `${plain(key)}=${renderValue(each)}`,
  );
  if (!isTyped) return `{${parts.join(",")}}`;
  return parts.length === 0 ? renderText(kind) : `${renderText(kind)}(${parts.join(",")})`;
}

function renderText(text: string): string {
  return /^[\w.:/@+-]+$/.test(text) ? text : plain(JSON.stringify(text));
}

function sortedEntries(data: Record<string, unknown>): [string, unknown][] {
  return Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1));
}

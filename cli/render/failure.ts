/** A failure for people and for scripts. */
import type { FailureParts } from "../failure.ts";
import { plain } from "./plain.ts";

/** `ERROR: detail (code)` and, below, what to do. Ends in a newline. */
export function renderFailure({ code, detail, remedy }: FailureParts): string {
  const advice = remedy === "" ? "" : `  ${plain(remedy)}\n`;
  return `ERROR: ${plain(detail)} (${code})\n${advice}`;
}

/** The same as one line of JSON. */
export function renderFailureJson(parts: FailureParts): string {
  return `${JSON.stringify({ error: parts })}\n`;
}

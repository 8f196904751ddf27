/** What was typed at the prompt, kept between sessions. */
import { readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export const HISTORY_LINES = 500;

/** Newest first, as readline wants it; empty when there is none to read. */
export function readHistory(): string[] {
  try {
    return readFileSync(historyPath(), "utf8").split("\n").filter(Boolean).toReversed();
  } catch {
    return [];
  }
}

/** Keeps the history, newest first; a line with a token in it is not kept. A home that cannot be written keeps none. */
export function writeHistory(history: readonly string[]): void {
  const kept = history.filter((line) => !/--token\b(?!-)/.test(line)).slice(0, HISTORY_LINES);
  try {
    writeFileSync(
      historyPath(),
      kept
        .toReversed()
        .map((line) => `${line}\n`)
        .join(""),
      { mode: 0o600 },
    );
  } catch {
    return;
  }
}

function historyPath(): string {
  return join(homedir(), ".rex_history");
}

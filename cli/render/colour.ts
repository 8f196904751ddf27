/** Colours of the STATUS words. */
import type { DatasourceStatus } from "#shared/protocol/api.ts";

type Word = DatasourceStatus["status"];

const SGR: Record<Word, number> = { ok: 32, diminished: 33, warn: 33, critical: 31, shunned: 35 };

/** `text` in the colour of `word`, between codes that take no room. */
export function colour(word: Word, text: string): string {
  return `\u001b[${SGR[word]}m${text}\u001b[0m`;
}

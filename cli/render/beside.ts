/** What is said beside the status screen, whose bytes scripts know: one line, and none where all is as usual. */
import type { Status } from "#shared/protocol/api.ts";

/** What the founding waits for, and what is promised of acknowledged commits where that is more than nothing. */
export function renderBeside({ founding, durability }: Status): string {
  // Before the founding nobody has written anything that could be promised.
  if (founding !== null) return `Not founded yet: ${founding.detail}.\n`;
  return isPlain(durability) ? "" : `Durability: ${promiseOf(durability)}.\n`;
}

function isPlain({ mode, goal, settled }: Status["durability"]): boolean {
  return mode === "async" && goal === "async" && settled;
}

function promiseOf({ mode, goal, k, members, settled }: Status["durability"]): string {
  const now = mode === "async" ? "async" : syncOf(k, members, settled);
  if (goal !== mode) return `${now}; it is being changed to ${goal}`;
  // What was acknowledged before the change is asked about until every replica has it.
  return mode === "async" && !settled ? "async; what was acknowledged while it was sync is still looked after" : now;
}

function syncOf(k: number, members: readonly string[], isSettled: boolean): string {
  if (k === 0) return "sync, but no replica acknowledges: a failover may lose commits";
  const who = `sync, ${k} of ${members.join(", ")} acknowledge every commit`;
  return isSettled ? who : `${who}; others may still be asked about earlier ones`;
}

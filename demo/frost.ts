/** Processes that are made to stand still, and to go on: what a paused virtual machine is to those around it. */
import { randomInt } from "node:crypto";
import { processState } from "../agent/engine/postgres/processes.ts";
import { until } from "./until.ts";

const FREEZE_MS = 5_000;
const LOOK_EVERY_MS = 1;

/** SIGSTOP to all that `find` finds, until all of them stand still: a process may be born between two looks. Returns them. */
export function freezeAll(what: string, find: () => number[]): Promise<number[]> {
  return until(what, { deadlineMs: FREEZE_MS, everyMs: LOOK_EVERY_MS }, () => {
    const pids = find();
    const moving = pids.filter((pid) => processState(pid) !== "T");
    for (const pid of moving) send(pid, "SIGSTOP");
    return moving.length === 0 ? { found: pids } : { missing: `processes ${moving.join(", ")} still move` };
  });
}

/** SIGCONT to each, in an order that nobody can rely upon. */
export function thawAll(pids: readonly number[]): void {
  for (const pid of shuffled(pids)) send(pid, "SIGCONT");
}

function shuffled(pids: readonly number[]): number[] {
  const left = [...pids];
  return pids.flatMap(() => left.splice(randomInt(left.length), 1));
}

function send(pid: number, signal: "SIGSTOP" | "SIGCONT"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** A task of the member's machine, in the engine's words. */
import { randomUUID } from "node:crypto";
import type { Task } from "#shared/core/member/state.ts";
import type { Engine, EngineOutcome, MayOpen, TailRange } from "./engine.ts";

type FetchTailTask = Extract<Task, { kind: "fetch-tail" }>;
/** Brings a piece of the log that the task names from its peer. */
export type FetchTail = (task: FetchTailTask, range: TailRange) => Promise<Buffer>;

/** What a task needs besides the engine. */
export interface Means {
  fetchTail: FetchTail;
  mayOpen: MayOpen;
}

/** Has `engine` do what `task` asks. A rebuild that succeeded yields the name of the new data incarnation. */
export async function carryOut(engine: Engine, task: Task, { fetchTail, mayOpen }: Means): Promise<EngineOutcome> {
  switch (task.kind) {
    case "adopt": {
      const may = await mayOpen();
      return may.ok ? engine.adopt(task.deadlineMs) : may;
    }
    case "promote":
      return engine.promote(task.timeline, task.deadlineMs, mayOpen);
    case "freeze":
      return engine.freeze(task.deadlineMs);
    case "start":
      return engine.start(task.deadlineMs);
    case "follow":
      return engine.follow(task.upstream, task.deadlineMs);
    case "fence":
      return engine.fence(fenceLimits(task));
    case "settle":
      return engine.settle(task.deadlineMs);
    case "prepare":
      return engine.prepareStop(task.deadlineMs);
    case "shut":
      return engine.shut(task);
    case "reopen":
      return engine.reopen(task.deadlineMs);
    case "ask-upstream":
      return engine.askUpstream(task.upstream, task.deadlineMs);
    case "sync":
      return engine.sync(task.set, task.deadlineMs);
    case "fetch-tail":
      return engine.takeTail(task.until, (range) => fetchTail(task, range), task.deadlineMs);
    case "rebuild": {
      const outcome = await engine.rebuild(task.upstream, task.fork, task.deadlineMs);
      return outcome.ok ? { ...outcome, value: randomUUID() } : outcome;
    }
  }
}

/**
 * How a fence divides its time: a third of the deadline for each of fast stop, immediate stop and SIGKILL, of which the
 * fast stop gets the whole patience when that is longer.
 */
export function fenceLimits({ patienceMs, deadlineMs }: { patienceMs: number; deadlineMs: number }): {
  fastMs: number;
  killMs: number;
  deadlineMs: number;
} {
  const thirdMs = deadlineMs / 3;
  const fastMs = Math.max(thirdMs, patienceMs);
  return { fastMs, killMs: fastMs + thirdMs, deadlineMs: fastMs + 2 * thirdMs };
}

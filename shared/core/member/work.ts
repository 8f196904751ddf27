/** One step of the member's machine in the making; the same manner as the coordinator's. */
import type { Clocks } from "../../domain/clocks.ts";
import { type CommandResult, MOST_TOLD, type ReleaseCause } from "../../domain/messages.ts";
import type { Epoch } from "../../domain/reign.ts";
import type {
  MemberDurable,
  MemberEffect,
  MemberLive,
  MemberPhase,
  MemberReason,
  MemberState,
  Running,
  Task,
} from "./state.ts";

/** How many answers to commands are kept in each poll. */
const RESULTS_KEPT = 8;

export interface Work {
  durable: MemberDurable;
  phase: MemberPhase;
  live: MemberLive;
  clocks: Clocks;
  effects: MemberEffect[];
  reasons: MemberReason[];
}

export function beginWork(state: MemberState, clocks: Clocks): Work {
  return { ...state, clocks, effects: [], reasons: [] };
}

export function setDurable(work: Work, patch: Partial<MemberDurable>): void {
  work.durable = { ...work.durable, ...patch };
}

/** Has the coordinator hear of this at once; the others too, unless it is about this host alone. */
export function pollNow(work: Work, concernsOthers = true): void {
  const known = work.effects.find((effect) => effect.kind === "poll");
  if (known && (known.concernsOthers || !concernsOthers)) return;
  work.effects = [...work.effects.filter((effect) => effect !== known), { kind: "poll", concernsOthers }];
}

/**
 * In MAINTENANCE a server that ended was probably ended by its operator, who may be starting it again at this moment:
 * what is left of its former life must end, the new one is left alone. Not where an opening was begun and never seen to
 * end: a server found read-only then may be the very one that was asked for it, and opens a moment later.
 */
function mustBeGentle({ durable }: Work, cause: ReleaseCause): boolean {
  const isOpened = durable.opened >= durable.attempted;
  return durable.policy === "maintenance" && isOpened && (cause === "server-died" || cause === "found-in-recovery");
}

/** The task that makes sure of the end of a server's life as a primary. */
export function fenceTask(work: Work, isGentle: boolean, patienceMs: number): TaskOf {
  const deadlineMs = work.live.fenceMs;
  return isGentle ? { kind: "settle", deadlineMs } : { kind: "fence", patienceMs, deadlineMs };
}

type TaskOf = Task extends infer T ? (T extends Task ? Omit<T, "id"> : never) : never;

/** Hands a task to the engine; returns its id. */
export function startTask(work: Work, task: TaskOf): number {
  const id = work.live.nextTaskId;
  work.live = { ...work.live, nextTaskId: id + 1 };
  work.effects.push({ kind: "run", task: { ...task, id } });
  return id;
}

/** Hands over what the phase waits for. Of the command it answers only the reference is kept: that is what results carry. */
export function run(work: Work, task: TaskOf, command: Running["command"]): Running {
  const id = startTask(work, task);
  return { id, kind: task.kind, command: command && { id: command.id, op: command.op } };
}

/** From here on the agent no longer only observes: its read-only server is a member's. */
export function beFounded(work: Work): void {
  setDurable(work, { founded: true });
  work.phase = { kind: "closed", running: null, queued: null };
  work.reasons.push({ kind: "founded" });
}

/**
 * Puts a result where every poll lists it, in place of an earlier one of the same command. What a program said at length is
 * cut: a poll that is too long is refused, and so would be every one after it.
 */
export function noteResult(work: Work, result: CommandResult): void {
  const others = work.live.results.filter((entry) => entry.id !== result.id);
  const [value, detail] = [shortened(result.value, MOST_TOLD.value), shortened(result.detail, MOST_TOLD.detail)];
  work.live = { ...work.live, results: [...others, { ...result, value, detail }].slice(-RESULTS_KEPT) };
}

/** The beginning says what it was, the end how it ended. */
function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.floor(most / 4);
  return `${text.slice(0, head)}${GAP}${text.slice(text.length - (most - head - GAP.length))}`;
}

const GAP = " ... ";

/** A result that the coordinator should hear at once. */
export function answer(work: Work, result: CommandResult): void {
  noteResult(work, result);
  pollNow(work);
}

/**
 * Shuts the server. From here only the certainty that it cannot write leads on; `releases` is what is vouched for then.
 * The command whose task is overtaken is answered: left "accepted", it would be waited for and never given again.
 */
export function fence(
  work: Work,
  how: {
    releases: Epoch;
    cause: ReleaseCause;
    restart: boolean;
    command: Running["command"];
    /** How long an orderly stop may take before it is hurried; 0 when left out. */
    patienceMs?: number;
  },
): void {
  const { phase } = work;
  const overtaken =
    phase.kind === "closed" || phase.kind === "opening" || phase.kind === "open" ? phase.running?.command : null;
  if (overtaken) answer(work, { ...overtaken, outcome: "failed", code: "fenced", value: "", detail: "" });
  const isGentle = mustBeGentle(work, how.cause);
  const running = run(work, fenceTask(work, isGentle, how.patienceMs ?? 0), how.command);
  const { releases, cause, restart } = how;
  work.phase = { kind: "fencing", releases, cause, running, restart, isGentle };
  work.reasons.push({ kind: "fencing", releases: how.releases, cause: how.cause });
}

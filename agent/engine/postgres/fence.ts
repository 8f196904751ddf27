/** Ends a server for certain. */
import { setTimeout as pause } from "node:timers/promises";
import type { EngineOutcome } from "../engine.ts";
import { readControlFile } from "./control-file.ts";
import { Deadline } from "./deadline.ts";
import { CannotSeeProcesses, isServerOf, postmasterSeen, processState, serverProcesses, signal } from "./processes.ts";

const LOOK_EVERY_MS = 3;
const LOOK_AT_ALL_EVERY_MS = 30;
/** How long the streams may go on once the server has written its last record: a replica that hangs holds up nobody. */
const STREAMS_GRACE_MS = 200;

export interface FenceLimits {
  /** From here on an immediate stop. */
  fastMs: number;
  /** From here on SIGKILL. */
  killMs: number;
  deadlineMs: number;
}

type Stage = "fast" | "immediate" | "kill";

/**
 * Fast stop, immediate stop, SIGKILL of every process; ok only when none is left. The fast stop comes first because it
 * turns clients away at once and lets the replicas have the rest of the log.
 */
export async function fenceServer(dataDirectory: string, limits: FenceLimits): Promise<EngineOutcome> {
  const deadline = new Deadline(limits.deadlineMs);
  let told: Stage | null = null;
  let emptyScans = 0;
  let pids: number[] = [];
  let streamsUntilMs: number | null = null;
  do {
    try {
      // A stop in good order ends with the postmaster: until then a look at all processes would only take time from it.
      if (told === "fast") await untilPostmasterEnds(dataDirectory, LOOK_AT_ALL_EVERY_MS);
      pids = serverProcesses(dataDirectory);
    } catch (error) {
      if (error instanceof CannotSeeProcesses) return stopUnseen(dataDirectory, error);
      throw error;
    }
    // One scan of the process table is no snapshot: a child may be born behind it while its parent dies before it.
    emptyScans = pids.length === 0 ? emptyScans + 1 : 0;
    if (emptyScans === 2) return { ok: true };
    if (emptyScans === 0) {
      const elapsedMs = limits.deadlineMs - deadline.remainingMs;
      if (told === "fast" && streamsUntilMs === null && hasWrittenItsLast(dataDirectory)) {
        streamsUntilMs = elapsedMs + STREAMS_GRACE_MS;
      }
      const fastMs = Math.min(limits.fastMs, streamsUntilMs ?? limits.fastMs);
      const stage = stageAt(elapsedMs, { ...limits, fastMs });
      told = press(dataDirectory, { pids, stage, told });
      await pause(LOOK_EVERY_MS);
    }
  } while (!deadline.isOver);
  return { ok: false, code: "processes-left", detail: `still there after ${limits.deadlineMs} ms: ${pids.join(", ")}` };
}

async function untilPostmasterEnds(dataDirectory: string, patienceMs: number): Promise<void> {
  const pid = postmasterSeen(dataDirectory)?.pid ?? null;
  if (pid === null) return;
  const deadline = new Deadline(patienceMs);
  while (isServerOf(pid, dataDirectory) && !deadline.isOver) await pause(LOOK_EVERY_MS);
}

/** Whether the shutdown checkpoint is written: what is left then only sends it on. */
function hasWrittenItsLast(dataDirectory: string): boolean {
  return readControlFile(dataDirectory)?.state === "stopped";
}

/** Ends what the lock file names, and vouches for nothing: whether more of the server is left cannot be seen. */
function stopUnseen(dataDirectory: string, { message }: CannotSeeProcesses): EngineOutcome {
  const postmaster = postmasterSeen(dataDirectory);
  if (postmaster) signal(postmaster.pid, "SIGQUIT");
  return { ok: false, code: "cannot-see-processes", detail: message };
}

/** Kills every process of a server and its postmaster, in an order in which no new one can be born. */
export function killServer(dataDirectory: string): void {
  killAll(serverProcesses(dataDirectory), postmasterSeen(dataDirectory)?.pid ?? null);
}

function stageAt(elapsedMs: number, { fastMs, killMs }: FenceLimits): Stage {
  if (elapsedMs < fastMs) return "fast";
  return elapsedMs < killMs ? "immediate" : "kill";
}

/** Does what the stage asks, once; returns what the server has been told. */
function press(dataDirectory: string, at: { pids: number[]; stage: Stage; told: Stage | null }): Stage | null {
  const postmaster = postmasterSeen(dataDirectory)?.pid ?? null;
  // Orphans hear nobody, and a stopped postmaster passes nothing on: there is nothing to wait for.
  const isDeaf = postmaster === null || processState(postmaster) === "T";
  if (isDeaf || at.stage === "kill") {
    killAll(at.pids, postmaster);
    return "kill";
  }
  if (at.told !== at.stage) signal(postmaster, at.stage === "fast" ? "SIGINT" : "SIGQUIT");
  return at.stage;
}

function killAll(pids: number[], postmaster: number | null): void {
  if (postmaster !== null) signal(postmaster, "SIGSTOP");
  for (const pid of pids) if (pid !== postmaster) signal(pid, "SIGKILL");
  if (postmaster !== null) signal(postmaster, "SIGKILL");
}

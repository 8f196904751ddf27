/** Starts the server, read-only, as a process that outlives the agent. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, readSync, fstatSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { stepBack } from "../../priority.ts";
import type { EngineOutcome } from "../engine.ts";
import { writeConfiguration } from "./configuration.ts";
import type { Deadline } from "./deadline.ts";
import { ensureStandbySignal } from "./durable-file.ts";
import { mendForksAtRest } from "./timeline-fork.ts";
import { deleteReservedTimelines } from "./history.ts";
import type { PostgresOptions } from "./options.ts";
import { livingPostmaster, processState, readLockFile, serverProcesses } from "./processes.ts";

const LOOK_EVERY_MS = 5;
const RETRY_EVERY_MS = 100;
const LOG_TAIL_BYTES = 2_000;

/** Of the agent's environment the server gets only this: tokens and passwords are none of its business. */
const INHERITED_VARIABLES = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"];

export interface StartContext {
  options: PostgresOptions;
  deadline: Deadline;
  /** Asked before each attempt: a fence that began meanwhile ends the start. */
  isCalledOff: () => boolean;
  /** The server's process ended, at any time from now on. */
  onExit: () => void;
}

/** ok when the server says that it is ready; whether it is in recovery is for the caller to see. */
export async function startServer(context: StartContext): Promise<EngineOutcome> {
  const { options, deadline } = context;
  const postmaster = livingPostmaster(options.dataDirectory);
  if (postmaster && postmaster.status !== "stopping") return untilReady(options, deadline, () => false);
  let refusal: EngineOutcome = { ok: false, code: "predecessor-lives", detail: "no start was tried in time" };
  while (!deadline.isOver) {
    if (context.isCalledOff()) return { ok: false, code: "called-off", detail: "the server is being fenced" };
    const predecessor = predecessorOf(options.dataDirectory);
    if (predecessor === null) {
      const attempt = await startOnce(context);
      if (attempt.outcome.ok || !attempt.retry) return attempt.outcome;
      refusal = attempt.outcome;
    } else {
      refusal = { ok: false, code: "predecessor-lives", detail: `${predecessor} of the server before is not gone yet` };
    }
    await pause(Math.min(RETRY_EVERY_MS, deadline.remainingMs));
  }
  return refusal;
}

/**
 * Who would make the server refuse to start: a process of the last server, or its postmaster as a zombie, which still
 * looks alive to the server. Both end by themselves; the lock file is never touched.
 */
function predecessorOf(dataDirectory: string): string | null {
  const [left] = serverProcesses(dataDirectory);
  if (left !== undefined) return `process ${left}`;
  const lock = readLockFile(dataDirectory);
  return lock && processState(lock.pid) === "Z" ? `the unreaped postmaster ${lock.pid}` : null;
}

async function startOnce(context: StartContext): Promise<{ outcome: EngineOutcome; retry: boolean }> {
  const { options, deadline } = context;
  const log = openSync(options.logFile, "a+", 0o600);
  try {
    prepare(options);
    const beforeBytes = fstatSync(log).size;
    const child = spawnServer(options, log);
    let hasEnded = false;
    let notStarted: Error | null = null;
    const ended = () => {
      hasEnded = true;
      context.onExit();
    };
    child.once("exit", ended);
    child.once("error", (error) => {
      notStarted = error;
      ended();
    });
    const outcome = await untilReady(options, deadline, () => hasEnded);
    if (outcome.ok || !hasEnded) return { outcome, retry: false };
    // A lock or shared memory of the server before is refused only for as long as that one takes to disappear.
    const retry = predecessorOf(options.dataDirectory) !== null || lockHolderLives(options.dataDirectory);
    const detail = notStarted === null ? lastLines(log, beforeBytes) : String(notStarted);
    return { outcome: { ok: false, code: "exited", detail }, retry };
  } finally {
    closeSync(log);
  }
}

/** What helps a start and is not needed for one that streams. */
function tryTo({ log }: PostgresOptions, what: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    log.warn({ error: String(error) }, what);
  }
}

function prepare(options: PostgresOptions): void {
  const { dataDirectory } = options;
  writeConfiguration(dataDirectory, { kind: "unchanged" });
  // A timeline that is forgotten may leave reserved numbers above all real ones, so these go after it.
  tryTo(options, "forks cannot be mended", () => mendForksAtRest(dataDirectory));
  deleteReservedTimelines(dataDirectory);
  ensureStandbySignal(dataDirectory);
}

/** In a session of its own: what ends the agent must not end the database. Its working directory shows it to a fence at once. */
function spawnServer(options: PostgresOptions, log: number): ChildProcess {
  const { dataDirectory, binDirectory, port, socketDirectory, runAs, extraArguments = [] } = options;
  const settings = ["-p", String(port), "-k", socketDirectory];
  const child = spawn(join(binDirectory, "postgres"), ["-D", dataDirectory, ...settings, ...extraArguments], {
    cwd: dataDirectory,
    detached: true,
    stdio: ["ignore", log, log],
    env: Object.fromEntries(
      INHERITED_VARIABLES.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    ),
    ...runAs,
  });
  stepBack(child.pid);
  child.unref();
  return child;
}

/** The server says in its lock file when it takes connections: asking it by connecting would fill its log. */
async function untilReady(
  options: PostgresOptions,
  deadline: Deadline,
  hasEnded: () => boolean,
): Promise<EngineOutcome> {
  while (!deadline.isOver) {
    const postmaster = livingPostmaster(options.dataDirectory);
    if (postmaster?.status === "ready") return { ok: true };
    if (postmaster?.status === "stopping")
      return { ok: false, code: "stopping", detail: "the server is shutting down" };
    if (hasEnded()) return { ok: false, code: "exited", detail: "the server's process ended" };
    await pause(LOOK_EVERY_MS);
  }
  return { ok: false, code: "not-ready", detail: "the server did not accept connections in time" };
}

function lockHolderLives(dataDirectory: string): boolean {
  const lock = readLockFile(dataDirectory);
  return lock !== null && existsSync(`/proc/${lock.pid}`);
}

/** What the server said before it gave up: its complaints where it had any, else its last words. */
function lastLines(log: number, fromByte: number): string {
  const sizeBytes = fstatSync(log).size;
  const startByte = Math.max(fromByte, sizeBytes - LOG_TAIL_BYTES);
  const buffer = Buffer.alloc(sizeBytes - startByte);
  readSync(log, buffer, 0, buffer.length, startByte);
  const lines = buffer.toString("utf8").trim().split("\n");
  const complaints = lines.filter((line) => /\b(FATAL|PANIC|DETAIL|HINT|error):/.test(line));
  const told = complaints.length > 0 ? complaints.slice(-3) : lines.slice(-3);
  return told.join(" | ") || "the server's process ended without a word";
}

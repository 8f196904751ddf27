/**
 * How the data directory of a member is laid out anew whose log has gone another way than the primary's. The log that is
 * given up is kept aside first; what may be done at all is for the host's own configuration to say.
 */
import type { EngineOutcome } from "../engine.ts";
import type { Endpoint, LogPoint } from "#shared/domain/messages.ts";
import { codeOf } from "./connection.ts";
import { readControlFile } from "./control-file.ts";
import type { PostgresOptions, RebuildOptions } from "./options.ts";
import { serverProcesses } from "./processes.ts";
import { clone, mayClone } from "./rebuild-clone.ts";
import { unfinishedRewind } from "./rebuild-damage.ts";
import { discardLog, keepLog } from "./rebuild-log.ts";
import { mayRewind, rewind, rewindersOf } from "./rebuild-rewind.ts";
import { Refusal, untilAnswering, type Control } from "./steering.ts";

const ANSWER_MS = 5_000;

export interface Rebuilding extends Control {
  upstream: Endpoint;
  /** Where the server's log and the upstream's part. */
  fork: LogPoint;
  /** How far the server's log is known to reach, if it is. */
  end: LogPoint | null;
  /** The server's process ended. */
  onExit: () => void;
}

/** What a way of rebuilding consists of. */
interface Way {
  /** The code for all that speaks against it before anything was changed. */
  refusal: "rewind-not-possible" | "clone-failed";
  mayBegin: () => Promise<void>;
  /** Returns how it was done, for people. `kept` is where the log was kept. */
  carryOut: (kept: string) => Promise<string>;
}

/**
 * Returns how it was done and where the log is kept, for people. Throws a Refusal: `rebuild-not-allowed`, `log-not-kept`,
 * `rewind-not-possible`, `clone-failed` and `called-off` have changed nothing (the server may be stopped now);
 * `rewind-failed` and `clone-stuck` leave a data directory that is not to be trusted.
 */
export async function rebuild(control: Rebuilding): Promise<string> {
  const { options } = control;
  const allowed = mustBeAllowed(options);
  const way = wayOf(control, allowed);
  const unfinished = await orRefuse(way, async () => {
    await mustBeAtRest(control);
    return unfinishedRewind(allowed.keepDirectory, options.dataDirectory);
  });
  if (unfinished !== null && allowed.kind === "rewind") {
    throw new Refusal(
      way.refusal,
      `an earlier pg_rewind has left the data directory half done (its log is kept in ${unfinished}): set server.rebuild = "clone"`,
    );
  }
  await orRefuse(way, way.mayBegin);
  const kept = unfinished ?? (await keepLog({ ...options, ...allowed, ...control, end: reachOf(control) }));
  try {
    const how = await orRefuse(way, () => way.carryOut(kept));
    return `${how}; the log beyond ${control.fork.lsn} is kept in ${kept}`;
  } catch (error) {
    if (unfinished === null && leavesAll(error)) await discardLog(kept);
    throw error;
  }
}

function mustBeAllowed({ rebuild: allowed }: PostgresOptions): RebuildOptions {
  if (allowed) return allowed;
  throw new Refusal(
    "rebuild-not-allowed",
    `its log has diverged, and this host's configuration lets nobody give that up: set server.rebuild to "rewind" or "clone"`,
  );
}

function wayOf(control: Rebuilding, allowed: RebuildOptions): Way {
  switch (allowed.kind) {
    case "rewind":
      return {
        refusal: "rewind-not-possible",
        mayBegin: () => mayRewind(control),
        carryOut: (kept) => rewind(control, kept),
      };
    case "clone": {
      const cloning = { ...control, command: allowed.command };
      return {
        refusal: "clone-failed",
        mayBegin: async () => mayClone(cloning),
        carryOut: (kept) => clone(cloning, kept),
      };
    }
  }
}

/** What the engine tells of it. A rebuild that never began has changed nothing, whatever was in its way. */
export function rebuildOutcome(outcome: EngineOutcome, detail: string): EngineOutcome {
  if (outcome.ok) return { ok: true, detail };
  const isOwn = OWN_CODES.has(outcome.code) || outcome.code === "rebuild-not-allowed";
  return isOwn ? outcome : { ...outcome, code: "called-off", detail: `${outcome.code} ${outcome.detail}` };
}

/** A server that writes, or that another hand works on, is left alone. */
async function mustBeAtRest(control: Rebuilding): Promise<void> {
  const { dataDirectory } = control.options;
  const [rewinder] = rewindersOf(dataDirectory);
  if (rewinder !== undefined) throw new Error(`pg_rewind is at work there already (process ${rewinder}): let it end`);
  if (serverProcesses(dataDirectory).length === 0) return;
  await untilAnswering(control);
  const waitMs = Math.min(ANSWER_MS, control.deadline.remainingMs);
  const [row] = await control.connection.askWithin("SELECT pg_is_in_recovery() AS in_recovery", waitMs);
  if (row?.["in_recovery"] !== true) throw new Error("the server accepts writes: fence it first");
}

/** Whatever goes wrong while nothing is changed yet says so by its code. */
async function orRefuse<T>({ refusal }: Way, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refusal && OWN_CODES.has(error.code)) throw error;
    throw new Refusal(refusal, `${codeOf(error)} ${(error as Error).message}`.trim());
  }
}

const UNTOUCHED = ["log-not-kept", "rewind-not-possible", "clone-failed", "called-off"];
const OWN_CODES = new Set([...UNTOUCHED, "rewind-failed", "clone-stuck"]);

function leavesAll(error: unknown): boolean {
  return error instanceof Refusal && UNTOUCHED.includes(error.code);
}

/** What was seen of its log, or what the server itself has written down. */
function reachOf({ end, options }: Rebuilding): LogPoint | null {
  return end ?? readControlFile(options.dataDirectory)?.checkpoint ?? null;
}

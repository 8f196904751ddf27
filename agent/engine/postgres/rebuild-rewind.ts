/**
 * Lays a data directory out anew by pg_rewind: only what differs is fetched. Everything that can speak against it is
 * asked before, at last by pg_rewind itself in a dry run; once the real run has begun there is no way back.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Endpoint } from "#shared/domain/messages.ts";
import { readControlFile } from "./control-file.ts";
import { Deadline } from "./deadline.ts";
import { isAlive, serverProcesses } from "./processes.ts";
import { lastWords, runProgram, type ProgramEnd } from "./rebuild-command.ts";
import { markBegun, markEnded } from "./rebuild-damage.ts";
import { copyConfiguration } from "./rebuild-files.ts";
import { configurationOf } from "./rebuild-log.ts";
import { prepareSource, sourceConninfo } from "./rebuild-source.ts";
import { beforeTrial, stopServer, tryOut } from "./rebuild-trial.ts";
import { startServer } from "./start.ts";
import { Refusal, type Control } from "./steering.ts";

const IMPOSSIBLE = "rewind-not-possible";
const FAILED = "rewind-failed";
const LOOK_MS = 5_000;

export interface Rewind extends Control {
  upstream: Endpoint;
  onExit: () => void;
}

/** Whether it could be done, asked without touching anything. Throws a Refusal `rewind-not-possible`. */
export async function mayRewind({ options, upstream, deadline }: Rewind): Promise<void> {
  for (const program of ["pg_rewind", "pg_controldata"]) {
    const path = join(options.binDirectory, program);
    if (!existsSync(path)) throw impossible(`${path} is not there: install it, or set server.rebuild = "clone"`);
  }
  await mustTrackHints(options);
  await prepareSource(upstream, options, deadline);
}

/** Without either, a page may differ from the source's although no record of the log says so. */
async function mustTrackHints(options: Control["options"]): Promise<void> {
  const said = await runProgram({
    path: join(options.binDirectory, "pg_controldata"),
    args: ["-D", options.dataDirectory],
    account: options.runAs,
    workingDirectory: options.dataDirectory,
    deadline: new Deadline(LOOK_MS),
  });
  if (!said.ok) throw impossible(`pg_controldata does not read ${options.dataDirectory}: ${lastWords(said)}`);
  const hasHints = /^wal_log_hints setting:\s+on$/m.test(said.output);
  const hasChecksums = /^Data page checksum version:\s+[1-9]/m.test(said.output);
  if (hasHints || hasChecksums) return;
  throw impossible(
    `neither data checksums nor wal_log_hints are on: set server.rebuild = "clone" for now, and wal_log_hints = on for the next time`,
  );
}

/**
 * Stops the server in good order, rewinds it, and gives it this host's configuration back, of which a copy lies beside the
 * kept log. Throws a Refusal: `rewind-not-possible` or `called-off` when nothing was changed, `rewind-failed` when the data
 * directory may be worth nothing.
 */
export async function rewind(control: Rewind, kept: string): Promise<string> {
  await stopInGoodOrder(control);
  mustPermit(await runRewind(control, ["--dry-run"]));
  if (control.isCalledOff()) throw new Refusal("called-off", "the server is being fenced");
  const { dataDirectory } = control.options;
  if (serverProcesses(dataDirectory).length > 0) throw impossible("somebody has started the server meanwhile: end it");
  markBegun(kept, dataDirectory);
  const ended = await runRewind(control, []);
  if (!ended.ok) throw new Refusal(FAILED, `${lastWords(ended)}: only a clone makes the data directory of use again`);
  try {
    await copyConfiguration(configurationOf(kept), dataDirectory);
    rmSync(join(dataDirectory, "recovery.signal"), { force: true });
    await tryOut({ ...control, code: FAILED });
    markEnded(kept);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(FAILED, `after pg_rewind: ${(error as Error).message}`);
  }
  return "pg_rewind";
}

/** pg_rewind takes no server that has crashed, and cannot recover one itself that is to start read-only. */
async function stopInGoodOrder(control: Rewind): Promise<void> {
  const { options } = control;
  if (serverProcesses(options.dataDirectory).length === 0) {
    if (hasEndedWell(options.dataDirectory)) return;
    const started = await startServer(control);
    if (!started.ok && started.code === "called-off") throw new Refusal(started.code, started.detail);
    if (!started.ok) throw impossible(`it has crashed and does not start (${started.code}): ${started.detail}`);
  }
  await stopServer(control, IMPOSSIBLE);
  if (!hasEndedWell(options.dataDirectory))
    throw impossible("the server did not stop in good order in time: try again");
}

function hasEndedWell(dataDirectory: string): boolean {
  const state = readControlFile(dataDirectory)?.state;
  return state === "stopped" || state === "stopped-in-recovery";
}

/** The server must be found by its working directory, and so must whoever rewrites its files. */
function runRewind({ options, upstream, deadline }: Rewind, words: string[]): Promise<ProgramEnd> {
  const { dataDirectory, binDirectory, runAs } = options;
  const source = sourceConninfo(upstream, options);
  return runProgram({
    path: join(binDirectory, "pg_rewind"),
    args: ["--target-pgdata", dataDirectory, "--source-server", source, "--no-ensure-shutdown", ...words],
    account: runAs,
    workingDirectory: dataDirectory,
    deadline: beforeTrial(deadline),
  });
}

/** Up to version 15 it is content when the source has not yet written down that it was promoted. */
function mustPermit(tried: ProgramEnd): void {
  if (!tried.ok) throw impossible(`a dry run of pg_rewind says: ${lastWords(tried)}${remedyFor(tried.output)}`);
  if (!/no rewind required/.test(tried.output)) return;
  throw impossible("pg_rewind sees no difference yet: run CHECKPOINT on the primary and try again");
}

/** Up to version 15 it goes by the timeline of the last checkpoint, and a crash may have come before a reign's first. */
function remedyFor(output: string): string {
  const isBeforeCheckpoint = /could not find previous WAL record/.test(output);
  return isBeforeCheckpoint
    ? `; a server that crashed before the first checkpoint of its reign needs server.rebuild = "clone"`
    : "";
}

/** The processes of pg_rewind that work on a data directory: an agent's that has ended meanwhile. */
export function rewindersOf(dataDirectory: string): number[] {
  const { dev, ino } = statSync(dataDirectory);
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isRewinder(pid, { dev, ino }));
}

function isRewinder(pid: number, directory: { dev: number; ino: number }): boolean {
  try {
    if (readFileSync(`/proc/${pid}/comm`, "latin1").trim() !== "pg_rewind" || !isAlive(pid)) return false;
    const { dev, ino } = statSync(`/proc/${pid}/cwd`);
    return dev === directory.dev && ino === directory.ino;
  } catch {
    return false;
  }
}

function impossible(detail: string): Refusal {
  return new Refusal(IMPOSSIBLE, detail);
}

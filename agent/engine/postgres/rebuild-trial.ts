/**
 * The first start of a data directory that was laid out anew. What pg_rewind or a copy leaves is no whole state before the
 * log up to the copy's end has been applied, and the last of that log may exist on the upstream alone: so the server
 * streams from there until it answers, and is stopped in good order. From then on it starts by itself,
 * whatever becomes of the upstream.
 */
import type { Endpoint } from "#shared/domain/messages.ts";
import { writeConfiguration } from "./configuration.ts";
import { codeOf } from "./connection.ts";
import { primaryConninfo } from "./conninfo.ts";
import { Deadline } from "./deadline.ts";
import { ensureStandbySignal } from "./durable-file.ts";
import { fenceServer } from "./fence.ts";
import type { PostgresOptions } from "./options.ts";
import { startServer } from "./start.ts";
import { Refusal, untilAnswering, type Control } from "./steering.ts";
import { syncDirectory } from "../../whole-file.ts";

const STOP_MS = 60_000;
const LONGEST_TRIAL_MS = 60_000;

export interface Trial extends Control {
  upstream: Endpoint;
  /** The failure's code. */
  code: string;
  onExit: () => void;
}

/** What of the time there is may be spent before the trial. */
export function beforeTrial({ remainingMs }: Deadline): Deadline {
  return new Deadline(remainingMs - Math.min(LONGEST_TRIAL_MS, remainingMs / 5));
}

/** Starts it once and stops it, read-only, its feed cut. Throws a Refusal of the given code. */
export async function tryOut(trial: Trial): Promise<void> {
  const { options, upstream, code } = trial;
  const { dataDirectory } = options;
  ensureStandbySignal(dataDirectory);
  writeConfiguration(dataDirectory, { kind: "stream", conninfo: primaryConninfo(upstream, options) });
  const fault = await faultOf(trial);
  // A server that did not come up in time may still run.
  await stopServer(trial, code);
  if (fault !== null) throw new Refusal(code, `the server does not work in it: ${fault}`);
  writeConfiguration(dataDirectory, { kind: "frozen" });
  ensureStandbySignal(dataDirectory);
  syncDirectory(dataDirectory);
}

/** A server says that it is ready before it has opened any database: it must let somebody in, too. */
async function faultOf(trial: Trial): Promise<string | null> {
  const started = await startServer(trial);
  if (!started.ok) return `${started.code} ${started.detail}`;
  try {
    await untilAnswering(trial);
    const [row] = await trial.connection.askWithin(
      "SELECT pg_is_in_recovery() AS in_recovery",
      trial.deadline.remainingMs,
    );
    return row?.["in_recovery"] === true ? null : "it does not start read-only";
  } catch (error) {
    return `${codeOf(error)} ${(error as Error).message}`;
  }
}

/** Stops the server, in good order where it can be. Throws a Refusal of the given code when something of it is left. */
export async function stopServer(
  { options, deadline }: Pick<Control, "deadline"> & { options: Pick<PostgresOptions, "dataDirectory"> },
  code: string,
): Promise<void> {
  const wholeMs = Math.min(STOP_MS, Math.max(deadline.remainingMs, 1_000));
  const limits = { fastMs: wholeMs * 0.8, killMs: wholeMs * 0.9, deadlineMs: wholeMs };
  const stopped = await fenceServer(options.dataDirectory, limits);
  if (!stopped.ok) throw new Refusal(code, `the server does not stop (${stopped.code}): ${stopped.detail}`);
}

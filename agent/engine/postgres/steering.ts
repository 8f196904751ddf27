/** Promote, adopt, follow and freeze: what is asked of a server that runs. */
import { setTimeout as pause } from "node:timers/promises";
import type { Endpoint, LogPoint } from "#shared/domain/messages.ts";
import { writeConfiguration, type Feed } from "./configuration.ts";
import { codeOf, type Row, type ServerConnection } from "./connection.ts";
import { primaryConninfo } from "./conninfo.ts";
import type { MayOpen } from "../engine.ts";
import type { Deadline } from "./deadline.ts";
import { ensureStandbySignal, hasStandbySignal } from "./durable-file.ts";
import { mendFork } from "./timeline-fork.ts";
import { reserveTimelines } from "./history.ts";
import type { PostgresOptions } from "./options.ts";
import { isAlive, livingPostmaster } from "./processes.ts";

const LOOK_EVERY_MS = 4;
/** A receiver that has not heard of its end by then is ended. */
const RECEIVER_PATIENCE_MS = 30;
/** Without the startup process's own word, a receiver must be seen absent for this long. */
const ABSENCE_MS = 100;

/** A step was refused or could not be done; the engine turns it into an outcome. */
export class Refusal extends Error {
  readonly code: string;

  constructor(code: string, detail: string) {
    super(detail);
    this.code = code;
  }
}

export interface Control {
  options: PostgresOptions;
  connection: ServerConnection;
  deadline: Deadline;
  /** Whether a fence has begun since this was asked for. */
  isCalledOff: () => boolean;
}

/** One question for all that a promotion must know: while clients wait, each one costs. */
const PROMOTABLE_SQL = `
  SELECT pg_is_in_recovery() AS in_recovery,
    CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,
    greatest((SELECT timeline_id FROM pg_control_checkpoint()),
             (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS timeline`;

/**
 * Opens a standby whose log has reached `known`. Fails with `not-in-recovery`, `not-a-standby`, `replay-paused`,
 * `fork-not-reached`, `promotion-not-triggered`, `not-in-time`, and what `mayOpen` refuses.
 */
export async function promote(
  control: Control,
  { timeline, known, mayOpen }: { timeline: number; known: LogPoint | null; mayOpen: MayOpen },
): Promise<void> {
  const { dataDirectory } = control.options;
  const standby = await askOne(control, PROMOTABLE_SQL);
  if (standby["in_recovery"] !== true) throw new Refusal("not-in-recovery", "the server is a primary already");
  if (!hasStandbySignal(dataDirectory)) {
    throw new Refusal(
      "not-a-standby",
      "the server recovers without standby.signal: let the recovery end, then start it anew",
    );
  }
  if (standby["paused"] === true)
    throw new Refusal("replay-paused", "run pg_wal_replay_resume() first: the log is not applied");
  const missed = known && mendFork(dataDirectory, known);
  if (missed) {
    const detail = `its log ends before the fork of timeline ${missed.unreached}, which it knows of: its next start forgets it`;
    throw new Refusal("fork-not-reached", detail);
  }
  const changed = writeConfiguration(dataDirectory, { kind: "none" });
  // The server takes the first number that has no history file: those that another epoch may have used get one.
  reserveTimelines(dataDirectory, { above: Number(standby["timeline"]), below: timeline });
  const may = await mayOpen();
  if (!may.ok) throw new Refusal(may.code, may.detail);
  if (control.isCalledOff()) throw new Refusal("called-off", "the server is being fenced");
  const sent = await askOne(control, "SELECT pg_promote(false) AS sent");
  if (sent["sent"] !== true) throw new Refusal("promotion-not-triggered", "the server did not take the promotion");
  await untilOpen(control);
  // The file is what counts at the next start; the running primary has no use for the setting that it reads anew.
  if (changed) ask(control, "SELECT pg_reload_conf()").catch(() => {});
}

/** The promotion removes standby.signal right before it opens; here it is back before a client could notice. */
async function untilOpen(control: Control): Promise<void> {
  const { dataDirectory } = control.options;
  for (;;) {
    const inRecovery = await isInRecovery(control);
    ensureStandbySignal(dataDirectory);
    if (!inRecovery) return;
    await pauseUntilNextLook(control, "the promotion");
  }
}

/** Takes over a running primary without touching its sessions. Fails with `in-recovery`, `not-in-time`. */
export async function adopt(control: Control): Promise<void> {
  if (await isInRecovery(control)) throw new Refusal("in-recovery", "the server is no primary: promote it instead");
  ensureStandbySignal(control.options.dataDirectory);
  await configure(control, { kind: "none" }, ["restart_after_crash", "off"]);
}

/** Streams from `upstream`. Fails with `not-in-recovery`, `not-in-time`. */
export async function follow(control: Control, upstream: Endpoint): Promise<void> {
  await mustBeInRecovery(control, "the server is a primary: fence it and start it first");
  const conninfo = primaryConninfo(upstream, control.options);
  await configure(control, { kind: "stream", conninfo }, ["primary_conninfo", conninfo]);
}

/**
 * Stops receiving. That no receiver is seen proves nothing: the startup process may be about to start one with the
 * settings of a moment ago. So it must have read ours first, which these steps make certain:
 *
 * 1. Three reloads, each asked for when the one before has reached this session. The first may be somebody's of before
 *    our write; with the second the postmaster tells its children of ours; with the third, as it does one thing at a time,
 *    it had told all of them.
 * 2. The startup process is seen waiting for its next try, with no receiver about: before that try it reads its settings
 *    again. Or, while it is busy with replay, no receiver has been about for a while.
 *
 * A standby that is still busy with its own disk does not know yet where its log ends, so it must be seen waiting.
 * Fails with `not-in-recovery`, `restore-command-active`, `not-in-time`.
 */
export async function freeze(control: Control): Promise<void> {
  await mustBeInRecovery(control, "the server is a primary: it receives from nobody");
  await configure(control, { kind: "frozen" }, ["primary_conninfo", ""]);
  const command = await askOne(control, "SELECT current_setting('restore_command') AS value");
  if (command["value"] !== "") {
    throw new Refusal(
      "restore-command-active",
      "this server changes restore_command only at a restart: restart it, or remove the command",
    );
  }
  const asking = (sql: string) => ask(control, sql);
  const look = () => pauseUntilNextLook(control, "the reload");
  for (let round = 0; round < 3; round += 1) await untilReloaded(asking, look);
  await untilNoReceiver(control);
}

/** Has the server read its settings, and waits until this session has; `look` pauses, and throws when it is too late. */
export async function untilReloaded(asking: (sql: string) => Promise<Row[]>, look: () => Promise<void>): Promise<void> {
  const loadedAt = async () => (await asking("SELECT pg_conf_load_time()::text AS at"))[0]?.["at"];
  const before = await loadedAt();
  await asking("SELECT pg_reload_conf()");
  while ((await loadedAt()) === before) await look();
}

const RECEIVER_SQL = `
  SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver' LIMIT 1) AS receiver,
    EXISTS (SELECT FROM pg_stat_wal_receiver) AS has_row,
    pg_last_wal_receive_lsn() IS NOT NULL AS has_received,
    (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup' LIMIT 1) AS startup_waits_for`;

async function untilNoReceiver(control: Control): Promise<void> {
  const beganMs = performance.now();
  let lastSeenMs = beganMs;
  for (;;) {
    const row = await askOne(control, RECEIVER_SQL);
    const nowMs = performance.now();
    const receiver = Number(row["receiver"] ?? 0);
    if (receiver > 0 || row["has_row"] === true) {
      lastSeenMs = nowMs;
      // A startup process with a backlog lets its receiver go on until it has applied it.
      if (receiver > 0 && nowMs - beganMs > RECEIVER_PATIENCE_MS) endReceiver(receiver);
    } else {
      if (row["startup_waits_for"] === "RecoveryRetrieveRetryInterval") return;
      if (row["has_received"] === true && nowMs - lastSeenMs >= ABSENCE_MS) return;
    }
    await pauseUntilNextLook(control, "the end of the receiver");
  }
}

/** A receiver's orderly end flushes what it has received. */
function endReceiver(pid: number): void {
  if (isAlive(pid)) process.kill(pid, "SIGTERM");
}

async function mustBeInRecovery(control: Control, otherwise: string): Promise<void> {
  if (!(await isInRecovery(control))) throw new Refusal("not-in-recovery", otherwise);
}

async function isInRecovery(control: Control): Promise<boolean> {
  return (await askOne(control, "SELECT pg_is_in_recovery() AS value"))["value"] === true;
}

/**
 * Writes our settings and has the server read them, until one of them has the expected value. Written again when
 * somebody's ALTER SYSTEM, begun before our write, has put the old file back.
 */
async function configure(control: Control, feed: Feed, [name, value]: [string, string]): Promise<void> {
  writeConfiguration(control.options.dataDirectory, feed);
  await ask(control, "SELECT pg_reload_conf()");
  while ((await askOne(control, `SELECT current_setting('${name}') AS value`))["value"] !== value) {
    await pauseUntilNextLook(control, `${name} to take effect`);
    if (writeConfiguration(control.options.dataDirectory, feed)) await ask(control, "SELECT pg_reload_conf()");
  }
}

async function ask({ connection, deadline }: Control, sql: string): Promise<Row[]> {
  return connection.askWithin(sql, deadline.remainingMs);
}

async function askOne(control: Control, sql: string): Promise<Row> {
  const [row] = await ask(control, sql);
  if (!row) throw new Refusal("no-row", `no row came back for ${sql}`);
  return row;
}

/** A server that is just starting answers soon; every other error is the caller's. */
export async function untilAnswering(control: Control): Promise<void> {
  for (;;) {
    try {
      await ask(control, "SELECT 1");
      return;
    } catch (error) {
      if (codeOf(error) !== "57P03" || livingPostmaster(control.options.dataDirectory)?.status === "stopping")
        throw error;
      await pauseUntilNextLook(control, "the start of the server");
    }
  }
}

async function pauseUntilNextLook({ deadline }: Control, awaited: string): Promise<void> {
  if (deadline.isOver) throw new Refusal("not-in-time", `${awaited} did not come in time`);
  await pause(LOOK_EVERY_MS);
}

/**
 * The switch door: while it is shut, the server's clients are sent home again and again, and nobody else is.
 *
 * A loop in the agent, and nothing that the server keeps: a rule in a file or a catalog would outlive an agent that dies,
 * or reach the replicas. Nobody is ever cancelled, only terminated: a cancelled wait for a synchronous replica reports
 * success. A transaction under way may finish until the drain time is over.
 */
import { setTimeout as pause } from "node:timers/promises";
import { shutValue } from "#shared/domain/shut.ts";
import type { EngineOutcome, ShutTask } from "../engine.ts";
import { codeOf, isServerRefusal, type ServerConnection } from "./connection.ts";
import { Deadline, within } from "./deadline.ts";

const LOOK_EVERY_MS = 2;
/** How long the heir's stream is watched: what it has not confirmed by then the coordinator waits for. */
const HEIR_PATIENCE_MS = 150;
/** Whoever comes to a door that is shut is gone by then. */
const NEWCOMER_MS = 100;

export interface SwitchDoorOptions {
  /** For nothing but the door. */
  connection: ServerConnection;
  /** The agent's other connections to the server, over its Unix socket. */
  own: () => ServerConnection[];
  /** The postmaster's pid; null when none lives. */
  postmaster: () => number | null;
}

type Failure = Extract<EngineOutcome, { ok: false }>;

/** One shutting of the door. */
interface Shutting {
  postmaster: number;
  drain: Deadline;
  deadline: Deadline;
  isCalledOff: () => boolean;
  /** When it began, by the server's clock: whoever came later has no business inside, whatever he does there. */
  sinceSeconds: number;
  ended: Set<number>;
}

type Look =
  | { kind: "seen"; left: number }
  /** No answer, but the server lives: the next look may have one. */
  | { kind: "unanswered"; detail: string }
  | { kind: "over"; failure: Failure };

export class SwitchDoor {
  readonly #options: SwitchDoorOptions;
  /** Grows with every word on the door: the newest counts. */
  #word = 0;
  #loop: Promise<unknown> = Promise.resolve();
  #looking: Promise<unknown> = Promise.resolve();

  constructor(options: SwitchDoorOptions) {
    this.#options = options;
  }

  /** Makes the first look a quick one: its connection is there, and its session has read what it needs. Rejects. */
  async prepare(deadlineMs: number): Promise<void> {
    await this.#options.connection.askWithin("SELECT FROM pg_stat_activity", deadlineMs);
  }

  /**
   * ok when two looks in a row have found no session but such as just came, to be sent home, and the heir has confirmed
   * the log or was given a moment for it; the value is a `shutValue`. (Clients that come back at once would have it wait
   * for ever.) It stays shut then, until it is opened, the server ends, or the deadline. Fails with `sessions-left`, `stopped`, `called-off`, `refused-by-server`.
   */
  async shut({ drainMs, heir, deadlineMs }: ShutTask): Promise<EngineOutcome> {
    const isCalledOff = this.#newWord();
    const [drain, deadline] = [new Deadline(drainMs), new Deadline(deadlineMs)];
    await this.#lastLook(deadline.remainingMs);
    const postmaster = this.#options.postmaster();
    if (postmaster === null) return STOPPED;
    const shutting = { postmaster, drain, deadline, isCalledOff, sinceSeconds: 0, ended: new Set<number>() };
    const emptying = this.#empty(shutting, heir);
    this.#loop = emptying;
    const outcome = await emptying;
    if (isCalledOff()) return CALLED_OFF;
    // What breaks the watch opens the door.
    const broken = () => (isCalledOff() ? undefined : this.abandon());
    if (outcome.ok) this.#loop = this.#keepEmpty(shutting).catch(broken);
    else this.#options.connection.discard();
    return outcome;
  }

  /** Opens it: when this settles, nobody is sent home any more. */
  async open(deadlineMs: number): Promise<void> {
    this.#newWord();
    await this.#lastLook(deadlineMs);
    this.#options.connection.discard();
  }

  /**
   * Settles when no look is under way that was begun before now: a connection of our own that is made then is known to
   * every look which can find it.
   */
  async betweenLooks(): Promise<void> {
    await this.#looking.catch(() => {});
  }

  /** Opens it without a wait for the look that is under way. */
  abandon(): void {
    this.#newWord();
    this.#options.connection.discard();
  }

  #newWord(): () => boolean {
    this.#word += 1;
    const word = this.#word;
    return () => this.#word !== word;
  }

  async #lastLook(ms: number): Promise<void> {
    await within(this.#loop, ms, "the last look").catch(() => {});
  }

  async #empty(shutting: Shutting, heir: string): Promise<EngineOutcome> {
    let detail = "the server did not answer";
    let emptyLooks = 0;
    while (!shutting.deadline.isOver && !shutting.isCalledOff()) {
      const look = await this.#lookOnce(shutting);
      if (look.kind === "over") return look.failure;
      if (look.kind === "unanswered") ({ detail } = look);
      else detail = `${look.left} are still there`;
      emptyLooks = look.kind === "seen" && look.left === 0 ? emptyLooks + 1 : 0;
      if (emptyLooks === 2) {
        const hasHeirAll = await this.#watchHeir(shutting, heir);
        return { ok: true, value: shutValue({ ended: shutting.ended.size, hasHeirAll }) };
      }
      await pause(LOOK_EVERY_MS);
    }
    return { ok: false, code: "sessions-left", detail };
  }

  /** Whether the heir confirms within moments that it has flushed all that this server has; newcomers are sent home meanwhile. */
  async #watchHeir(shutting: Shutting, heir: string): Promise<boolean> {
    const patience = new Deadline(Math.min(HEIR_PATIENCE_MS, shutting.deadline.remainingMs));
    while (!patience.isOver && !shutting.isCalledOff()) {
      try {
        const [row] = await this.#options.connection.askWithin(heirSql(heir), patience.remainingMs);
        if (row?.["has_all"] === true) return true;
      } catch {
        return false;
      }
      await this.#lookOnce(shutting);
      await pause(LOOK_EVERY_MS);
    }
    return false;
  }

  async #keepEmpty(shutting: Shutting): Promise<void> {
    while (!shutting.deadline.isOver && !shutting.isCalledOff()) {
      if ((await this.#lookOnce(shutting)).kind === "over") break;
      await pause(LOOK_EVERY_MS);
    }
    if (!shutting.isCalledOff()) this.#options.connection.discard();
  }

  #lookOnce(shutting: Shutting): Promise<Look> {
    const look = this.#look(shutting);
    this.#looking = look;
    return look;
  }

  /** Sends home whom it may, and says how many are left. Rejects only where the host cannot be looked at. */
  async #look(shutting: Shutting): Promise<Look> {
    const { connection, own, postmaster } = this.#options;
    const { deadline, drain, ended } = shutting;
    try {
      shutting.sinceSeconds ||= Number((await connection.askWithin(CLOCK_SQL, deadline.remainingMs))[0]?.["now"]);
      const sql = sessionsSql(own(), { sinceSeconds: shutting.sinceSeconds, isDrained: drain.isOver });
      const sessions = await connection.askWithin(sql, deadline.remainingMs);
      for (const session of sessions) if (session["ended"] === true) ended.add(Number(session["pid"]));
      return { kind: "seen", left: sessions.filter((session) => session["lasts"] === true).length };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      if (postmaster() !== shutting.postmaster) return { kind: "over", failure: STOPPED };
      if (!isServerRefusal(error) || PASSING.test(codeOf(error))) return { kind: "unanswered", detail };
      return { kind: "over", failure: { ok: false, code: "refused-by-server", detail: `${codeOf(error)} ${detail}` } };
    }
  }
}

const STOPPED: Failure = { ok: false, code: "stopped", detail: "the server has no clients: it has ended" };
const CALLED_OFF: Failure = { ok: false, code: "called-off", detail: "a newer word on the door came" };

/** Somebody has ended our own connection, or all of them are taken: the next look may do better. */
const PASSING = /^(57|53)/;

const CLOCK_SQL = "SELECT extract(epoch FROM clock_timestamp())::float8 AS now";

/** What is not flushed here yet the stop sends on. */
function heirSql(heir: string): string {
  return `
    SELECT EXISTS (SELECT FROM pg_stat_replication
      WHERE application_name = '${heir.replaceAll("'", "''")}' AND state = 'streaming'
        AND flush_lsn >= pg_current_wal_flush_lsn()) AS has_all`;
}

/**
 * Who is inside, and the end of those whose time has come. A session without a state has only just been let in. While a
 * connection of our own is being made, it may be any that has just come through the Unix socket. The streams of the
 * replicas are no client backends.
 */
function sessionsSql(own: ServerConnection[], at: { sinceSeconds: number; isDrained: boolean }): string {
  const pids = own.flatMap(({ backendPid }) => backendPid ?? []);
  const isOneOpening = own.some(({ isOpening }) => isOpening);
  return `
    SELECT pid, NOT is_newcomer OR age_ms > ${NEWCOMER_MS} AS lasts,
      CASE WHEN ${at.isDrained} OR is_newcomer OR state IS NULL OR state IN ('idle', 'starting')
        THEN pg_terminate_backend(pid) END AS ended
    FROM (SELECT pid, state, client_port, extract(epoch FROM backend_start) > ${at.sinceSeconds.toFixed(6)} AS is_newcomer,
        extract(epoch FROM clock_timestamp() - backend_start) * 1000 AS age_ms
      FROM pg_stat_activity
      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL ('{${pids.join(",")}}'::int[])) inside
    WHERE NOT (${isOneOpening} AND is_newcomer AND client_port = -1 AND age_ms <= ${NEWCOMER_MS})`;
}

/** The persistent connection that looks at the server, one question at a time. */
import type { Endpoint, ServerReport } from "#shared/domain/messages.ts";
import { lsnBytes, type Position } from "#shared/domain/position.ts";
import type { Observation } from "../engine.ts";
import { configuredConninfo } from "./configuration.ts";
import { codeOf, isServerRefusal, ServerConnection, type ConnectionTarget, type Row } from "./connection.ts";
import { endpointOfConninfo } from "./conninfo.ts";
import { readControlFile, type ControlFile } from "./control-file.ts";
import { DeadLog } from "./dead-log.ts";
import { OutOfTime, within } from "./deadline.ts";
import { endOfLog, hasReadItsLog, isLogWhole, waitsAtTheEnd, type LogFacts, type LogPoint } from "./end-of-log.ts";
import { TimelineHistories } from "./history.ts";
import { livingPostmaster, type LockFile } from "./processes.ts";

/** Every column works on servers 13 to 18, primary or standby, also while a promotion ends between two of them. */
const PROBE_SQL = `
  SELECT pg_is_in_recovery() AS in_recovery,
    current_setting('server_version') AS version,
    current_setting('primary_conninfo') AS conninfo,
    (SELECT system_identifier::text FROM pg_control_system()) AS system_id,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn()::text END AS current_lsn,
    CASE WHEN pg_is_in_recovery() THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END AS current_timeline,
    pg_last_wal_receive_lsn()::text AS received,
    pg_last_wal_replay_lsn()::text AS replayed,
    greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::float8 AS replay_age_ms,
    greatest((SELECT timeline_id FROM pg_control_checkpoint()),
             (SELECT min_recovery_end_timeline FROM pg_control_recovery())) AS control_timeline,
    (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup' LIMIT 1) AS startup_waits_for,
    r.status AS stream_status, r.received_tli AS stream_timeline, r.flushed_lsn::text AS stream_lsn
  FROM (SELECT 1) one LEFT JOIN pg_stat_wal_receiver r ON true`;

type Answer = { kind: "answered"; observation: Observation } | { kind: "failed"; error: unknown };

export class Probe {
  readonly #dataDirectory: string;
  readonly #timeoutMs: number;
  readonly #withReplication: ServerConnection;
  readonly #plain: ServerConnection;
  readonly #histories: TimelineHistories;
  readonly #deadLog: DeadLog;
  #pending: Promise<Answer> | null = null;
  #last: Observation | null = null;
  /** Since this server was connected to: its startup process is not always caught waiting. */
  #hasReadItsLog = false;
  #hasReachedTheEnd = false;

  /** `onLost` is called when the server ends the connection. */
  constructor(options: { dataDirectory: string; target: ConnectionTarget; timeoutMs: number; onLost: () => void }) {
    this.#dataDirectory = options.dataDirectory;
    this.#timeoutMs = options.timeoutMs;
    this.#histories = new TimelineHistories(options.dataDirectory);
    this.#deadLog = new DeadLog(options.dataDirectory);
    const onLost = () => {
      this.#histories.forget();
      this.#hasReadItsLog = false;
      this.#hasReachedTheEnd = false;
      options.onLost();
    };
    this.#withReplication = new ServerConnection({ ...options.target, replication: "database" }, onLost);
    this.#plain = new ServerConnection(options.target, onLost);
  }

  get isConnected(): boolean {
    return this.#withReplication.isUp || this.#plain.isUp;
  }

  /** How far the log was seen to reach, when it was looked at last. */
  get reached(): LogPoint | null {
    return this.#last?.position ?? null;
  }

  get connections(): ServerConnection[] {
    return [this.#withReplication, this.#plain];
  }

  /** What was seen is of another data directory: nothing of it is told again. */
  forget(): void {
    this.#last = null;
    this.#histories.forget();
    this.#deadLog.forget();
  }

  /** Answers within the probe timeout and never rejects; while an earlier question hangs no second one is asked. */
  async observe(): Promise<Observation> {
    try {
      return await this.#observe();
    } catch {
      // Who cannot look has seen nothing end.
      return this.#unseen({ state: "unresponsive" });
    }
  }

  async #observe(): Promise<Observation> {
    const startMs = performance.now();
    try {
      // What a question that had hung brings is from before this observation: it only shows that the server is back.
      if (this.#pending) await within(this.#pending, this.#timeoutMs, "the server");
      const leftMs = this.#timeoutMs - (performance.now() - startMs);
      this.#pending ??= this.#question();
      const answer = await within(this.#pending, leftMs, "the server");
      return answer.kind === "answered"
        ? answer.observation
        : this.#unseen(reportOf(answer.error, this.#dataDirectory));
    } catch (error) {
      if (!(error instanceof OutOfTime)) throw error;
      // A stopped server's socket can be silent for a while, too: the process table knows.
      return this.#unseen({ state: lockOf(this.#dataDirectory) === null ? "stopped" : "unresponsive" });
    }
  }

  close(): void {
    this.#withReplication.discard();
    this.#plain.discard();
  }

  async #question(): Promise<Answer> {
    try {
      const observation = await this.#look();
      this.#last = observation;
      this.#deadLog.forget();
      return { kind: "answered", observation };
    } catch (error) {
      return { kind: "failed", error };
    } finally {
      this.#pending = null;
    }
  }

  async #look(): Promise<Observation> {
    const connection = await this.#connected();
    const [row] = await connection.ask(PROBE_SQL);
    if (!row) throw new Error("the probe returned no row");
    // After the facts that judge it complete: an end of the log from before them may be too low.
    const identified = connection === this.#withReplication ? pointOf(await connection.ask("IDENTIFY_SYSTEM")) : null;
    return this.#observationOf(row, identified);
  }

  /** A server without a free or permitted replication connection is still looked at. */
  async #connected(): Promise<ServerConnection> {
    if (this.#plain.isUp) return this.#plain;
    try {
      await this.#withReplication.connect();
      return this.#withReplication;
    } catch (error) {
      if (!isServerRefusal(error) || codeOf(error) === "57P03") throw error;
      await this.#plain.connect();
      return this.#plain;
    }
  }

  #observationOf(row: Row, identified: LogPoint | null): Observation {
    const facts = factsOf(row, identified);
    this.#hasReadItsLog ||= hasReadItsLog(facts);
    this.#hasReachedTheEnd ||= waitsAtTheEnd(facts.startupWaitsFor);
    const end = this.#hasReadItsLog ? endOfLog(facts) : null;
    const systemId = String(row["system_id"]);
    const streaming = row["stream_status"] === "streaming";
    return {
      report: { state: "running", inRecovery: facts.inRecovery, writable: !facts.inRecovery },
      engineVersion: String(row["version"]).split(" ")[0] ?? "",
      systemId,
      position: end && this.#positionOf(systemId, end),
      isWhole: isLogWhole(facts, end, this.#hasReachedTheEnd),
      applied: appliedOf(facts, end),
      latencyMs: latencyOf(facts, { end, streaming, replayAgeMs: numberOrNull(row["replay_age_ms"]) }),
      receiver: { streaming, configured: endpointOfConninfo(textOrNull(row["conninfo"]) ?? "") },
      shutdownLsn: null,
      tail: null,
    };
  }

  #positionOf(systemId: string, { timeline, lsn }: LogPoint): Position {
    return { engine: "postgres", systemId, timeline, lsn, history: this.#histories.before(timeline) };
  }

  /** What is still true of a server that does not answer. */
  #unseen(report: ServerReport): Observation {
    const last = this.#last;
    const seen: Observation = {
      report,
      engineVersion: last?.engineVersion ?? "",
      systemId: last?.systemId ?? null,
      position: last?.position ?? null,
      isWhole: false,
      applied: last?.applied ?? null,
      latencyMs: last?.latencyMs ?? null,
      receiver: { streaming: false, configured: configuredUpstream(this.#dataDirectory) },
      shutdownLsn: null,
      tail: null,
    };
    return report.state === "stopped" ? { ...seen, ...this.#stopped() } : seen;
  }

  #stopped(): Partial<Observation> {
    try {
      return this.#asLeft(readControlFile(this.#dataDirectory));
    } catch {
      // It has stopped all the same. How far its log reaches nobody can say before that can be read.
      return { position: null };
    }
  }

  #asLeft(file: ControlFile | null): Partial<Observation> {
    switch (file?.state) {
      case "stopped":
        return this.#stoppedInGoodOrder(file);
      case "other":
        return this.#died(file);
      case "stopped-in-recovery":
        return { ...this.#died(file), tail: null };
      case undefined:
        return {};
    }
  }

  /** Whatever a server had acknowledged when it died is in its files. */
  #died({ systemId }: ControlFile): Partial<Observation> {
    const tail = this.#deadLog.end(this.#last?.position ?? null);
    if (!tail) return {};
    const history = new TimelineHistories(this.#dataDirectory).before(tail.timeline);
    return { systemId, position: { engine: "postgres", systemId, ...tail, history }, isWhole: true, tail };
  }

  /** Of a primary that was stopped in good order the last word is known: its shutdown checkpoint ends the log. */
  #stoppedInGoodOrder({ systemId, checkpoint }: ControlFile): Partial<Observation> {
    // While it is down the directory may be laid out anew: what is known of running servers is no guide.
    const history = new TimelineHistories(this.#dataDirectory).before(checkpoint.timeline);
    return {
      systemId,
      position: { engine: "postgres", systemId, ...checkpoint, history },
      applied: Number(lsnBytes(checkpoint.lsn)),
      shutdownLsn: checkpoint.lsn,
    };
  }
}

/** Where the configuration file tells the server to stream from. */
export function configuredUpstream(dataDirectory: string): Endpoint | null {
  try {
    return endpointOfConninfo(configuredConninfo(dataDirectory) ?? "");
  } catch {
    return null;
  }
}

/** What a failed question says about the server. Leftovers of a dead postmaster are not a server: it is stopped. */
function reportOf(error: unknown, dataDirectory: string): ServerReport {
  const lock = lockOf(dataDirectory);
  if (lock === null) return { state: "stopped" };
  const isOpening = codeOf(error) === "57P03" || !isServerRefusal(error);
  const isStarting = lock !== "unclear" && (lock.status === "starting" || lock.status === "");
  return { state: isOpening && isStarting ? "starting" : "unresponsive" };
}

/** The lock file of the postmaster that lives; null when none does. A look that fails is no sign that none does. */
function lockOf(dataDirectory: string): LockFile | "unclear" | null {
  try {
    return livingPostmaster(dataDirectory);
  } catch {
    return "unclear";
  }
}

function factsOf(row: Row, identified: LogPoint | null): LogFacts {
  const inRecovery = row["in_recovery"] === true;
  const currentLsn = textOrNull(row["current_lsn"]);
  const streamLsn = textOrNull(row["stream_lsn"]);
  return {
    inRecovery,
    identified,
    current: currentLsn ? { timeline: Number.parseInt(String(row["current_timeline"]), 16), lsn: currentLsn } : null,
    received: textOrNull(row["received"]),
    replayed: textOrNull(row["replayed"]),
    controlTimeline: Number(row["control_timeline"]),
    startupWaitsFor: textOrNull(row["startup_waits_for"]),
    stream: streamLsn ? { timeline: Number(row["stream_timeline"]), lsn: streamLsn } : null,
  };
}

function pointOf([row]: Row[]): LogPoint | null {
  const lsn = textOrNull(row?.["xlogpos"]);
  return lsn ? { timeline: Number(row?.["timeline"]), lsn } : null;
}

function appliedOf({ inRecovery, replayed }: LogFacts, end: LogPoint | null): number | null {
  const lsn = inRecovery ? replayed : (end?.lsn ?? null);
  return lsn === null ? null : Number(lsnBytes(lsn));
}

function latencyOf(
  facts: LogFacts,
  at: { end: LogPoint | null; streaming: boolean; replayAgeMs: number | null },
): number | null {
  if (!facts.inRecovery) return 0;
  if (at.streaming && facts.replayed !== null && at.end?.lsn === facts.replayed) return 0;
  return at.replayAgeMs;
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** One PostgreSQL server, 13 to 18, behind the engine's port. */
import { setTimeout as pause } from "node:timers/promises";
import type { Endpoint, LogPoint, SyncSet } from "#shared/domain/messages.ts";
import { lsnBytes } from "#shared/domain/position.ts";
import type {
  Engine,
  EngineCheck,
  EngineHint,
  EngineOutcome,
  MayOpen,
  Observation,
  ShutTask,
  TailRange,
} from "../engine.ts";
import { checkServer } from "./check.ts";
import { writeConfiguration } from "./configuration.ts";
import { codeOf, isServerRefusal, ServerConnection, type ConnectionTarget, type Row } from "./connection.ts";
import { Deadline, OutOfTime, within } from "./deadline.ts";
import { ensureStandbySignal } from "./durable-file.ts";
import { fenceServer, type FenceLimits } from "./fence.ts";
import { isListening } from "./listening.ts";
import { LogPages } from "./log-pages.ts";
import { assertOptions, socketPathOf, type PostgresOptions } from "./options.ts";
import { Probe } from "./probe.ts";
import { isServerOf, livingPostmaster, serverProcesses } from "./processes.ts";
import { rebuild, rebuildOutcome } from "./rebuild.ts";
import { settleServer } from "./settle.ts";
import { startServer } from "./start.ts";
import { adopt, follow, freeze, promote, Refusal, untilAnswering, type Control } from "./steering.ts";
import { SwitchDoor } from "./switch-door.ts";
import { applySyncSet } from "./sync.ts";
import { takeTail, type Tail } from "./take-tail.ts";
import { isWritable } from "./upstream-question.ts";
import { UpstreamWatch } from "./upstream-watch.ts";
import { mustBeKnown } from "./version.ts";

/** How long, and how often, the end of a postmaster is waited for that is nobody's child of ours. */
const END_PATIENCE_MS = 10_000;
const END_LOOK_MS = 10;
const POSITION_PATIENCE_MS = 1_000;
/** What one question about the receiver may take while the loss of the upstream is settled. */
const RECEIVER_QUESTION_MS = 300;
/** The clients that waited for a promotion have the disk for themselves for so long. */
const CHECKPOINT_AFTER_MS = 1_000;
const CHECKPOINT_DEADLINE_MS = 600_000;

export class PostgresEngine implements Engine {
  readonly endpoint: Endpoint;
  readonly #options: PostgresOptions;
  readonly #probe: Probe;
  readonly #control: ServerConnection;
  readonly #checkpoint: ServerConnection;
  readonly #watch: UpstreamWatch;
  readonly #door: SwitchDoor;
  /** Connections to this server that were made for one question. */
  readonly #errands = new Set<ServerConnection>();
  readonly #listeners = new Set<(hint: EngineHint) => void>();
  /** Grows with every fence: what was asked for before it is called off. */
  #fences = 0;
  #task: Promise<unknown> = Promise.resolve();
  /** Grows with every set of standbys that is asked for: the newest counts. */
  #syncCalls = 0;
  #syncing: Promise<unknown> = Promise.resolve();
  #isAwaitingEnd = false;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** Throws a RangeError on options that cannot work; touches nothing. */
  constructor(options: PostgresOptions) {
    assertOptions(options);
    this.#options = options;
    this.endpoint = { host: options.listenHost, port: options.port };
    const { dataDirectory } = options;
    this.#control = new ServerConnection(this.#local("interrex-control"));
    this.#checkpoint = new ServerConnection(this.#local("interrex-checkpoint"));
    this.#probe = new Probe({
      dataDirectory,
      target: this.#local("interrex-probe"),
      timeoutMs: options.probeTimeoutMs,
      onLost: () => this.#serverLost(),
    });
    this.#door = new SwitchDoor({
      connection: new ServerConnection(this.#target("interrex-door")),
      own: () => [...this.#probe.connections, this.#control, this.#checkpoint, ...this.#errands],
      postmaster: () => livingPostmaster(dataDirectory)?.pid ?? null,
    });
    this.#watch = new UpstreamWatch({
      targetOf: (upstream) => this.#remote(upstream, "watch"),
      hasReceiverEnded: () => this.#hasReceiverEnded(),
      onLost: () => this.#hint("upstream-lost"),
    });
  }

  async observe(): Promise<Observation> {
    const observation = await this.#probe.observe();
    const { report, receiver } = observation;
    if (report.state === "running") this.#watchUpstream(report.inRecovery ? receiver.configured : null);
    else if (report.state === "stopped") this.#watchUpstream(null);
    return observation;
  }

  onHint(listener: (hint: EngineHint) => void): void {
    this.#listeners.add(listener);
  }

  start(deadlineMs: number): Promise<EngineOutcome> {
    return this.#exclusively(deadlineMs, async (control) => {
      mustBeKnown(control.options.dataDirectory);
      const outcome = await startServer({ ...control, onExit: () => this.#hint("server-lost") });
      if (!outcome.ok) throw new Refusal(outcome.code, outcome.detail);
      const [row] = await this.#control.askWithin(
        "SELECT pg_is_in_recovery() AS in_recovery",
        control.deadline.remainingMs,
      );
      if (row?.["in_recovery"] !== true)
        throw new Refusal("writable", "the server runs and accepts writes: fence it first");
      await this.#untilPositioned();
    });
  }

  adopt(deadlineMs: number): Promise<EngineOutcome> {
    return this.#exclusively(deadlineMs, async (control) => {
      mustBeKnown(control.options.dataDirectory);
      await adopt(control);
    });
  }

  promote(timeline: number, deadlineMs: number, mayOpen: MayOpen = always): Promise<EngineOutcome> {
    return this.#exclusively(deadlineMs, async (control) => {
      // As of the last look, where there was one: while clients wait, each question costs.
      const known = this.#probe.reached ?? (await this.observe()).position;
      mustBeKnown(control.options.dataDirectory);
      await promote(control, { timeline, known, mayOpen });
      this.#watchUpstream(null);
      this.#checkpointSoon();
    });
  }

  follow(upstream: Endpoint, deadlineMs: number): Promise<EngineOutcome> {
    return this.#exclusively(deadlineMs, async (control) => {
      await untilAnswering(control);
      await follow(control, upstream);
      this.#watchUpstream(upstream);
    });
  }

  freeze(deadlineMs: number): Promise<EngineOutcome> {
    return this.#exclusively(deadlineMs, async (control) => {
      this.#watchUpstream(null);
      const { dataDirectory } = this.#options;
      // A server that is down receives nothing; it must only not begin to when it starts.
      if (serverProcesses(dataDirectory).length === 0) writeConfiguration(dataDirectory, { kind: "frozen" });
      else {
        await untilAnswering(control);
        await freeze(control);
      }
    });
  }

  /** Waits for nothing and nobody: whatever else is under way is called off. */
  async fence(limits: FenceLimits): Promise<EngineOutcome> {
    this.#callOff();
    try {
      const outcome = await fenceServer(this.#options.dataDirectory, limits);
      // No process seen and still an answer: the server lives where this agent cannot look, in another namespace.
      const socket = socketPathOf(this.#options);
      if (outcome.ok && (await isListening(socket))) {
        return { ok: false, code: "server-still-answers", detail: `${socket} answers, but no process was seen` };
      }
      return outcome.ok ? { ...outcome, ...this.#keptReadOnly() } : outcome;
    } catch (error) {
      return outcomeOf(error);
    }
  }

  /** Whoever starts the server next, by hand too, starts it read-only. That it is fenced does not hang on this. */
  #keptReadOnly(): { detail?: string } {
    try {
      ensureStandbySignal(this.#options.dataDirectory);
      return {};
    } catch (error) {
      return { detail: `standby.signal could not be written: ${String(error)}` };
    }
  }

  /** Like a fence it waits for nobody. */
  async settle(deadlineMs: number): Promise<EngineOutcome> {
    this.#callOff();
    const deadline = new Deadline(deadlineMs);
    const sql = "SELECT pg_is_in_recovery() AS value";
    const isInRecovery = async () => {
      const [row] = await this.#askApart("interrex-settle", sql, deadline.remainingMs);
      return row?.["value"] === true;
    };
    try {
      return await settleServer({ dataDirectory: this.#options.dataDirectory, deadline, isInRecovery });
    } catch (error) {
      return outcomeOf(error);
    }
  }

  /** Beside whatever else is under way: a checkpoint can take as long as its deadline. */
  async prepareStop(deadlineMs: number): Promise<EngineOutcome> {
    const deadline = new Deadline(deadlineMs);
    try {
      await this.#askApart("interrex-prepare", "CHECKPOINT", deadline.remainingMs);
      await this.#door.prepare(deadline.remainingMs);
      return { ok: true };
    } catch (error) {
      return outcomeOf(error);
    }
  }

  async shut(task: ShutTask): Promise<EngineOutcome> {
    try {
      return await this.#door.shut(task);
    } catch (error) {
      return outcomeOf(error);
    }
  }

  async reopen(deadlineMs: number): Promise<EngineOutcome> {
    await this.#door.open(deadlineMs);
    return { ok: true };
  }

  async askUpstream(upstream: Endpoint, deadlineMs: number): Promise<EngineOutcome> {
    try {
      return { ok: true, value: await isWritable(new ServerConnection(this.#remote(upstream, "ask")), deadlineMs) };
    } catch (error) {
      return { ok: true, value: "no-answer", detail: error instanceof Error ? error.message : String(error) };
    }
  }

  async rebuild(upstream: Endpoint, fork: LogPoint, deadlineMs: number): Promise<EngineOutcome> {
    let detail = "";
    const { position: end } = await this.observe();
    const outcome = await this.#exclusively(deadlineMs, async (control) => {
      this.#watchUpstream(null);
      detail = await rebuild({ ...control, upstream, fork, end, onExit: () => this.#hint("server-lost") });
    });
    if (outcome.ok) this.#probe.forget();
    return rebuildOutcome(outcome, detail);
  }

  async sync(set: SyncSet, deadlineMs: number): Promise<EngineOutcome> {
    this.#syncCalls += 1;
    const call = this.#syncCalls;
    const fences = this.#fences;
    const isSuperseded = () => this.#syncCalls !== call || this.#fences !== fences;
    const deadline = new Deadline(deadlineMs);
    const before = this.#syncing;
    const connection = new ServerConnection(this.#local("interrex-sync"));
    const mine = (async () => {
      await before;
      this.#errands.add(connection);
      const { dataDirectory } = this.#options;
      const ask = (sql: string) => connection.askWithin(sql, deadline.remainingMs);
      await applySyncSet({ dataDirectory, deadline, ask, isSuperseded }, set);
    })();
    this.#syncing = mine.catch(() => {});
    try {
      await mine;
      return { ok: true };
    } catch (error) {
      return outcomeOf(error);
    } finally {
      connection.discard();
      this.#errands.delete(connection);
    }
  }

  async readTail({ timeline, from, bytes }: Omit<TailRange, "withinMs">): Promise<Buffer> {
    const pages = LogPages.open(this.#options.dataDirectory, timeline);
    const start = Number(lsnBytes(from));
    try {
      return pages?.raw(start, start + bytes) ?? Buffer.alloc(0);
    } finally {
      pages?.close();
    }
  }

  async takeTail(until: LogPoint, fetch: Tail["fetch"], deadlineMs: number): Promise<EngineOutcome> {
    let taken = 0;
    const { position: own } = await this.observe();
    const outcome = await this.#exclusively(deadlineMs, async (control) => {
      taken = await takeTail(control, { own, until, fetch });
    });
    return outcome.ok ? { ...outcome, value: String(taken) } : outcome;
  }

  check(): Promise<EngineCheck[]> {
    return checkServer(this.#options, this.#local("interrex-check"));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#checkpointTimer);
    this.#listeners.clear();
    this.#watch.close();
    this.#probe.close();
    this.#door.abandon();
    this.#control.discard();
    this.#checkpoint.discard();
    for (const errand of this.#errands) errand.discard();
  }

  /** A short log is read within milliseconds; then the first report after the start is complete. Connects the probe, too. */
  async #untilPositioned(): Promise<void> {
    const deadline = new Deadline(POSITION_PATIENCE_MS);
    while (!(await this.observe()).position && !deadline.isOver) await pause(END_LOOK_MS);
  }

  /** What is under way ends before its next step, and no client is sent home any more. */
  #callOff(): void {
    this.#fences += 1;
    clearTimeout(this.#checkpointTimer);
    this.#door.abandon();
  }

  /** Asks over a connection of its own: a kept one may belong to a life that is over, or be busy. */
  async #askApart(applicationName: string, sql: string, ms: number): Promise<Row[]> {
    const connection = new ServerConnection(this.#local(applicationName));
    this.#errands.add(connection);
    try {
      return await connection.askOnce(sql, ms);
    } finally {
      this.#errands.delete(connection);
    }
  }

  #hint(hint: EngineHint): void {
    for (const listener of this.#listeners) listener(hint);
  }

  #watchUpstream(upstream: Endpoint | null): void {
    if (!this.#isClosed) this.#watch.watch(upstream);
  }

  /** The connection is gone; the process follows, and that is worth a second look. */
  #serverLost(): void {
    this.#hint("server-lost");
    if (!this.#isAwaitingEnd) void this.#awaitEnd();
  }

  /** Never rejects: it only brings the next look forward, and who may not look at processes is told so by that one. */
  async #awaitEnd(): Promise<void> {
    const { dataDirectory, log } = this.#options;
    this.#isAwaitingEnd = true;
    try {
      const postmaster = livingPostmaster(dataDirectory);
      if (!postmaster) return;
      const deadline = new Deadline(END_PATIENCE_MS);
      while (!deadline.isOver && !this.#isClosed && !this.#probe.isConnected) {
        if (!isServerOf(postmaster.pid, dataDirectory)) return this.#hint("server-lost");
        await pause(END_LOOK_MS);
      }
    } catch (error) {
      log.warn({ code: codeOf(error) }, "the end of the server's process cannot be awaited");
    } finally {
      this.#isAwaitingEnd = false;
    }
  }

  async #hasReceiverEnded(): Promise<boolean> {
    try {
      const sql = "SELECT FROM pg_stat_activity WHERE backend_type = 'walreceiver'";
      return (await within(this.#control.ask(sql), RECEIVER_QUESTION_MS, "the server")).length === 0;
    } catch {
      return true;
    }
  }

  /** pg_rewind and a quick next start need the checkpoint; nobody waits for it, least of all the first clients. */
  #checkpointSoon(): void {
    this.#checkpointTimer = setTimeout(() => this.#checkpointNow(), CHECKPOINT_AFTER_MS);
  }

  #checkpointNow(): void {
    this.#checkpoint
      .askWithin("CHECKPOINT", CHECKPOINT_DEADLINE_MS)
      .catch((error: unknown) => this.#options.log.warn({ code: codeOf(error) }, "no checkpoint after the promotion"))
      .finally(() => this.#checkpoint.discard());
  }

  /** One at a time; never rejects. */
  async #exclusively(deadlineMs: number, work: (control: Control) => Promise<void>): Promise<EngineOutcome> {
    const deadline = new Deadline(deadlineMs);
    const fences = this.#fences;
    const isCalledOff = () => this.#fences !== fences;
    const before = this.#task;
    const mine = (async () => {
      await before;
      if (deadline.isOver) throw new Refusal("busy", "what was under way took all the time there was");
      if (isCalledOff()) throw new Refusal("called-off", "the server is being fenced");
      await work({ options: this.#options, connection: this.#control, deadline, isCalledOff });
    })();
    this.#task = mine.catch(() => {});
    try {
      await mine;
      return { ok: true };
    } catch (error) {
      return outcomeOf(error);
    }
  }

  /** The way of every connection to this server but the door's own. */
  #local(applicationName: string): ConnectionTarget {
    return { ...this.#target(applicationName), entry: () => this.#door.betweenLooks() };
  }

  #target(applicationName: string): ConnectionTarget {
    const { socketDirectory, port, user, database, passwordFile } = this.#options;
    return { host: socketDirectory, port, user, database, passwordFile, applicationName };
  }

  #remote({ host, port }: Endpoint, purpose: "watch" | "ask"): ConnectionTarget {
    const { replicationUser, passwordFile, applicationName } = this.#options;
    // The password file names the pseudo-database of the stream, which is also what this connection is let in by.
    const target = { host, port, user: replicationUser, database: "replication", passwordFile };
    return { ...target, applicationName: `${applicationName}-${purpose}`, replication: "true" };
  }
}

async function always(): Promise<EngineOutcome> {
  return { ok: true };
}

function outcomeOf(error: unknown): EngineOutcome {
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof Refusal) return { ok: false, code: error.code, detail };
  if (error instanceof OutOfTime) return { ok: false, code: "not-in-time", detail };
  if (isServerRefusal(error)) return { ok: false, code: "refused-by-server", detail: `${codeOf(error)} ${detail}` };
  return { ok: false, code: "unreachable", detail: codeOf(error) === "" ? detail : `${codeOf(error)} ${detail}` };
}

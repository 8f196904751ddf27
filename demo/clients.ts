/**
 * Two applications that write through the connector: one opens a connection for every write, the other keeps one open.
 * Each write has a number of its own, so that what was acknowledged can be looked for afterwards.
 */
import { openSession, withSession, type Session } from "./session.ts";
import type { Ack, ClientError } from "./figures.ts";

const EVERY_MS = 10;
const IN_FLIGHT_MAX = 50;
const RECONNECT_MS = 50;
const CREATE = "create table if not exists writes(n bigint primary key, client text, at timestamptz default now())";
/** The server names itself and its timeline, so that the acknowledgement says who gave it, and in which reign. */
const WRITE = `with written as (insert into writes(n, client) values ($1, $2) returning 1)
  select inet_server_port() as server,
    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int as timeline from written`;

export interface Journal {
  acks: Ack[];
  errors: ClientError[];
}

export class DemoClients {
  readonly perWrite: Journal = { acks: [], errors: [] };
  readonly kept: Journal = { acks: [], errors: [] };
  readonly #port: number;
  readonly #deadlineMs: number;
  readonly #underWay = new Set<Promise<void>>();
  #lastNumber = 0;
  #timer: NodeJS.Timeout | null = null;
  #keeper: Promise<void[]> | null = null;
  readonly #writers: number | null;
  readonly #open = new Set<Session>();
  #isStopping = false;
  #wake: () => void = () => {};

  /**
   * `holdTimeoutMs` is the connector's: an attempt waits somewhat longer than the connector may hold it. `writers` kept
   * sessions write without a pause; null: one of them, with one.
   */
  constructor(options: { connectorPort: number; holdTimeoutMs: number; writers?: number | null }) {
    this.#writers = options.writers ?? null;
    this.#port = options.connectorPort;
    this.#deadlineMs = options.holdTimeoutMs + 5_000;
  }

  /** Creates the table and begins to write. */
  async start(): Promise<void> {
    await withSession({ port: this.#port, deadlineMs: this.#deadlineMs }, (client) => client.query(CREATE));
    this.#timer = setInterval(() => this.#attempt(), EVERY_MS);
    const everyMs = this.#writers === null ? EVERY_MS : 0;
    this.#keeper = Promise.all(Array.from({ length: this.#writers ?? 1 }, () => this.#keepWriting(everyMs)));
  }

  get ackCount(): number {
    return this.perWrite.acks.length + this.kept.acks.length;
  }

  /** Ends both; what is under way is waited for, within the deadline of one attempt. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#timer) clearInterval(this.#timer);
    this.#wake();
    await Promise.all([...this.#underWay, this.#keeper]);
  }

  /** Ends both at once, cutting what is under way. */
  async abandon(): Promise<void> {
    const stopped = this.stop();
    for (const session of this.#open) session.cut("the demo ends");
    await stopped;
  }

  /** The numbers that the table holds, read through the connector. */
  async present(): Promise<Set<number>> {
    return withSession({ port: this.#port, deadlineMs: this.#deadlineMs }, async (client) => {
      const { rows } = await client.query<{ n: string }>("select n from writes");
      return new Set(rows.map(({ n }) => Number(n)));
    });
  }

  #attempt(): void {
    if (this.#underWay.size >= IN_FLIGHT_MAX) return;
    const attempt = this.#writeOnce().finally(() => this.#underWay.delete(attempt));
    this.#underWay.add(attempt);
  }

  async #writeOnce(): Promise<void> {
    const n = this.#nextNumber();
    const openedAtMs = performance.now();
    try {
      await withSession({ port: this.#port, deadlineMs: this.#deadlineMs, open: this.#open }, async (client) => {
        this.perWrite.acks.push(await write(client, n, "per-write"));
      });
    } catch (error) {
      this.perWrite.errors.push({ n, openedAtMs, atMs: performance.now(), message: (error as Error).message });
    }
  }

  async #keepWriting(everyMs: number): Promise<void> {
    while (!this.#isStopping) {
      const openedAtMs = performance.now();
      const session = openSession(this.#port);
      this.#open.add(session);
      try {
        await this.#writeOn(session, everyMs);
        await session.client.end();
      } catch (error) {
        const { message } = session.causeOr(error);
        this.kept.errors.push({ n: this.#lastNumber, openedAtMs, atMs: performance.now(), message });
        await this.#rest(RECONNECT_MS);
      } finally {
        session.cut("over");
        this.#open.delete(session);
      }
    }
  }

  async #writeOn(session: Session, everyMs: number): Promise<void> {
    await this.#within(session, session.client.connect());
    while (!this.#isStopping) {
      const began = performance.now();
      const ack = await this.#within(session, write(session.client, this.#nextNumber(), "kept"));
      this.kept.acks.push(ack);
      const restMs = everyMs - (performance.now() - began);
      if (restMs > 0) await this.#rest(restMs);
    }
  }

  /** Every step of the kept session has the deadline of an attempt. */
  async #within<T>(session: Session, step: Promise<T>): Promise<T> {
    const timer = setTimeout(() => session.cut(`no answer for ${this.#deadlineMs / 1_000} s`), this.#deadlineMs);
    try {
      return await step;
    } finally {
      clearTimeout(timer);
    }
  }

  async #rest(restMs: number): Promise<void> {
    if (this.#isStopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, restMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #nextNumber(): number {
    this.#lastNumber += 1;
    return this.#lastNumber;
  }
}

async function write(client: Session["client"], n: number, name: string): Promise<Ack> {
  const sentAtMs = performance.now();
  const { rows } = await client.query<{ server: number; timeline: number }>(WRITE, [n, name]);
  const { server = 0, timeline = 0 } = rows[0] ?? {};
  return { n, server, timeline, sentAtMs, ackedAtMs: performance.now() };
}

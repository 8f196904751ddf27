/**
 * Two clients that go straight to one server, past the connector: one has been connected all along, the other opens a
 * connection for every write. They tell what a server does that nobody guards any more.
 */
import { setTimeout as pause } from "node:timers/promises";
import { openSession, withSession, type Session } from "./session.ts";

const CREATE = "create table if not exists direct(n bigint, at timestamptz default now())";
const WRITE = "insert into direct(n) values ($1)";
const ANSWER_MS = 5_000;
const RETRY_MS = 5;

export class DirectWriters {
  /** When each write was acknowledged, in monotonic milliseconds. */
  readonly acksAtMs: number[] = [];
  readonly #port: number;
  readonly #session: Session;
  readonly #open = new Set<Session>();
  #loops: Promise<void>[] = [];
  #isStopping = false;
  #lastNumber = 0;

  constructor(port: number) {
    this.#port = port;
    this.#session = openSession(port);
  }

  /** Makes their table on the server, which accepts writes at this moment, and opens the session that is kept. */
  async connect(): Promise<void> {
    await withSession({ port: this.#port, deadlineMs: ANSWER_MS }, (client) => client.query(CREATE));
    await this.#session.client.connect();
  }

  /** Begins to write: what is sent to a server that stands still waits in its sockets. */
  start(): void {
    this.#loops = [this.#writeOnKept(), this.#writeOnNew()];
  }

  /** Ends both, cutting what is under way. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const session of [this.#session, ...this.#open]) session.cut("the direct writers end");
    await Promise.all(this.#loops);
  }

  async #writeOnKept(): Promise<void> {
    while (!this.#isStopping && this.#session.isUsable) {
      const hasWritten = await this.#writeOnce(this.#session.client).catch(() => false);
      if (!hasWritten) await pause(RETRY_MS);
    }
  }

  async #writeOnNew(): Promise<void> {
    while (!this.#isStopping) {
      const where = { port: this.#port, deadlineMs: ANSWER_MS, open: this.#open };
      const hasWritten = await withSession(where, (client) => this.#writeOnce(client)).catch(() => false);
      if (!hasWritten) await pause(RETRY_MS);
    }
  }

  async #writeOnce(client: Session["client"]): Promise<boolean> {
    this.#lastNumber += 1;
    await client.query(WRITE, [this.#lastNumber]);
    this.acksAtMs.push(performance.now());
    return true;
  }
}

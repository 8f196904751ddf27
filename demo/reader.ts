/** An application that reads: a connection for every look at the table, through the connector's port for readers. */
import { setTimeout as pause } from "node:timers/promises";
import { withSession, type Session } from "./session.ts";

const EVERY_MS = 100;
const READ = "select inet_server_port() as server, count(*) from writes";

export class DemoReader {
  /** How many reads each server has answered, by its port. */
  readonly reads = new Map<number, number>();
  errors = 0;
  readonly #port: number;
  readonly #deadlineMs: number;
  readonly #open = new Set<Session>();
  readonly #over = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  /** `holdTimeoutMs` is the connector's: a read waits somewhat longer than the connector may hold it. */
  constructor(options: { readOnlyPort: number; holdTimeoutMs: number }) {
    this.#port = options.readOnlyPort;
    this.#deadlineMs = options.holdTimeoutMs + 5_000;
  }

  /** Begins to read; the table must be there. */
  start(): void {
    this.#loop = this.#readOn();
  }

  /** Ends it, cutting what is under way. */
  async stop(): Promise<void> {
    this.#over.abort();
    for (const session of this.#open) session.cut("the reader ends");
    await this.#loop;
  }

  async #readOn(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      const where = { port: this.#port, deadlineMs: this.#deadlineMs, open: this.#open };
      try {
        const { rows } = await withSession(where, (client) => client.query<{ server: number }>(READ));
        const server = rows[0]?.server ?? 0;
        this.reads.set(server, (this.reads.get(server) ?? 0) + 1);
      } catch {
        if (!signal.aborted) this.errors += 1;
      }
      await pause(EVERY_MS, undefined, { signal }).catch(() => {});
    }
  }
}

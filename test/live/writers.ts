/** Clients that write as fast as they can, and know what was acknowledged to them. */
import { HOLD_TIMEOUT_MS } from "../../demo/cluster.ts";
import { openSession, withSession, type Session } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";

export const WRITERS = 8;
const DEADLINE_MS = HOLD_TIMEOUT_MS + 5_000;

/** Clients that keep a connection each, write number after number, and come again when they are cut off. */
export class Writers {
  readonly acked = new Set<number>();
  readonly #port: number;
  #next = 0;
  #isStopping = false;
  #loops: Promise<void>[] = [];
  readonly #open = new Set<Session>();

  constructor(port: number) {
    this.#port = port;
  }

  async start(): Promise<void> {
    await withSession({ port: this.#port, deadlineMs: DEADLINE_MS }, (client) =>
      client.query("create table kept(n bigint primary key)"),
    );
    this.#loops = Array.from({ length: WRITERS }, () => this.#write());
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#loops);
  }

  /** Cuts whoever still waits. */
  abandon(): void {
    this.#isStopping = true;
    for (const session of this.#open) session.cut("the test is over");
  }

  /** Waits until so many more writes were acknowledged than now. */
  async more(count: number): Promise<void> {
    const goal = this.acked.size + count;
    await until(`${goal} writes`, { deadlineMs: 60_000, everyMs: 10 }, () =>
      this.acked.size >= goal ? { found: true } : { missing: `${this.acked.size} so far` },
    );
  }

  /** The acknowledged numbers that are in no row. */
  async lost(): Promise<number[]> {
    const { rows } = await withSession({ port: this.#port, deadlineMs: DEADLINE_MS }, (client) =>
      client.query<{ n: string }>("select n from kept"),
    );
    const present = new Set(rows.map(({ n }) => Number(n)));
    return [...this.acked].filter((n) => !present.has(n));
  }

  async #write(): Promise<void> {
    while (!this.#isStopping) {
      const session = openSession(this.#port);
      this.#open.add(session);
      try {
        await session.client.connect();
        while (!this.#isStopping) {
          this.#next += 1;
          const n = this.#next;
          const timer = setTimeout(() => session.cut("no answer"), DEADLINE_MS);
          try {
            await session.client.query("insert into kept values ($1)", [n]);
          } finally {
            clearTimeout(timer);
          }
          this.acked.add(n);
        }
      } catch {
        // The write may be done or not: nobody was told.
      } finally {
        session.cut("over");
        this.#open.delete(session);
      }
    }
  }
}

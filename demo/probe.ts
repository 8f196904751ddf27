/**
 * A witness of its own: it writes straight to every server, past the connector and past every agent, and notes what
 * was acknowledged, by whom and when. Two writers at one time cannot hide from it.
 */
import { dualWrites, type ReignAck } from "./figures.ts";
import { openSession, withSession, type Session } from "./session.ts";

const EVERY_MS = 20;
const RECONNECT_MS = 50;
const ANSWER_MS = 2_000;
const CREATE = "create table if not exists probe(member text, n bigint, at timestamptz default now())";
const WRITE = `with written as (insert into probe(member, n) values ($1, $2) returning 1)
  select ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int as timeline from written`;

export class Probe {
  readonly acks: ReignAck[] = [];
  readonly #servers: readonly { member: string; port: number }[];
  readonly #sessions = new Map<string, Session>();
  readonly #wakes = new Set<() => void>();
  #loops: Promise<void>[] = [];
  #isStopping = false;

  constructor(servers: readonly { member: string; port: number }[]) {
    this.#servers = servers;
  }

  /** Creates its table on the server that is primary now, and begins to write to all. */
  async start(primary: string): Promise<void> {
    const server = this.#servers.find(({ member }) => member === primary);
    if (!server) throw new Error(`the probe knows no server of '${primary}'`);
    await withSession({ port: server.port, deadlineMs: ANSWER_MS }, (client) => client.query(CREATE));
    this.#loops = this.#servers.map((each) => this.#watch(each));
  }

  /** Ends it; within the deadline of one answer. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const wake of this.#wakes) wake();
    for (const session of this.#sessions.values()) session.cut("the probe ends");
    await Promise.all(this.#loops);
  }

  /** What must not have happened: see `dualWrites`. */
  dualWrites(): ReignAck[] {
    return dualWrites(this.acks);
  }

  async #watch(server: { member: string; port: number }): Promise<void> {
    while (!this.#isStopping) {
      const session = openSession(server.port);
      this.#sessions.set(server.member, session);
      try {
        await within(session, session.client.connect());
        while (!this.#isStopping) {
          await this.#writeOnce(session, server.member);
          await this.#rest(EVERY_MS);
        }
      } catch {
        // A server that is down or cuts its sessions acknowledges nothing: that is all there is to note.
        await this.#rest(RECONNECT_MS);
      } finally {
        session.cut("over");
      }
    }
  }

  /** A refusal because the server is read-only leaves the connection as it is; every other error ends it. */
  async #writeOnce(session: Session, member: string): Promise<void> {
    const sentAtMs = performance.now();
    try {
      const query = session.client.query<{ timeline: number }>(WRITE, [member, this.acks.length]);
      const { rows } = await within(session, query);
      this.acks.push({ member, timeline: rows[0]?.timeline ?? 0, sentAtMs, ackedAtMs: performance.now() });
    } catch (error) {
      if ((error as { code?: string }).code !== READ_ONLY && (error as { code?: string }).code !== NO_TABLE)
        throw error;
    }
  }

  async #rest(restMs: number): Promise<void> {
    if (this.#isStopping) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, restMs);
      this.#wakes.add(wake);
    });
  }
}

/** SQLSTATE: the server is in recovery, or the table has not reached this replica yet. */
const READ_ONLY = "25006";
const NO_TABLE = "42P01";

async function within<T>(session: Session, step: Promise<T>): Promise<T> {
  const timer = setTimeout(() => session.cut("no answer"), ANSWER_MS);
  try {
    return await step;
  } finally {
    clearTimeout(timer);
  }
}

/** A replicated cluster that somebody else has set up and that serves already: nothing in it is of our making. */
import { appendFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DemoMember } from "../../demo/postgres.ts";
import type { Pristine } from "../../demo/pristine.ts";
import { launchServer } from "../../demo/server.ts";
import { openSession, withSession, type Session } from "../../demo/session.ts";
import { until } from "../../demo/until.ts";

const EVERY_MS = 5;
const READY_MS = 30_000;
const LOOK_EVERY_MS = 20;
const ANSWER_MS = 20_000;

/** Starts the first member writable, and the others as its replicas; waits until they stream. */
export async function startServing(members: readonly DemoMember[], pristine: Pristine): Promise<void> {
  const [primary, ...replicas] = members;
  if (!primary) throw new Error("a cluster has at least one member");
  rmSync(join(primary.dataDirectory, "standby.signal"));
  for (const replica of replicas) {
    const feed = `primary_conninfo = 'host=${primary.host} port=${primary.port} user=postgres application_name=${replica.name}'`;
    appendFileSync(join(replica.dataDirectory, "postgresql.auto.conf"), `${feed}\n`);
  }
  await Promise.all(members.map((member) => launchServer(member, pristine)));
  await until("the replicas stream", { deadlineMs: READY_MS, everyMs: LOOK_EVERY_MS }, async () => {
    const streaming = await countStreams(primary.port).catch(() => 0);
    return streaming === replicas.length ? { found: true } : { missing: `${streaming} of ${replicas.length} do` };
  });
}

function countStreams(port: number): Promise<number> {
  return withSession({ port, deadlineMs: ANSWER_MS }, async (client) => {
    const { rows } = await client.query<{ count: number }>(
      "select count(*)::int as count from pg_stat_replication where state = 'streaming'",
    );
    return rows[0]?.count ?? 0;
  });
}

/** A session that writes all the time, on one connection, and never reconnects. */
export class KeptSession {
  readonly backends = new Set<number>();
  writes = 0;
  failure: string | null = null;
  readonly #session: Session;
  #timer: NodeJS.Timeout | null = null;
  #underWay: Promise<void> = Promise.resolve();

  constructor(port: number) {
    this.#session = openSession(port);
  }

  async start(): Promise<void> {
    await this.#session.client.connect();
    await this.#session.client.query("create table kept(n bigint)");
    this.#next();
  }

  async stop(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    await this.#underWay;
    this.#session.cut("the test is over");
  }

  #next(): void {
    this.#underWay = this.#writeOnce();
  }

  async #writeOnce(): Promise<void> {
    try {
      const sql = "insert into kept(n) values ($1) returning pg_backend_pid() as backend";
      const { rows } = await this.#session.client.query<{ backend: number }>(sql, [this.writes]);
      this.backends.add(rows[0]?.backend ?? 0);
      this.writes += 1;
      this.#timer = setTimeout(() => this.#next(), EVERY_MS);
    } catch (error) {
      this.failure = this.#session.causeOr(error).message;
    }
  }
}

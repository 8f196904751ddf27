/** A dataservice whose operator's stories are told one after another: each begins with db1 as its primary and all well. */
import { equal } from "node:assert/strict";
import type { DatasourceStatus, Status } from "#shared/protocol/api.ts";
import { DATASERVICE, FIRST_PRIMARY, type DemoCluster } from "../../../demo/cluster.ts";
import { withSession } from "../../../demo/session.ts";
import { Stage } from "../../../demo/stage.ts";
import { until, type Look } from "../../../demo/until.ts";
import { OperatorsConsole, type Typed } from "./console.ts";
import { normalised, readPage } from "./page.ts";

const SOON_MS = 30_000;
const LOOK_EVERY_MS = 50;
const SQL_MS = 20_000;

/** Where a primary's log ends, and whether a checkpoint lies in its newest timeline. */
const OWN_LOG_SQL = `
  select pg_current_wal_lsn()::text as lsn,
    to_hex(timeline_id) = ltrim(lower(left(pg_walfile_name(pg_current_wal_lsn()), 8)), '0') as checkpointed
  from pg_control_checkpoint()`;

export class Story {
  readonly cluster: DemoCluster;
  readonly #stage: Stage;

  private constructor(stage: Stage, cluster: DemoCluster) {
    this.#stage = stage;
    this.cluster = cluster;
  }

  static async open(): Promise<Story> {
    const stage = await Stage.open(() => {});
    try {
      const cluster = await stage.cluster();
      await cluster.untilOnline();
      const story = new Story(stage, cluster);
      await story.sql("create table story(n bigint primary key)");
      return story;
    } catch (error) {
      await stage.end();
      throw error;
    }
  }

  /** Throws when something was left behind. */
  async close(): Promise<void> {
    const left = await this.#stage.end();
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  }

  /** A console of its own, as at a new terminal; by default with all rights. */
  console(token?: string): OperatorsConsole {
    return new OperatorsConsole(this.cluster.rexEnvironment(token));
  }

  /** One line at a new terminal, in whatever mode it needs. */
  type(...lines: string[]): Promise<Typed> {
    return this.console().type(
      lines,
      lines.map(() => "y"),
    );
  }

  /** Back to how every story begins. Throws when the dataservice cannot be brought there. */
  async calm(): Promise<void> {
    await this.type("set policy automatic");
    const status = await this.until("a primary", ({ primary }) => primary !== null);
    if (status.datasources.some(({ state }) => state === "failed" || state === "shunned")) {
      const { screen, status: exit } = await this.type("recover");
      if (exit !== 0) throw new Error(screen);
    }
    const { primary } = await this.cluster.untilOnline();
    if (primary !== FIRST_PRIMARY) {
      const { screen, status: exit } = await this.type(`switch to ${FIRST_PRIMARY}`);
      if (exit !== 0) throw new Error(screen);
      await this.cluster.untilOnline();
    }
    await this.#untilLevel();
  }

  /** The replicas have all that the primary has written for itself since it was opened, its first checkpoint included. */
  async #untilLevel(): Promise<void> {
    await until("level replicas", { deadlineMs: SOON_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const [own] = await this.sqlOn(FIRST_PRIMARY, OWN_LOG_SQL);
      if (own?.["checkpointed"] !== true) return { missing: "the first checkpoint" };
      const others = this.cluster.servers.filter(({ member }) => member !== FIRST_PRIMARY);
      const has = `select pg_last_wal_replay_lsn() >= '${String(own["lsn"])}' as has`;
      const rows = await Promise.all(others.map(({ member }) => this.sqlOn(member, has)));
      return rows.every(([row]) => row?.["has"] === true) ? { found: true } : { missing: "a replica is behind" };
    });
  }

  /** Types what the page types; what comes back must be the page. Answers the exit status. */
  async play(name: string, token?: string): Promise<number> {
    const page = readPage(name);
    const { screen, status } = await this.console(token).type(page.typed, page.answers);
    equal(normalised(screen), page.text);
    return status;
  }

  /** Types what the page types, again and again, until what comes back is the page: only for what changes nothing. */
  async untilPage(name: string, deadlineMs = SOON_MS): Promise<void> {
    const page = readPage(name);
    let seen = "";
    const look = async (): Promise<Look<true>> => {
      seen = normalised((await this.console().type(page.typed)).screen);
      return seen === page.text ? { found: true } : { missing: "the screen is another" };
    };
    await until(`the page ${name}`, { deadlineMs, everyMs: LOOK_EVERY_MS }, look).catch(() => {});
    equal(seen, page.text);
  }

  /** Waits until the status is as it is wanted, and answers it. */
  until(what: string, isSo: (status: Status) => boolean, deadlineMs = SOON_MS): Promise<Status> {
    return until(what, { deadlineMs, everyMs: LOOK_EVERY_MS }, async () => {
      const status = await this.cluster.status();
      return isSo(status) ? { found: status } : { missing: pictureOf(status) };
    });
  }

  /** Looks for that long, and throws at once when it is not so. */
  async during(forMs: number, what: string, isSo: (status: Status) => boolean): Promise<void> {
    const end = performance.now() + forMs;
    await until(what, { deadlineMs: 2 * forMs + SOON_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const status = await this.cluster.status();
      if (!isSo(status)) throw new Error(`${what}: ${pictureOf(status)}`);
      return performance.now() >= end ? { found: true } : { missing: "the time is not over" };
    });
  }

  /** Waits until a member's own server shows the row. */
  async untilRow(member: string, n: number): Promise<void> {
    await until(`row ${n} on ${member}`, { deadlineMs: SOON_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const rows = await this.sqlOn(member, `select n from story where n = ${n}`);
      return rows.length === 1 ? { found: true } : { missing: "it is not there" };
    });
  }

  /** One statement through the connector, on the primary. */
  sql(text: string): Promise<Record<string, unknown>[]> {
    return this.#sqlAt(this.cluster.connectorPort, text);
  }

  /** One statement on one member's own server. */
  sqlOn(member: string, text: string): Promise<Record<string, unknown>[]> {
    const port = this.cluster.servers.find((server) => server.member === member)?.port ?? 0;
    return this.#sqlAt(port, text);
  }

  async #sqlAt(port: number, text: string): Promise<Record<string, unknown>[]> {
    return withSession({ port, deadlineMs: SQL_MS }, async (client) => (await client.query(text)).rows);
  }

  /** The events that were told since `after`. */
  async eventsSince(after: number): Promise<{ kind: string; data: Record<string, unknown> }[]> {
    return (await this.cluster.client.events(DATASERVICE, after)).events;
  }

  async lastEvent(): Promise<number> {
    return (await this.cluster.client.events(DATASERVICE, Number.MAX_SAFE_INTEGER)).last;
  }
}

/** Whether the datasource is in that state. */
export function isIn(status: Status, name: string, state: DatasourceStatus["state"]): boolean {
  return status.datasources.some((datasource) => datasource.member === name && datasource.state === state);
}

/** How far the member has applied its log, as it last reported. */
export function progressOf(status: Status, name: string): number {
  return status.datasources.find(({ member }) => member === name)?.progress ?? -1;
}

function pictureOf({ primary, epoch, policy, operation, datasources }: Status): string {
  const members = datasources.map(
    ({ member, role, state, reason, dataserver, replicator }) =>
      `${member} ${role} ${state}(${reason.kind}) server ${dataserver.state} replicator ${replicator.state}`,
  );
  return [`primary ${primary} of epoch ${epoch}, ${policy}`, `operation ${operation?.kind ?? "none"}`, ...members].join(
    "; ",
  );
}

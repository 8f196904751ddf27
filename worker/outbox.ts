/**
 * Webhooks and what is still to be told to them: plain SQL. A delivery is written in the transaction of its event and
 * deleted or ended in one of its own, so that whatever dies between the two, the event is delivered at least once.
 */
import type { Deliveries, Delivery } from "#shared/protocol/api.ts";
import type { StoredReason } from "./reason.ts";

/** The newest of each webhook kept; whoever has more pending than this has stopped listening. */
export const PENDING_KEPT = 10_000;
export const DELIVERED_KEPT = 100;
export const DEAD_KEPT = 1_000;
const PENDING_BATCH = 100;
const LISTED = 100;

export interface StoredWebhook {
  id: string;
  url: string;
  /** The kinds of events to deliver; null for all. */
  events: string[] | null;
  secret: string;
  createdWallMs: number;
}

/** The oldest pending delivery of a webhook, and where it goes. */
export interface Head {
  n: number;
  webhook: string;
  url: string;
  secret: string;
  body: string;
  tries: number;
  nextTryWallMs: number;
}

/** How a try failed: when the next is due, wall time; null when it was the last. */
export interface FailedTry {
  nextTryWallMs: number | null;
  error: string;
  wallMs: number;
}

interface DeliveryRow extends Record<string, SqlStorageValue> {
  n: number;
  event_id: number;
  type: string;
  state: string;
  tries: number;
  created_wall_ms: number;
  next_try_wall_ms: number | null;
  ended_wall_ms: number | null;
  last_error: string | null;
}

export class Outbox {
  readonly #sql: SqlStorage;
  #hasNews = true;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Whether something may have become pending since this was asked last: then, and only then, it is worth looking. */
  takeNews(): boolean {
    const hadNews = this.#hasNews;
    this.#hasNews = false;
    return hadNews;
  }

  webhooks(): StoredWebhook[] {
    return this.#sql
      .exec<{ id: string; url: string; events: string | null; secret: string; createdWallMs: number }>(
        "SELECT id, url, events, secret, created_wall_ms AS createdWallMs FROM webhooks ORDER BY created_wall_ms, id",
      )
      .toArray()
      .map(({ id, url, events, secret, createdWallMs }) => {
        const kinds = events === null ? null : (JSON.parse(events) as string[]);
        return { id, url, events: kinds, secret, createdWallMs };
      });
  }

  addWebhook({ id, url, events, secret, createdWallMs }: StoredWebhook): void {
    this.#write(
      "INSERT INTO webhooks (id, url, events, secret, created_wall_ms) VALUES (?, ?, ?, ?, ?)",
      id,
      url,
      events && JSON.stringify(events),
      secret,
      createdWallMs,
    );
  }

  /** Nothing more is delivered to it, not even what is pending. */
  removeWebhook(id: string): void {
    this.#write("DELETE FROM webhooks WHERE id = ?", id);
    this.#write("DELETE FROM deliveries WHERE webhook = ?", id);
  }

  /** Writes one delivery for each webhook that asked for such events. */
  enqueue(event: { id: number; reason: StoredReason; wallMs: number }): void {
    const { kind, ...data } = event.reason;
    const wanting = this.webhooks().filter(({ events }) => events === null || events.includes(kind));
    if (wanting.length === 0) return;
    const { dataservice } = this.#sql
      .exec<{ dataservice: string }>("SELECT json_extract(body, '$.dataservice') AS dataservice FROM state")
      .one();
    const body = JSON.stringify({ type: kind, timestamp: new Date(event.wallMs).toISOString(), dataservice, data });
    for (const { id } of wanting) this.#enqueue(id, { ...event, kind, body });
  }

  /** The oldest pending delivery of every webhook that has one. */
  heads(): Head[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & Head>(
        `SELECT d.n, d.webhook, w.url, w.secret, d.body, d.tries, d.next_try_wall_ms AS nextTryWallMs
           FROM webhooks w JOIN deliveries d ON d.n =
             (SELECT n FROM deliveries WHERE webhook = w.id AND state = 'pending' ORDER BY n LIMIT 1)
          ORDER BY d.next_try_wall_ms, d.n`,
      )
      .toArray();
  }

  delivered({ n, webhook }: Head, wallMs: number): void {
    this.#hasNews = true;
    this.#write(
      "UPDATE deliveries SET state = 'delivered', tries = tries + 1, next_try_wall_ms = NULL, ended_wall_ms = ? WHERE n = ?",
      wallMs,
      n,
    );
    this.#forget(webhook, "delivered", DELIVERED_KEPT);
  }

  failed({ n, webhook }: Head, { nextTryWallMs, error, wallMs }: FailedTry): void {
    this.#hasNews = true;
    const isDead = nextTryWallMs === null;
    this.#write(
      "UPDATE deliveries SET state = ?, tries = tries + 1, next_try_wall_ms = ?, ended_wall_ms = ?, last_error = ? WHERE n = ?",
      isDead ? "dead" : "pending",
      nextTryWallMs,
      isDead ? wallMs : null,
      error,
      n,
    );
    if (isDead) this.#forget(webhook, "dead", DEAD_KEPT);
  }

  /** Makes a dead delivery pending again, from its first try on. */
  revive(n: number, wallMs: number): void {
    this.#hasNews = true;
    this.#write(
      "UPDATE deliveries SET state = 'pending', tries = 0, next_try_wall_ms = ?, ended_wall_ms = NULL WHERE n = ?",
      wallMs,
      n,
    );
  }

  delivery(webhook: string, n: number): Delivery | null {
    const [row] = this.#sql
      .exec<DeliveryRow>("SELECT * FROM deliveries WHERE n = ? AND webhook = ?", n, webhook)
      .toArray();
    return row ? lineOf(row) : null;
  }

  deliveries(webhook: string): Deliveries {
    const listed = (state: Delivery["state"], order: "ASC" | "DESC"): Delivery[] =>
      this.#sql
        .exec<DeliveryRow>(
          `SELECT * FROM deliveries WHERE webhook = ? AND state = ? ORDER BY n ${order} LIMIT ?`,
          webhook,
          state,
          LISTED,
        )
        .toArray()
        .map(lineOf);
    return {
      pending: listed("pending", "ASC"),
      delivered: listed("delivered", "DESC"),
      dead: listed("dead", "DESC"),
    };
  }

  #enqueue(webhook: string, event: { id: number; kind: string; body: string; wallMs: number }): void {
    this.#hasNews = true;
    this.#write(
      "INSERT INTO deliveries (webhook, event_id, type, body, state, tries, created_wall_ms, next_try_wall_ms) VALUES (?, ?, ?, ?, 'pending', 0, ?, ?)",
      webhook,
      event.id,
      event.kind,
      event.body,
      event.wallMs,
      event.wallMs,
    );
    if (event.id % PENDING_BATCH !== 0) return;
    this.#write(
      `UPDATE deliveries SET state = 'dead', next_try_wall_ms = NULL, ended_wall_ms = ?4, last_error = 'too many were pending'
        WHERE ${BEYOND_THE_NEWEST}`,
      webhook,
      "pending",
      PENDING_KEPT,
      event.wallMs,
    );
    this.#forget(webhook, "dead", DEAD_KEPT);
  }

  #forget(webhook: string, state: Delivery["state"], kept: number): void {
    this.#write(`DELETE FROM deliveries WHERE ${BEYOND_THE_NEWEST}`, webhook, state, kept);
  }

  #write(statement: string, ...bindings: (string | number | null)[]): void {
    this.#sql.exec(statement, ...bindings);
  }
}

/** The deliveries of webhook `?1` in state `?2`, less the newest `?3` of them. */
const BEYOND_THE_NEWEST = `webhook = ?1 AND state = ?2 AND n <=
  (SELECT n FROM deliveries WHERE webhook = ?1 AND state = ?2 ORDER BY n DESC LIMIT 1 OFFSET ?3)`;

function lineOf(row: DeliveryRow): Delivery {
  return {
    n: row.n,
    eventId: row.event_id,
    type: row.type,
    state: row.state as Delivery["state"],
    tries: row.tries,
    createdWallMs: row.created_wall_ms,
    nextTryWallMs: row.next_try_wall_ms,
    endedWallMs: row.ended_wall_ms,
    lastError: row.last_error,
  };
}

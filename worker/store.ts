/**
 * The object's storage: plain SQL, one method per thing that is kept. Nothing here decides; every method belongs into
 * the one transaction of its event.
 */
import type { Reason } from "#shared/core/cluster/reason.ts";
import type { ClusterStep, DurableState, LeaseRecord, OperationRecord } from "#shared/core/cluster/state.ts";
import type { Reign } from "#shared/domain/reign.ts";
import type { PresentedToken, TokenKind } from "./auth.ts";
import { Outbox } from "./outbox.ts";
import type { StoredReason } from "./reason.ts";
import { upgraded, upgradedLease, type StoredState } from "./upgrade.ts";

/** The newest events kept; older ones go, a batch at a time. */
export const EVENTS_KEPT = 10_000;
const EVENTS_BATCH = 100;
/** The newest operations kept, with their transcripts. */
export const OPERATIONS_KEPT = 1_000;

/** One start of the object. A dataservice that was deleted and created again is another creation, and counts from 1 again. */
export interface Incarnation {
  creation: string;
  generation: number;
}

/** This incarnation of the object has a successor: whatever it was about to write must not be written. */
export class StaleIncarnation extends Error {
  constructor(own: Incarnation, stored: Incarnation) {
    super(
      own.creation === stored.creation
        ? `generation ${own.generation} has been replaced by ${stored.generation}`
        : `the dataservice of generation ${own.generation} has been deleted, and another one created`,
    );
    this.name = "StaleIncarnation";
  }
}

export interface StoredEvent {
  id: number;
  wallMs: number;
  reason: StoredReason;
}

export interface StoredToken {
  id: string;
  kind: TokenKind;
  /** Whom an agent's token speaks for; null for people's. */
  host: string | null;
  /** What people call it. */
  label: string | null;
  sha256: string;
  createdWallMs: number;
}

export class Store {
  readonly #sql: SqlStorage;
  /** What webhooks are still to be told; every event passes through it. */
  readonly outbox: Outbox;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    this.outbox = new Outbox(sql);
  }

  /** The first rows of a new dataservice. */
  found(durable: DurableState): void {
    this.#write("INSERT INTO meta (id, generation, creation) VALUES (1, 0, hex(randomblob(16)))");
    this.#write("INSERT INTO lease (id, body, confirmations) VALUES (1, NULL, 0)");
    this.#write("INSERT INTO state (id, body) VALUES (1, ?)", stateBody(durable));
  }

  /** The incarnation that may write from now on, with the next generation. */
  nextIncarnation(): Incarnation {
    this.#write("UPDATE meta SET generation = generation + 1");
    return this.#incarnation();
  }

  /** Throws `StaleIncarnation` when another incarnation has taken over. */
  assertCurrent(own: Incarnation): void {
    const stored = this.#incarnation();
    if (stored.generation !== own.generation || stored.creation !== own.creation) {
      throw new StaleIncarnation(own, stored);
    }
  }

  load(): { durable: DurableState; lease: LeaseRecord | null } {
    const reigns = this.#sql
      .exec<{ body: string }>("SELECT body FROM reigns ORDER BY epoch")
      .toArray()
      .map(({ body }) => JSON.parse(body) as Reign);
    const stored = JSON.parse(this.#sql.exec<{ body: string }>("SELECT body FROM state").one().body) as StoredState;
    const { body } = this.#sql.exec<{ body: string | null }>("SELECT body FROM lease").one();
    return {
      durable: { ...upgraded(stored), reigns },
      lease: body === null ? null : upgradedLease(JSON.parse(body) as LeaseRecord),
    };
  }

  /** Persists what a step changed: nothing at all when it changed nothing and carries no authority. */
  save(before: { durable: DurableState; lease: LeaseRecord | null }, step: ClusterStep, wallMs: number): void {
    const { durable, lease } = step.state;
    if (durable !== before.durable) this.#saveDurable(before.durable, durable);
    if (lease !== before.lease) {
      this.#write("UPDATE lease SET body = ?, confirmations = confirmations + 1", lease && JSON.stringify(lease));
    } else if (step.confirm) {
      this.#write("UPDATE lease SET confirmations = confirmations + 1");
    }
    for (const effect of step.effects) {
      if (effect.kind === "operation") this.#saveOperation(effect.record);
      else this.#appendTranscript(effect.op, effect.entry);
    }
    for (const reason of step.reasons) this.appendEvent(reason, wallMs);
  }

  appendEvent(reason: StoredReason, wallMs: number): void {
    this.#write("INSERT INTO events (wall_ms, body) VALUES (?, ?)", wallMs, JSON.stringify(reason));
    const { id } = this.#sql.exec<{ id: number }>("SELECT max(id) AS id FROM events").one();
    this.outbox.enqueue({ id, reason, wallMs });
    if (id % EVENTS_BATCH === 0) this.#write("DELETE FROM events WHERE id <= ?", id - EVENTS_KEPT);
  }

  /** Events after `after`, oldest first, and the newest id there is. */
  events(after: number, limit: number): { events: StoredEvent[]; last: number } {
    const events = this.#sql
      .exec<{ id: number; wall_ms: number; body: string }>(
        "SELECT id, wall_ms, body FROM events WHERE id > ? ORDER BY id LIMIT ?",
        after,
        limit,
      )
      .toArray()
      .map(({ id, wall_ms, body }) => ({ id, wallMs: wall_ms, reason: JSON.parse(body) as StoredReason }));
    const { last } = this.#sql.exec<{ last: number }>("SELECT coalesce(max(id), 0) AS last FROM events").one();
    return { events, last };
  }

  operation(op: number): OperationRecord | null {
    const [row] = this.#sql.exec<{ body: string }>("SELECT body FROM operations WHERE op = ?", op).toArray();
    return row ? (JSON.parse(row.body) as OperationRecord) : null;
  }

  /** The newest operations, newest first. */
  operations(limit: number): OperationRecord[] {
    return this.#sql
      .exec<{ body: string }>("SELECT body FROM operations ORDER BY op DESC LIMIT ?", limit)
      .toArray()
      .map(({ body }) => JSON.parse(body) as OperationRecord);
  }

  transcript(op: number): Reason[] {
    return this.#sql
      .exec<{ body: string }>("SELECT body FROM transcript WHERE op = ? ORDER BY line", op)
      .toArray()
      .map(({ body }) => JSON.parse(body) as Reason);
  }

  addToken(token: PresentedToken, owner: { host: string | null; label: string | null }, wallMs: number): void {
    this.#write(
      "INSERT INTO tokens (id, kind, host, label, sha256, created_wall_ms) VALUES (?, ?, ?, ?, ?, ?)",
      token.id,
      token.kind,
      owner.host,
      owner.label,
      token.sha256,
      wallMs,
    );
  }

  removeToken(id: string): void {
    this.#write("DELETE FROM tokens WHERE id = ?", id);
  }

  token(id: string): StoredToken | null {
    const [row] = this.#sql.exec<TokenRow>("SELECT * FROM tokens WHERE id = ?", id);
    return row ? tokenOf(row) : null;
  }

  /** Every live token, oldest first. */
  tokens(): StoredToken[] {
    return this.#sql.exec<TokenRow>("SELECT * FROM tokens ORDER BY created_wall_ms, id").toArray().map(tokenOf);
  }

  /** When the named timer is due, wall time; null when it is not set. */
  timer(name: string): number | null {
    const [row] = this.#sql.exec<{ due: number }>("SELECT due_wall_ms AS due FROM timers WHERE name = ?", name);
    return row?.due ?? null;
  }

  setTimer(name: string, dueWallMs: number): void {
    this.#write(
      "INSERT INTO timers (name, due_wall_ms) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET due_wall_ms = excluded.due_wall_ms",
      name,
      dueWallMs,
    );
  }

  clearTimer(name: string): void {
    this.#write("DELETE FROM timers WHERE name = ?", name);
  }

  #saveDurable(before: DurableState, after: DurableState): void {
    this.#write("UPDATE state SET body = ?", stateBody(after));
    for (const [index, reign] of after.reigns.entries()) {
      if (reign === before.reigns[index]) continue;
      this.#write(
        "INSERT INTO reigns (epoch, body) VALUES (?, ?) ON CONFLICT (epoch) DO UPDATE SET body = excluded.body",
        reign.epoch,
        JSON.stringify(reign),
      );
    }
  }

  #saveOperation(record: OperationRecord): void {
    this.#write(
      "INSERT INTO operations (op, body) VALUES (?, ?) ON CONFLICT (op) DO UPDATE SET body = excluded.body",
      record.op,
      JSON.stringify(record),
    );
    this.#write("DELETE FROM operations WHERE op <= ?", record.op - OPERATIONS_KEPT);
    this.#write("DELETE FROM transcript WHERE op <= ?", record.op - OPERATIONS_KEPT);
  }

  #appendTranscript(op: number, entry: Reason): void {
    this.#write(
      "INSERT INTO transcript (op, line, body) SELECT ?1, coalesce(max(line), 0) + 1, ?2 FROM transcript WHERE op = ?1",
      op,
      JSON.stringify(entry),
    );
  }

  #incarnation(): Incarnation {
    return this.#sql.exec<{ creation: string; generation: number }>("SELECT creation, generation FROM meta").one();
  }

  #write(statement: string, ...bindings: (string | number | null)[]): void {
    this.#sql.exec(statement, ...bindings);
  }
}

/** The reigns have rows of their own: they only ever grow, and most changes do not concern them. */
function stateBody(durable: DurableState): string {
  const { reigns: _, ...rest } = durable;
  return JSON.stringify(rest);
}

interface TokenRow extends Record<string, SqlStorageValue> {
  id: string;
  kind: string;
  host: string | null;
  label: string | null;
  sha256: string;
  created_wall_ms: number;
}

function tokenOf({ id, kind, host, label, sha256, created_wall_ms }: TokenRow): StoredToken {
  return { id, kind: kind as TokenKind, host, label, sha256, createdWallMs: created_wall_ms };
}

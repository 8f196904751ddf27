/**
 * The one object that knows which dataservices there are: a Worker cannot list its objects.
 *
 * It is a directory for people and decides nothing. A name is written here before its dataservice is created and
 * removed after that is deleted, so that what exists is always listed; what is listed may, after a failure in between,
 * not exist, and another deletion then removes it.
 */
import { DurableObject } from "cloudflare:workers";
import type { Dataservices } from "#shared/protocol/api.ts";
import type { Env } from "./env.ts";
import { migrate, type Migration } from "./migrations.ts";

/** The newest deletions kept. */
const DELETED_KEPT = 100;

const MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    name: "first tables",
    statements: [
      "CREATE TABLE dataservices (name TEXT PRIMARY KEY, created_wall_ms INTEGER NOT NULL) WITHOUT ROWID",
      // The log of a dataservice goes with it: that and by whom it was deleted stands here.
      "CREATE TABLE deletions (id INTEGER PRIMARY KEY, name TEXT NOT NULL, wall_ms INTEGER NOT NULL, by TEXT NOT NULL, had_primary TEXT)",
    ],
  },
];

export type Deletion = Dataservices["deleted"][number];

export class Registry extends DurableObject<Env> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    ctx.storage.transactionSync(() => migrate(this.#sql, MIGRATIONS, Date.now()));
  }

  /** Notes that a dataservice is about to exist. */
  add(name: string): void {
    this.#sql.exec(
      "INSERT INTO dataservices (name, created_wall_ms) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
      name,
      Date.now(),
    );
  }

  /** Takes a name from the list, and keeps by whom it was deleted, unless it never existed. */
  remove(name: string, deletion: Deletion | null): void {
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec("DELETE FROM dataservices WHERE name = ?", name);
      if (!deletion) return;
      const { deletedWallMs, by, hadPrimary } = deletion;
      const { id } = this.#sql
        .exec<{ id: number }>(
          "INSERT INTO deletions (name, wall_ms, by, had_primary) VALUES (?, ?, ?, ?) RETURNING id",
          name,
          deletedWallMs,
          by,
          hadPrimary,
        )
        .one();
      this.#sql.exec("DELETE FROM deletions WHERE id <= ?", id - DELETED_KEPT);
    });
  }

  list(): Dataservices {
    const dataservices = this.#sql
      .exec<{ name: string; createdWallMs: number }>(
        "SELECT name, created_wall_ms AS createdWallMs FROM dataservices ORDER BY name",
      )
      .toArray();
    const deleted = this.#sql
      .exec<{ name: string; deletedWallMs: number; by: string; hadPrimary: string | null }>(
        "SELECT name, wall_ms AS deletedWallMs, by, had_primary AS hadPrimary FROM deletions ORDER BY id DESC",
      )
      .toArray();
    return { dataservices, deleted };
  }
}

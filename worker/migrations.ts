/**
 * The object's tables, as an ordered list of steps. A step that was released is never edited; what changes comes as the
 * next one. The table `migrations` says which have been applied.
 */

export interface Migration {
  id: number;
  name: string;
  statements: readonly string[];
}

export const MIGRATIONS: readonly Migration[] = [
  {
    id: 1,
    name: "first tables",
    statements: [
      // Which incarnation of the object may write: each start takes the next number.
      "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL)",
      "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL)",
      // The one row written at rest. `confirmations` gives every answer that carries authority a write of its own.
      "CREATE TABLE lease (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT, confirmations INTEGER NOT NULL)",
      "CREATE TABLE reigns (epoch INTEGER PRIMARY KEY, body TEXT NOT NULL)",
      "CREATE TABLE events (id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, body TEXT NOT NULL)",
      "CREATE TABLE operations (op INTEGER PRIMARY KEY, body TEXT NOT NULL)",
      "CREATE TABLE transcript (op INTEGER NOT NULL, line INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (op, line)) WITHOUT ROWID",
      "CREATE TABLE tokens (id TEXT PRIMARY KEY, kind TEXT NOT NULL, host TEXT, sha256 TEXT NOT NULL, created_wall_ms INTEGER NOT NULL) WITHOUT ROWID",
      "CREATE TABLE timers (name TEXT PRIMARY KEY, due_wall_ms INTEGER NOT NULL) WITHOUT ROWID",
    ],
  },
  {
    id: 2,
    name: "labels of tokens, webhooks",
    statements: [
      "ALTER TABLE tokens ADD COLUMN label TEXT",
      // `events` is a JSON list of kinds, null for all. The secret signs: unlike a token's it is needed in the clear.
      "CREATE TABLE webhooks (id TEXT PRIMARY KEY, url TEXT NOT NULL, events TEXT, secret TEXT NOT NULL, created_wall_ms INTEGER NOT NULL) WITHOUT ROWID",
      // The outbox. A row is written with its event and holds all that is sent, so that every try sends the same.
      "CREATE TABLE deliveries (n INTEGER PRIMARY KEY, webhook TEXT NOT NULL, event_id INTEGER NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, created_wall_ms INTEGER NOT NULL, next_try_wall_ms INTEGER, ended_wall_ms INTEGER, last_error TEXT)",
      "CREATE INDEX deliveries_of_webhook ON deliveries (webhook, state, n)",
    ],
  },
  {
    id: 3,
    name: "each creation has a name of its own",
    statements: [
      // Generations begin anew when a dataservice is deleted and created again in the same object.
      "ALTER TABLE meta ADD COLUMN creation TEXT NOT NULL DEFAULT ''",
      "UPDATE meta SET creation = hex(randomblob(16))",
    ],
  },
];

/** Whether this storage has ever been set up. Reads only: asking must not bring an object into being. */
export function isSetUp(sql: SqlStorage): boolean {
  return sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'").toArray().length > 0;
}

/**
 * Applies what is missing, in order; returns how many steps that were. Run it inside a transaction. Throws when the
 * storage is newer than this code: old code must not write into tables whose meaning it does not know.
 */
export function migrate(sql: SqlStorage, migrations: readonly Migration[], wallMs: number): number {
  sql.exec(
    "CREATE TABLE IF NOT EXISTS migrations (id INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_wall_ms INTEGER NOT NULL)",
  );
  const { applied } = sql.exec<{ applied: number }>("SELECT coalesce(max(id), 0) AS applied FROM migrations").one();
  const known = migrations.at(-1)?.id ?? 0;
  if (applied > known)
    throw new Error(`storage is at migration ${applied}, this code knows ${known}: deploy the newer Worker`);
  const missing = migrations.filter((migration) => migration.id > applied);
  for (const { id, name, statements } of missing) {
    for (const statement of statements) sql.exec(statement);
    sql.exec("INSERT INTO migrations (id, name, applied_wall_ms) VALUES (?, ?, ?)", id, name, wallMs);
  }
  return missing.length;
}

/** The server that another one is laid out anew after, as pg_rewind needs it. */
import type { Endpoint } from "#shared/domain/messages.ts";
import { codeOf, isServerRefusal, ServerConnection, type Row } from "./connection.ts";
import { primaryConninfo } from "./conninfo.ts";
import type { Deadline } from "./deadline.ts";
import type { PostgresOptions } from "./options.ts";
import { Refusal } from "./steering.ts";

const QUESTION_MS = 10_000;

/** What pg_rewind calls on its source (its manual, "Notes"). */
const FUNCTIONS = [
  "pg_catalog.pg_ls_dir(text, boolean, boolean)",
  "pg_catalog.pg_stat_file(text, boolean)",
  "pg_catalog.pg_read_binary_file(text)",
  "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)",
];

const SOURCE_SQL = `
  SELECT pg_is_in_recovery() AS in_recovery,
    ${FUNCTIONS.map((name) => `has_function_privilege('${name}', 'execute')`).join(" AND ")} AS may_read`;

/** The connection string for pg_rewind: the stream's, to a database. */
export function sourceConninfo(upstream: Endpoint, options: PostgresOptions): string {
  const { applicationName, database } = options;
  const quoted = `'${database.replaceAll(/(['\\])/g, "\\$1")}'`;
  return `${primaryConninfo(upstream, { ...options, applicationName: `${applicationName}-rewind` })} dbname=${quoted}`;
}

/**
 * Sees that the source is one, and has it write a checkpoint, by which pg_rewind tells its timeline. A role that may not
 * is no obstacle: every promotion is followed by one. Throws a Refusal `rewind-not-possible`.
 */
export async function prepareSource(upstream: Endpoint, options: PostgresOptions, deadline: Deadline): Promise<void> {
  const { replicationUser: user, database, passwordFile, applicationName } = options;
  const target = { ...upstream, user, database, passwordFile, applicationName: `${applicationName}-rewind` };
  const connection = new ServerConnection(target);
  try {
    const [source] = await ask(connection, SOURCE_SQL, Math.min(QUESTION_MS, deadline.remainingMs));
    if (source?.["in_recovery"] !== false) throw impossible(`${nameOf(upstream)} is no primary`);
    if (source["may_read"] !== true) throw impossible(lacksRights(user));
    await checkpoint(connection, deadline);
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const remedy = `role ${user} must be let into database ${database} there`;
    throw impossible(`${nameOf(upstream)}: ${codeOf(error)} ${(error as Error).message}: ${remedy}`);
  } finally {
    connection.discard();
  }
}

async function checkpoint(connection: ServerConnection, deadline: Deadline): Promise<void> {
  try {
    await ask(connection, "CHECKPOINT", deadline.remainingMs);
  } catch (error) {
    if (!isServerRefusal(error)) throw error;
  }
}

function ask(connection: ServerConnection, sql: string, ms: number): Promise<Row[]> {
  return connection.askWithin(sql, ms);
}

/** What to say when the source does not let pg_rewind read its files. */
function lacksRights(role: string): string {
  return `role ${role} may not read the primary's files: make it a superuser, or, on the primary, in that database: GRANT EXECUTE ON FUNCTION ${FUNCTIONS.join(", ")} TO ${role}`;
}

function nameOf({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}

function impossible(detail: string): Refusal {
  return new Refusal("rewind-not-possible", detail);
}

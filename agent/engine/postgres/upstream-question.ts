/** Whether a server accepts writes, asked on a replication connection: it needs no right that the stream does not have. */
import { codeOf, type Row, type ServerConnection } from "./connection.ts";
import { Deadline } from "./deadline.ts";

export type Writability = "writable" | "read-only" | "no-answer";

/** The server does not know the setting that it was asked for. */
const UNKNOWN_SETTING = "42704";

/**
 * Asks, and lets go of the connection. Rejects when no answer comes in time, or the server is not to be reached.
 *
 * Version 13 does not know `in_hot_standby`. Its transactions are read-only for as long as it is in recovery, and on a
 * primary only where somebody wants it so by default: then a writable server counts as read-only here.
 */
export async function isWritable(connection: ServerConnection, deadlineMs: number): Promise<Writability> {
  const deadline = new Deadline(deadlineMs);
  const show = async (name: string) => valueOf(await connection.askWithin(`SHOW ${name}`, deadline.remainingMs));
  try {
    return meaningOf(await show("in_hot_standby"));
  } catch (error) {
    if (codeOf(error) !== UNKNOWN_SETTING) throw error;
    return meaningOf(await show("transaction_read_only"));
  } finally {
    connection.discard();
  }
}

function valueOf([row]: Row[]): unknown {
  return row && Object.values(row)[0];
}

/** Both settings are off on a server that accepts writes. */
function meaningOf(value: unknown): Writability {
  if (value === "off") return "writable";
  return value === "on" ? "read-only" : "no-answer";
}

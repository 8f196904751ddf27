/**
 * The first message of a server. One that only says "not now" is no answer: as long as its client has heard nothing, the
 * connection can wait for a server that is ready.
 */

export type FirstAnswer =
  /** Could still become a "not now". */
  | { kind: "incomplete" }
  /** Anything else: the client has to see it. */
  | { kind: "answer" }
  /** Starting up, shutting down, or crashed beside this backend. */
  | { kind: "not-now"; sqlState: string };

/** admin_shutdown, crash_shutdown, cannot_connect_now */
const NOT_NOW = new Set(["57P01", "57P02", "57P03"]);
const ERROR_RESPONSE = 0x45;
const SQLSTATE_FIELD = 0x43;
const HEADER_BYTES = 5;
/** Longer than any of these messages; a larger length word belongs to another protocol. */
const LONGEST_ERROR_BYTES = 8_192;

/** Tells whether a server's first bytes are an answer or an ErrorResponse that means "not now". */
export function readFirstAnswer(bytes: Buffer): FirstAnswer {
  if (bytes.length === 0) return { kind: "incomplete" };
  if (bytes[0] !== ERROR_RESPONSE) return { kind: "answer" };
  if (bytes.length < HEADER_BYTES) return { kind: "incomplete" };
  const end = 1 + bytes.readUInt32BE(1);
  if (end < HEADER_BYTES || end > LONGEST_ERROR_BYTES) return { kind: "answer" };
  if (bytes.length < end) return { kind: "incomplete" };
  const sqlState = readSqlState(bytes.subarray(HEADER_BYTES, end));
  return sqlState !== null && NOT_NOW.has(sqlState) ? { kind: "not-now", sqlState } : { kind: "answer" };
}

/** An ErrorResponse is a list of fields, each a type byte and a text ended by a zero byte; a zero byte ends the list. */
function readSqlState(fields: Buffer): string | null {
  let at = 0;
  while (at < fields.length && fields[at] !== 0) {
    const end = fields.indexOf(0, at + 1);
    if (end < 0) return null;
    if (fields[at] === SQLSTATE_FIELD) return fields.toString("latin1", at + 1, end);
    at = end + 1;
  }
  return null;
}

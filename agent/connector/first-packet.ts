/**
 * The first packet of a client, looked at only as far as it decides two things: what may be sent again when a server
 * went away before it answered, and how a refusal is worded.
 *
 * Nothing behind the first packet may reach a server that has not answered: a client may send its first statement
 * together with the startup packet, and a server whose answers are lost on the way could have executed it. Sent again to
 * the next primary, it would be executed twice.
 */

export type FirstPacket =
  /** Too short to tell. */
  | { kind: "incomplete" }
  /** `length` in bytes, the length word included; the packet need not have arrived whole. */
  | { kind: "startup" | "ssl-request" | "gss-request"; length: number }
  /** Asks for the cancellation of a statement; the server answers by closing, without a byte. */
  | { kind: "cancel" }
  /** TLS without an SSLRequest before it. */
  | { kind: "tls-hello" }
  /** Not the PostgreSQL protocol version 3. */
  | { kind: "other" };

/** PostgreSQL refuses longer startup packets itself. */
const LONGEST_STARTUP_BYTES = 10_000;
const HEADER_BYTES = 8;
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const TLS_HANDSHAKE = 0x16;

/** Tells what a client's first bytes are. */
export function readFirstPacket(bytes: Buffer): FirstPacket {
  if (bytes.length < 4) return { kind: "incomplete" };
  if (bytes[0] === TLS_HANDSHAKE && bytes[1] === 3) return { kind: "tls-hello" };
  const length = bytes.readUInt32BE(0);
  if (length < HEADER_BYTES || length > LONGEST_STARTUP_BYTES) return { kind: "other" };
  if (bytes.length < HEADER_BYTES) return { kind: "incomplete" };
  const code = bytes.readUInt32BE(4);
  if (code === SSL_REQUEST) return { kind: "ssl-request", length };
  if (code === GSS_REQUEST) return { kind: "gss-request", length };
  if (code === CANCEL_REQUEST) return { kind: "cancel" };
  return code >>> 16 === 3 ? { kind: "startup", length } : { kind: "other" };
}

/**
 * How many of a client's first `available` bytes a server may see before it has answered, being sent again to the next
 * one if it never does; `never` when these bytes may be sent only once.
 */
export function resendableBytes(packet: FirstPacket, available: number): number | "never" {
  switch (packet.kind) {
    case "incomplete":
    case "tls-hello":
      return available;
    case "startup":
    case "ssl-request":
    case "gss-request":
      return Math.min(available, packet.length);
    case "cancel":
    case "other":
      return "never";
  }
}

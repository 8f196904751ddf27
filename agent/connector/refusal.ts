/** How a client is told that it cannot be served: in its own protocol, so that its driver shows the reason. */
import type { Socket } from "node:net";
import { readFirstPacket } from "./first-packet.ts";

export interface Refusal {
  message: string;
  hint: string;
}

/** How long a client may take to send its startup packet and to close after the refusal. */
const CONVERSATION_MS = 5_000;
/** cannot_connect_now: drivers know that trying again can help. */
const CANNOT_CONNECT_NOW = "57P03";
/** The answer to a request for encryption that is not given. */
const DECLINED = Buffer.from("N", "latin1");

/** A FATAL ErrorResponse of protocol version 3. */
export function encodeRefusal(refusal: Refusal): Buffer {
  const fields = [
    ["S", "FATAL"],
    ["V", "FATAL"],
    ["C", CANNOT_CONNECT_NOW],
    ["M", refusal.message],
    ["H", refusal.hint],
  ];
  const body = Buffer.from(`${fields.map(([type, text]) => `${type}${text}\0`).join("")}\0`, "utf8");
  const head = Buffer.alloc(5);
  head.write("E", 0, "latin1");
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/** `said` bytes of the client are dealt with; `close` ends the conversation after the answer, `hang-up` at once. */
export interface Utterance {
  answer: Buffer;
  said: number;
  next: "listen" | "close" | "hang-up";
}

/** What to say to a client that has sent `bytes` so far: encryption is declined, the startup refused. */
export function converse(bytes: Buffer, refusal: Refusal): Utterance {
  const packet = readFirstPacket(bytes);
  switch (packet.kind) {
    case "cancel":
    case "tls-hello":
    case "other":
      return { answer: Buffer.alloc(0), said: 0, next: "hang-up" };
    case "incomplete":
      return { answer: Buffer.alloc(0), said: 0, next: "listen" };
    case "startup":
    case "ssl-request":
    case "gss-request":
  }
  if (bytes.length < packet.length) return { answer: Buffer.alloc(0), said: 0, next: "listen" };
  if (packet.kind === "startup") return { answer: encodeRefusal(refusal), said: packet.length, next: "close" };
  const rest = converse(bytes.subarray(packet.length), refusal);
  return { answer: Buffer.concat([DECLINED, rest.answer]), said: packet.length + rest.said, next: rest.next };
}

/**
 * Refuses `client`, whose bytes so far are `early`, and closes it. Owns the socket from now on: the caller has removed
 * its own `data` and `end` listeners, and hears of the end by `close`.
 */
export function refuse(client: Socket, early: Buffer, refusal: Refusal): void {
  let heard = early;
  let closing = false;
  const deadline = setTimeout(() => client.destroy(), CONVERSATION_MS);
  client.once("close", () => clearTimeout(deadline));
  client.once("end", () => client.end());
  const listen = (chunk: Buffer): void => {
    // What comes after the refusal is read and dropped: closing a socket with unread bytes resets it, and the reset
    // could overtake the refusal.
    if (closing) return;
    heard = Buffer.concat([heard, chunk]);
    const { answer, said, next } = converse(heard, refusal);
    heard = heard.subarray(said);
    if (next === "hang-up") {
      client.destroy();
      return;
    }
    closing = next === "close";
    if (answer.length > 0) client.write(answer);
    if (closing) client.end();
  };
  client.on("data", listen);
  listen(Buffer.alloc(0));
  client.resume();
}

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

/**
 * What to say to a client that has sent `bytes` so far: `said` of them are dealt with and `answer` goes out; `close`
 * ends the conversation after the answer, `hang-up` at once.
 */
export function converse(
  bytes: Buffer,
  refusal: Refusal,
): { answer: Buffer; said: number; then: "listen" | "close" | "hang-up" } {
  const declined: Buffer[] = [];
  let said = 0;
  for (;;) {
    const packet = readFirstPacket(bytes.subarray(said));
    switch (packet.kind) {
      case "incomplete":
        return { answer: Buffer.concat(declined), said, then: "listen" };
      case "ssl-request":
      case "gss-request":
        if (bytes.length < said + packet.length) return { answer: Buffer.concat(declined), said, then: "listen" };
        declined.push(Buffer.from("N", "latin1"));
        said += packet.length;
        break;
      case "startup":
        if (bytes.length < said + packet.length) return { answer: Buffer.concat(declined), said, then: "listen" };
        return {
          answer: Buffer.concat([...declined, encodeRefusal(refusal)]),
          said: said + packet.length,
          then: "close",
        };
      case "cancel":
      case "tls-hello":
      case "other":
        return { answer: Buffer.concat(declined), said, then: "hang-up" };
    }
  }
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
    const { answer, said, then } = converse(heard, refusal);
    heard = heard.subarray(said);
    if (then === "hang-up") {
      client.destroy();
      return;
    }
    closing = then === "close";
    if (answer.length > 0) client.write(answer);
    if (closing) client.end();
  };
  client.on("data", listen);
  listen(Buffer.alloc(0));
  client.resume();
}

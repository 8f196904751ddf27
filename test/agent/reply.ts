/** An answer that says nothing: what the tests of the agent's side put their own words into, and sign as a coordinator does. */
import { createHmac } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Poll, Reply } from "#shared/domain/messages.ts";
import { REPLY_SIGNATURE_HEADER, signedPartOf } from "#shared/protocol/reply-signature.ts";

export const EMPTY_REPLY: Reply = {
  protocol: 1,
  answersSeq: 1,
  nonce: "1.1",
  version: 1,
  mac: "",
  nextPollMs: 1_000,
  policy: "automatic",
  policyVersion: 1,
  lease: null,
  leaseEnded: null,
  commands: [],
  sync: null,
  routes: [],
  call: [],
  peers: [],
  peerKey: "",
};

/** The header that says that the holder of the agent's token gave this answer to that poll. */
export function signedWith(token: string, poll: string, reply: string): Record<string, string> {
  const signature = createHmac("sha256", token).update(signedPartOf(poll, reply)).digest("base64url");
  return { [REPLY_SIGNATURE_HEADER]: signature };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Answers when the whole of a poll is there. */
export function onPoll(
  answer: (poll: string, response: ServerResponse, request: IncomingMessage) => ServerResponse,
): RequestListener {
  return (request, response) => void bodyOf(request).then((poll) => answer(poll, response, request));
}

/** A reply to just this poll. */
export function replyTo(poll: string, reply: Partial<Reply>): string {
  return JSON.stringify({ ...EMPTY_REPLY, answersSeq: (JSON.parse(poll) as Poll).seq, ...reply });
}

/** A coordinator that answers each poll with this, signed for the agent that asked. */
export function answering(reply: Partial<Reply>): RequestListener {
  return onPoll((poll, response, { headers }) => {
    const text = replyTo(poll, reply);
    const token = (headers.authorization ?? "").replace(/^Bearer /, "");
    return response.writeHead(200, signedWith(token, poll, text)).end(text);
  });
}

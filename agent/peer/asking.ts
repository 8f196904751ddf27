/**
 * Questions to a peer whose answer counts. The answer carries a MAC over itself and over the very request: an address
 * that somebody else has taken over since, or an answer of an earlier question, proves nothing.
 */
import { type Agent, type ClientRequest, request } from "node:http";
import type { LookupFunction, Socket } from "node:net";
import type { Endpoint } from "#shared/domain/messages.ts";
import { ANSWER_HEADER, isAnswerSigned, readClaim, sign, SIGNATURE_HEADER } from "./signature.ts";

const MAX_ANSWER_BYTES = 65_536;

/** Whom a request is for, where he listens, and the key that he holds. */
export interface Addressed {
  from: string;
  to: string;
  endpoint: Endpoint;
  key: string;
}

/** What a tunnel is asked for: the peer alone knows where its coordinator is. */
export const TUNNEL = { method: "CONNECT", path: "coordinator:0" } as const;

export interface Asking {
  agent: Agent;
  timeoutMs: number;
  nowWallMs: () => number;
  /** The longest answer; a longer one is none. */
  maxBytes?: number;
}

/** Rejects when the peer is not reached within `timeoutMs`, or the answer is not authentic. */
export function askPeer(
  { from, to, endpoint, key }: Addressed,
  question: { method: string; path: string; body: string },
  { agent, timeoutMs, nowWallMs, maxBytes = MAX_ANSWER_BYTES }: Asking,
): Promise<{ status: number; body: string }> {
  const { method, path, body } = question;
  const signature = sign(key, { method, path, body, from, to, atWallMs: nowWallMs() });
  const headers = { [SIGNATURE_HEADER]: signature, "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const outgoing = request({ ...endpoint, method, path, agent, headers, signal }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) outgoing.destroy(new Error("the answer is too large"));
        else chunks.push(chunk);
      });
      response.once("error", reject);
      response.once("end", () => {
        const answer = { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() };
        const asked = readClaim(signature);
        const isAuthentic = asked && isAnswerSigned(key, asked.mac, answer, response.headers[ANSWER_HEADER]);
        if (isAuthentic) resolve(answer);
        else reject(new Error(`HTTP ${answer.status}, not signed by '${to}'`));
      });
    });
    outgoing.once("error", reject);
    settleAtTheEnd(outgoing, reject);
    outgoing.end(body);
  });
}

/** Not every end of a connection is told as an error, and whoever waits for a question that never settles asks no other. */
export function settleAtTheEnd(outgoing: ClientRequest, reject: (error: Error) => void): void {
  // An answer that has just come whole is told in this turn.
  outgoing.once("close", () => setImmediate(() => reject(new Error("the connection was closed without an answer"))));
}

/** A connection to the coordinator by way of a peer: what goes through it the peer hands on and does not read. */
export function tunnelThrough(
  { from, to, endpoint, key }: Addressed,
  { signal, nowWallMs, lookup }: { signal: AbortSignal; nowWallMs: () => number; lookup?: LookupFunction | undefined },
): Promise<Socket> {
  const signature = sign(key, { ...TUNNEL, body: "", from, to, atWallMs: nowWallMs() });
  return new Promise((resolve, reject) => {
    const headers = { [SIGNATURE_HEADER]: signature };
    const outgoing = request({ ...endpoint, ...TUNNEL, agent: false, lookup, headers, signal });
    outgoing.once("connect", (response, socket) => {
      if (response.statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(new Error(`'${to}' carries nothing: HTTP ${response.statusCode}`));
    });
    outgoing.once("response", (response) => {
      response.resume();
      reject(new Error(`'${to}' carries nothing: HTTP ${response.statusCode}`));
    });
    outgoing.once("error", reject);
    settleAtTheEnd(outgoing, reject);
    outgoing.end();
  });
}

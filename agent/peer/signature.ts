/**
 * Who speaks on the peer channel: a MAC with the key that all agents of a dataservice share, over everything that counts.
 * It says that an agent of this dataservice wrote the request for this receiver within the last minute, not that it has
 * not been heard before: what a request does must bear repetition, or carry a number of its own.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export const SIGNATURE_HEADER = "interrex-peer";
/** On an answer: the MAC of whoever gave it. */
export const ANSWER_HEADER = "interrex-peer-answer";
/** How far the clocks of two hosts may be apart. */
export const TOLERANCE_MS = 60_000;

/** What is signed. `atWallMs` is when the sender wrote it, by its wall clock. */
export interface Signed {
  method: string;
  path: string;
  from: string;
  to: string;
  atWallMs: number;
  body: string;
}

/** The value of the header. */
export function sign(key: string, signed: Signed): string {
  const { from, to, atWallMs } = signed;
  return `v1 ${from} ${to} ${atWallMs} ${macOf(key, signed).toString("base64url")}`;
}

export type Claim = Pick<Signed, "from" | "to" | "atWallMs"> & { mac: string };

/** What a header claims; null when it is none of ours. It proves nothing yet. */
export function readClaim(header: string | string[] | undefined): Claim | null {
  if (typeof header !== "string") return null;
  const match = /^v1 ([a-z0-9-]{1,32}) ([a-z0-9-]{1,32}) (\d{1,15}) ([A-Za-z0-9_-]{43})$/.exec(header);
  if (!match) return null;
  const [, from = "", to = "", at = "", mac = ""] = match;
  return { from, to, atWallMs: Number(at), mac };
}

/** Whether the claim is for this host and of now: cheap, and looked at before a body is read. */
export function isTimely({ to, atWallMs }: Claim, self: string, nowWallMs: number): boolean {
  return to === self && Math.abs(nowWallMs - atWallMs) <= TOLERANCE_MS;
}

/** Whether the holder of the key has signed exactly this. Takes the same time whatever is wrong. */
export function isSigned(key: string, claim: Claim, request: Pick<Signed, "method" | "path" | "body">): boolean {
  const { from, to, atWallMs } = claim;
  return timingSafeEqual(macOf(key, { ...request, from, to, atWallMs }), Buffer.from(claim.mac, "base64url"));
}

/** The value of an answer's header; `askedMac` is that of the request it answers. */
export function signAnswer(key: string, askedMac: string, { status, body }: { status: number; body: string }): string {
  const signed = JSON.stringify(["interrex-peer-answer-1", askedMac, status, body]);
  return createHmac("sha256", key).update(signed).digest("base64url");
}

/** Whether the holder of the key gave exactly this answer to exactly that request. */
export function isAnswerSigned(
  key: string,
  askedMac: string,
  answer: { status: number; body: string },
  header: string | string[] | undefined,
): boolean {
  const due = Buffer.from(signAnswer(key, askedMac, answer));
  const given = Buffer.from(typeof header === "string" ? header : "");
  return given.length === due.length && timingSafeEqual(given, due);
}

function macOf(key: string, { method, path, from, to, atWallMs, body }: Signed): Buffer {
  return createHmac("sha256", key)
    .update(JSON.stringify(["interrex-peer-1", method, path, from, to, atWallMs, body]))
    .digest();
}

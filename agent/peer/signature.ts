/**
 * Who speaks on the peer channel: a MAC with the key that all agents of a dataservice share, over everything that counts.
 * It says that an agent of this dataservice wrote the request for this receiver within the last minute, not that it has
 * not been heard before: what a request does must bear repetition, or carry a number of its own.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export const SIGNATURE_HEADER = "interrex-peer";
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

function macOf(key: string, { method, path, from, to, atWallMs, body }: Signed): Buffer {
  return createHmac("sha256", key)
    .update(JSON.stringify(["interrex-peer-1", method, path, from, to, atWallMs, body]))
    .digest();
}

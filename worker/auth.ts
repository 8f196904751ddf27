/**
 * Who may do what.
 *
 * A token is `rex_<kind>_<dataservice>_<id>_<secret>`. The last 24 digits of the secret are a MAC over all before them:
 * junk and forgeries are refused by the Worker alone, before any object is touched. The object then looks up the
 * token's SHA-256, the only thing that is stored of it.
 */
import { createHash, randomBytes } from "node:crypto";
import { isName } from "#shared/domain/names.ts";
import { equalInConstantTime, type Macs } from "./mac.ts";

export const TOKEN_KINDS = ["operator", "viewer", "agent"] as const;
export type TokenKind = (typeof TOKEN_KINDS)[number];

/** `manage` is tokens and webhooks; `administer` is the dataservice's existence, which no token can end. */
export type Right = "read" | "command" | "manage" | "poll" | "administer";

/** The administrator's token is a Worker secret and may do everything. */
const RIGHTS: Record<TokenKind, readonly Right[]> = {
  operator: ["read", "command", "manage"],
  viewer: ["read"],
  agent: ["poll"],
};

/** A token as a request presented it, its MAC already checked. */
export interface PresentedToken {
  kind: TokenKind;
  dataservice: string;
  id: string;
  sha256: string;
}

export type Caller = { kind: "admin" } | { kind: "token"; token: PresentedToken };

export function hasRight(kind: TokenKind, right: Right): boolean {
  return RIGHTS[kind].includes(right);
}

/** A new token. The only time that its text exists on this side. */
export function mintToken(macs: Macs, kind: TokenKind, dataservice: string): { text: string; token: PresentedToken } {
  const id = randomBytes(6).toString("hex");
  const publicPart = `rex_${kind}_${dataservice}_${id}_${randomBytes(20).toString("hex")}`;
  const text = publicPart + macs.token(publicPart);
  return { text, token: { kind, dataservice, id, sha256: sha256(text) } };
}

/** The text of the token in an `Authorization` header; null where there is none. It proves nothing yet. */
export function bearerOf(header: string | undefined): string | null {
  return /^Bearer +(\S+) *$/i.exec(header ?? "")?.[1] ?? null;
}

/** Who presents this `Authorization` header; null for nobody we know. */
export function callerOf(header: string | undefined, adminToken: string, macs: Macs): Caller | null {
  const text = bearerOf(header);
  if (text === null) return null;
  // Both sides are hashed first, so that not even the length of the administrator's token shows in the time taken.
  if (equalInConstantTime(sha256(text), sha256(adminToken))) return { kind: "admin" };
  const token = presentedToken(text, macs);
  return token && { kind: "token", token };
}

/** Whether the object's stored hash is that of the presented token. */
export function isSameToken(storedSha256: string, presented: PresentedToken): boolean {
  return equalInConstantTime(storedSha256, presented.sha256);
}

function presentedToken(text: string, macs: Macs): PresentedToken | null {
  const parts = /^(rex_([a-z]+)_([a-z0-9-]+)_([0-9a-f]{12})_[0-9a-f]{40})([0-9a-f]{24})$/.exec(text);
  if (!parts) return null;
  const [, publicPart, kind, dataservice, id, check] = parts as unknown as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  if (!equalInConstantTime(check, macs.token(publicPart))) return null;
  if (!isTokenKind(kind) || !isName(dataservice)) return null;
  return { kind, dataservice, id, sha256: sha256(text) };
}

function isTokenKind(text: string): text is TokenKind {
  return (TOKEN_KINDS as readonly string[]).includes(text);
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

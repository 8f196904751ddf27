/** Tokens as resources: made, listed and revoked, each change told in the event log. */
import type { TokenCreated, TokenLine, TokenSpec } from "#shared/protocol/api.ts";
import { refuse, type Answer, type Refused } from "./answer.ts";
import { mintToken } from "./auth.ts";
import type { Change } from "./change.ts";
import type { Macs } from "./mac.ts";
import type { StoredToken } from "./store.ts";

/** One in use, and the one that takes its place. */
const LIVE_OF_A_HOST = 2;
/** Of people, all in all: whoever needs more forgets to revoke. */
const LIVE_OF_PEOPLE = 100;

/** Makes a token; its text exists in the answer only. `hosts` are those that an agent may speak for. */
export function createToken(
  { store, dataservice, by, wallMs }: Change,
  spec: TokenSpec,
  { macs, hosts }: { macs: Macs; hosts: readonly string[] },
): Answer<TokenCreated> {
  const refused = refuseToken(spec, store.tokens(), { dataservice, hosts });
  if (refused) return refused;
  const { text, token } = mintToken(macs, spec.kind, dataservice);
  const owner = spec.kind === "agent" ? { host: spec.host, label: null } : { host: null, label: spec.label ?? null };
  store.addToken(token, owner, wallMs);
  store.appendEvent({ kind: "token-created", token: token.id, tokenKind: spec.kind, ...owner, by }, wallMs);
  return { ok: true, value: { id: token.id, kind: spec.kind, ...owner, createdWallMs: wallMs, token: text } };
}

/** Whoever presents the token from now on is nobody. */
export function revokeToken({ store, dataservice, by, wallMs }: Change, id: string): Answer<TokenLine> {
  const token = store.token(id);
  if (!token) return refuse("unknown-token", `token: '${id}' is no live token of '${dataservice}': list the tokens`);
  const { kind: tokenKind, host, label } = token;
  store.removeToken(id);
  store.appendEvent({ kind: "token-revoked", token: id, tokenKind, host, label, by }, wallMs);
  return { ok: true, value: tokenLine(token) };
}

/** What may be shown of a token. */
export function tokenLine({ id, kind, host, label, createdWallMs }: StoredToken): TokenLine {
  return { id, kind, host, label, createdWallMs };
}

function refuseToken(
  spec: TokenSpec,
  live: readonly StoredToken[],
  { dataservice, hosts }: { dataservice: string; hosts: readonly string[] },
): Refused | null {
  if (spec.kind !== "agent") {
    if (live.filter(({ kind }) => kind !== "agent").length < LIVE_OF_PEOPLE) return null;
    return refuse("too-many-tokens", `${LIVE_OF_PEOPLE} tokens of people are live: revoke one that nobody uses`);
  }
  const { host } = spec;
  if (!hosts.includes(host)) {
    return refuse(
      "unknown-member",
      `host: '${host}' is no host of '${dataservice}': its hosts are ${hosts.join(", ")}`,
    );
  }
  const own = live.filter((token) => token.host === host).map(({ id }) => id);
  if (own.length < LIVE_OF_A_HOST) return null;
  return refuse("too-many-tokens", `host: '${host}' has the live tokens ${own.join(", ")}: revoke one of them first`);
}

/** Who may do what with this dataservice: the callers' tokens against those that are live here. */
import { refuse, type Refused } from "./answer.ts";
import { hasRight, isSameToken, type Caller, type Right } from "./auth.ts";
import type { Store, StoredToken } from "./store.ts";

/** What one token is refused is told this often. */
const FORBIDDEN_EVERY_MS = 60_000;

export interface Forbidden {
  kind: "forbidden";
  token: string;
  tokenKind: StoredToken["kind"];
  host: string | null;
  right: Right;
}

export interface RightsOptions {
  store: Pick<Store, "token">;
  wallMs: () => number;
  /** Notes in the event log what a valid token was refused. */
  tell: (forbidden: Forbidden, wallMs: number) => void;
}

export class Rights {
  readonly #options: RightsOptions;
  /** When a token's refusal was told last, by the token's id. */
  readonly #toldMs = new Map<string, number>();

  constructor(options: RightsOptions) {
    this.#options = options;
  }

  /** Why `caller` may not do this; null when it may. */
  refuse(caller: Caller, right: Right): Refused | null {
    if (caller.kind === "admin") return null;
    const stored = this.#options.store.token(caller.token.id);
    if (!stored || stored.kind !== caller.token.kind || !isSameToken(stored.sha256, caller.token)) {
      return refuse(
        "unauthorized",
        `token ${caller.token.id} is not valid here: it was revoked, or is of another creation`,
      );
    }
    if (hasRight(stored.kind, right)) return null;
    this.#tell(stored, right);
    return refuse("forbidden", `token ${caller.token.id} is of kind '${stored.kind}', which has no right to ${right}`);
  }

  /** An agent speaks for its own host only. */
  refuseHost(caller: Caller, host: string): Refused | null {
    if (caller.kind === "admin") return null;
    const stored = this.#options.store.token(caller.token.id);
    const own = stored?.host ?? null;
    if (own === host) return null;
    if (stored) this.#tell(stored, "poll");
    return refuse(
      "forbidden",
      `host: '${host}' is not the host of token ${caller.token.id}: that one speaks for '${own}'`,
    );
  }

  /** How the event log calls whoever asks; a token that was just found to be valid. */
  nameOf(caller: Caller): string {
    if (caller.kind === "admin") return "admin";
    const { kind, id } = caller.token;
    const label = this.#options.store.token(id)?.label ?? null;
    return [kind, id, ...(label === null ? [] : [label])].join(":");
  }

  /** Once a minute at most for each token: whoever is refused goes on trying. */
  #tell({ id, kind, host }: StoredToken, right: Right): void {
    const wallMs = this.#options.wallMs();
    const toldMs = this.#toldMs.get(id);
    if (toldMs !== undefined && wallMs - toldMs < FORBIDDEN_EVERY_MS) return;
    this.#toldMs.set(id, wallMs);
    this.#options.tell({ kind: "forbidden", token: id, tokenKind: kind, host, right }, wallMs);
  }
}

/** Whether whoever asks may see what only those need who change it. */
export function mayManage(caller: Caller): boolean {
  return caller.kind === "admin" || hasRight(caller.token.kind, "manage");
}

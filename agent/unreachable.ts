/**
 * Every way in which the coordinator's answer can fail to be one.
 *
 * None of them says anything about a reign: a lease runs on to its own end, promises are asked for, and the agent asks
 * again. They are told apart for people only: once in each outage, with what to look at.
 */

/** `means` completes "the coordinator is unreachable: ..."; `remedy` is what a person looks at first. */
export interface Told {
  means: string;
  remedy: string;
}

export const UNREACHABLE = {
  "name-unknown": {
    means: "its name leads nowhere",
    remedy: "check the name in `coordinator` and this host's name service",
  },
  refused: {
    means: "nobody listens at its address",
    remedy: "start it, or check the port in `coordinator`",
  },
  "no-route": {
    means: "this host has no way to its address, or a packet filter of its own forbids it",
    remedy: "check this host's routes and firewall",
  },
  timeout: {
    means: "no whole answer came within `poll_timeout_ms`",
    remedy: "check the network between, and how busy the coordinator is",
  },
  "hung-up": {
    means: "the connection was cut before a whole answer had come",
    remedy: "look at the coordinator's log and at proxies between, and whether `coordinator` should say https",
  },
  certificate: {
    means: "its certificate is not to be trusted, or is another host's",
    remedy: "renew the certificate, or check the name in `coordinator`: nothing is sent until then",
  },
  tls: {
    means: "no secure connection came about",
    remedy: "check that `coordinator` says https where TLS is spoken, and http where it is not",
  },
  "not-http": {
    means: "what answers does not speak HTTP",
    remedy: "check host and port in `coordinator`",
  },
  "too-large": {
    means: "the answer is larger than any reply",
    remedy: "check what answers at the address in `coordinator`",
  },
  redirected: {
    means: "the answer leads elsewhere, and an agent's token is taken nowhere else",
    remedy: "put the address it leads to into `coordinator`",
  },
  status: {
    means: "something answered with an error that is not the coordinator's own",
    remedy: "look at the proxy or platform in front of it",
  },
  "not-a-reply": {
    means: "the answer is no reply of this protocol",
    remedy: "check what answers at the address in `coordinator`",
  },
  "other-protocol": {
    means: "the reply is of another protocol version",
    remedy: "upgrade the older of the two, the coordinator first",
  },
  "other-poll": {
    means: "the reply answers another poll",
    remedy: "look for a proxy that keeps or mixes up answers",
  },
  unsigned: {
    means: "the reply does not carry this agent's signature",
    remedy:
      "look for a proxy that changes or mixes up answers; a coordinator of an earlier version signs none: upgrade it",
  },
  "out-of-resources": {
    means: "this host has no socket or memory left for it",
    remedy: "raise the agent's limit of open files, and see what uses them up",
  },
  other: {
    means: "of something that this agent has no name for",
    remedy: "see the detail",
  },
} as const satisfies Record<string, Told>;

export type UnreachableCause = keyof typeof UNREACHABLE;

/** What the system and Node call it. Certificates and HTTP's own codes are told by their beginnings. */
const CAUSES: Record<string, UnreachableCause> = {
  ENOTFOUND: "name-unknown",
  EAI_AGAIN: "name-unknown",
  EAI_FAIL: "name-unknown",
  EAI_NODATA: "name-unknown",
  EAI_NONAME: "name-unknown",
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "no-route",
  EHOSTDOWN: "no-route",
  ENETUNREACH: "no-route",
  ENETDOWN: "no-route",
  EADDRNOTAVAIL: "no-route",
  EACCES: "no-route",
  EPERM: "no-route",
  EINVAL: "no-route",
  ETIMEDOUT: "timeout",
  ABORT_ERR: "timeout",
  ECONNRESET: "hung-up",
  ECONNABORTED: "hung-up",
  ENOTCONN: "hung-up",
  EPIPE: "hung-up",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate",
  UNABLE_TO_GET_ISSUER_CERT: "certificate",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate",
  ERR_TLS_CERT_ALTNAME_INVALID: "certificate",
  EPROTO: "tls",
  EMFILE: "out-of-resources",
  ENFILE: "out-of-resources",
  ENOBUFS: "out-of-resources",
  ENOMEM: "out-of-resources",
};
const BEGINNINGS: readonly [string, UnreachableCause][] = [
  ["CERT_", "certificate"],
  ["ERR_TLS_", "tls"],
  ["ERR_SSL_", "tls"],
  ["HPE_", "not-http"],
];

/** An answer that was broken off by us. */
export class BadAnswer extends Error {
  readonly why: UnreachableCause;
  constructor(why: UnreachableCause, detail: string) {
    super(detail);
    this.why = why;
  }
}

/** Which of them an error is. Never throws, whatever was thrown. */
export function causeOf(error: unknown): UnreachableCause {
  if (error instanceof BadAnswer) return error.why;
  if ((error as Error | null)?.name === "TimeoutError") return "timeout";
  const code = codeOf(error);
  return CAUSES[code] ?? BEGINNINGS.find(([beginning]) => code.startsWith(beginning))?.[1] ?? "other";
}

/** An error in words, also one that has none. */
export function detailOf(error: unknown): string {
  const { message = "" } = (error ?? {}) as { message?: string };
  // Where a name has several addresses, the error of each is told, and the whole has no words of its own.
  const parts = error instanceof AggregateError ? error.errors.map((part) => detailOf(part)) : [];
  return [message, parts.join("; "), codeOf(error)].find((text) => text !== "") ?? String(error);
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

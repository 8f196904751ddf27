/** The connection string that a replica streams by. */
import type { Endpoint } from "#shared/domain/messages.ts";

/** Who streams, and as what. */
export interface StreamIdentity {
  replicationUser: string;
  passwordFile: string | null;
  /** Unique among the members: synchronous replication counts its standbys by this name. */
  applicationName: string;
}

/** The value of `primary_conninfo` for `upstream`. A dead path is noticed within seconds, not after the kernel's hours. */
export function primaryConninfo(upstream: Endpoint, identity: StreamIdentity): string {
  const words: [string, string][] = [
    ["host", upstream.host],
    ["port", String(upstream.port)],
    ["user", identity.replicationUser],
    ...(identity.passwordFile === null ? [] : [["passfile", identity.passwordFile] as [string, string]]),
    ["application_name", identity.applicationName],
    ["connect_timeout", "2"],
    ["keepalives", "1"],
    ["keepalives_idle", "1"],
    ["keepalives_interval", "1"],
    ["keepalives_count", "3"],
    ["tcp_user_timeout", "4000"],
  ];
  return words.map(([key, value]) => `${key}=${quoteWord(value)}`).join(" ");
}

/** Where a connection string leads; null when it is empty or names no host. */
export function endpointOfConninfo(conninfo: string): Endpoint | null {
  const words = new Map<string, string>();
  for (const match of conninfo.matchAll(/(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))/g)) {
    words.set(match[1] ?? "", (match[2] ?? match[3] ?? "").replaceAll(/\\(.)/g, "$1"));
  }
  const host = words.get("host") ?? words.get("hostaddr");
  const port = Number(words.get("port") ?? 5432);
  return host && Number.isInteger(port) ? { host, port } : null;
}

function quoteWord(value: string): string {
  return /^[\w.:/-]+$/.test(value) ? value : `'${value.replaceAll(/(['\\])/g, "\\$1")}'`;
}

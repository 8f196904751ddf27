/**
 * Where webhooks may go. Whoever may name an address makes this coordinator send requests there: into its own network
 * only where its operator allows that.
 *
 * Names are not resolved here: that a name does not lead to a private address is the platform's to see to, which on
 * Cloudflare has no such network, and which workerd does by what its outbound service may reach.
 */

/** Why nothing is delivered to `text`; null when it may be. `allowInsecure` permits plain HTTP and private addresses. */
export function refuseUrl(text: string, allowInsecure: boolean): string | null {
  const url = URL.parse(text);
  if (url === null) return "it is no URL: give one like https://example.com/interrex";
  if (url.username !== "" || url.password !== "") return "it carries a user or password: deliveries are signed instead";
  if (url.protocol !== "https:" && !(allowInsecure && url.protocol === "http:")) {
    return `it is '${url.protocol}' and only https: is delivered to${ALLOW}`;
  }
  if (allowInsecure || !isInside(url.hostname)) return null;
  return `'${url.hostname}' is no public address${ALLOW}`;
}

const ALLOW = ", unless ALLOW_INSECURE_WEBHOOKS allows the rest";

/** Whether a host, as the URL parser normalised it, names this machine or an address that is not public. */
function isInside(hostname: string): boolean {
  const host = hostname.replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  if (host.startsWith("[")) return !isPublicV6(host.slice(1, -1));
  const parts = host.split(".").map(Number);
  const isV4 = parts.length === 4 && parts.every((part) => Number.isInteger(part));
  return isV4 && !isPublicV4(parts as [number, number, number, number]);
}

function isPublicV4([a, b, c]: [number, number, number, number]): boolean {
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false;
  if (a === 100) return b < 64 || b > 127;
  if (a === 169) return b !== 254;
  if (a === 172) return b < 16 || b > 31;
  if (a === 192) return b !== 168 && !(b === 0 && c === 0);
  if (a === 198) return b !== 18 && b !== 19;
  return true;
}

/** Only global unicast is public, less the blocks that embed an IPv4 address or document. */
function isPublicV6(address: string): boolean {
  const [first = "", second = ""] = address.split(":");
  const group = Number.parseInt(first, 16);
  const isGlobal = group >= 0x2000 && group <= 0x3fff;
  const isTunnel = group === 0x2002 || (group === 0x2001 && (second === "" || second === "0" || second === "db8"));
  return isGlobal && !isTunnel;
}

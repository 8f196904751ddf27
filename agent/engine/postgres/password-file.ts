/** Passwords from a libpq password file: `host:port:database:user:password`, `*` matches all. */
import { readFileSync } from "node:fs";

export interface PasswordQuery {
  host: string;
  port: number;
  database: string;
  user: string;
}

/** The first password that fits; undefined when none does. Throws when the file cannot be read. */
export function findPassword(path: string, query: PasswordQuery): string | undefined {
  // libpq looks a Unix socket up as localhost.
  const host = query.host.startsWith("/") ? "localhost" : query.host;
  const wanted = [host, String(query.port), query.database, query.user];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    if (line.startsWith("#")) continue;
    const fields = [...line.matchAll(/((?:[^:\\]|\\.)*)(?::|$)/g)].map((match) =>
      (match[1] ?? "").replaceAll(/\\(.)/g, "$1"),
    );
    if (fields.length < 5) continue;
    if (wanted.every((value, index) => fields[index] === "*" || fields[index] === value)) return fields[4];
  }
  return undefined;
}

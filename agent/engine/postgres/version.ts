/** The versions of PostgreSQL that the engine knows: their files, their settings, their words. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "./steering.ts";

export const OLDEST_MAJOR = 13;
export const NEWEST_MAJOR = 18;

/** The major version that a data directory was made by; null when it does not say. */
export function majorOfCluster(dataDirectory: string): number | null {
  try {
    const major = Number.parseInt(readFileSync(join(dataDirectory, "PG_VERSION"), "utf8"), 10);
    return Number.isInteger(major) ? major : null;
  } catch {
    return null;
  }
}

/**
 * Throws a Refusal (`unsupported-version`) for a data directory of a version that nobody has tried: where its files and
 * words differ, what is said of its log might be wrong. One that does not say its version fails at its start.
 */
export function mustBeKnown(dataDirectory: string): void {
  const major = majorOfCluster(dataDirectory);
  if (major === null || isKnown(major)) return;
  throw new Refusal(
    "unsupported-version",
    `${dataDirectory} is of PostgreSQL ${major}: this agent knows ${OLDEST_MAJOR} to ${NEWEST_MAJOR}`,
  );
}

export function isKnown(major: number): boolean {
  return major >= OLDEST_MAJOR && major <= NEWEST_MAJOR;
}

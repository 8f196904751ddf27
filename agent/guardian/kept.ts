/** The agent's two files, as the guardian reads them. It never writes them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Held } from "./held.ts";
import { asHeld, asLease, asRecord } from "./lines.ts";

/** What the agent has kept; null when it cannot be read: then what was told last stands. */
export function readKept(stateDirectory: string): Held | null {
  const state = readJson(join(stateDirectory, "state.json"));
  if (state === null) return null;
  try {
    return asHeld({ ...state, lease: readLease(stateDirectory) });
  } catch {
    return null;
  }
}

/** A missing or torn lease file means that it holds no lease. */
function readLease(stateDirectory: string): Held["lease"] {
  try {
    return asLease(readJson(join(stateDirectory, "lease.json"))?.["lease"] ?? null);
  } catch {
    return null;
  }
}

function readJson(path: string): Record<string, unknown> | null {
  try {
    return asRecord(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return null;
  }
}

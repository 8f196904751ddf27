/** How a guardian of a newer build takes the place of an older one: it stands first, and learns what the other knew. */
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { lockState } from "../lock.ts";
import { GUARDIAN_VERSION, LineReader, lineOf, type Told } from "./lines.ts";
import { connectGuardian } from "./socket.ts";

const DEADLINE_MS = 2_000;
/** The kernel frees a lock a moment after the connection of the same process. */
const LOCK_RETRY_MS = 2;

/** Asks the guardian of the directory to go, if it is older; null when it is not, or does not go. */
export async function succeed(stateDirectory: string): Promise<Told | null> {
  const endMs = performance.now() + DEADLINE_MS;
  const known = await askToYield(stateDirectory);
  if (known === null) return null;
  while (!lockState(stateDirectory, "guardian")) {
    if (performance.now() > endMs) return null;
    await pause(LOCK_RETRY_MS);
  }
  return known;
}

/** What the guardian that listens in the directory knew, if it is older and goes; null otherwise. */
export async function askToYield(stateDirectory: string): Promise<Told | null> {
  const socket = connectGuardian(stateDirectory);
  const reader = new LineReader();
  let known: Told | null = null;
  socket.setEncoding("utf8");
  socket.on("data", (chunk: string) => {
    for (const line of reader.push(chunk)) {
      if (line.kind === "hello" && line.version < GUARDIAN_VERSION) socket.write(lineOf({ kind: "yield" }));
      else if (line.kind === "told") known = line;
      else socket.destroy();
    }
  });
  try {
    await once(socket, "close", { signal: AbortSignal.timeout(DEADLINE_MS) });
  } catch {
    socket.destroy();
    return null;
  }
  return known;
}

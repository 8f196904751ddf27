/** What an agent does when a rule of its own is broken: nothing that it believes can be trusted any more. */
import type { Engine } from "./engine/engine.ts";

/**
 * Makes the server unable to write, once; settles when that was tried. A server that this agent was never given is left
 * alone, now too: until founded it only observes.
 */
export async function breakDown(parts: {
  error: unknown;
  engine: Pick<Engine, "fence"> | null;
  isFounded: boolean;
  fenceMs: number;
  log: { fatal(fields: object, message: string): void };
}): Promise<void> {
  const { engine, isFounded, fenceMs: deadlineMs, log } = parts;
  const error = String(parts.error);
  if (!isFounded || !engine) return log.fatal({ error }, "broken rule: ending");
  log.fatal({ error }, "broken rule: fencing and ending");
  try {
    const outcome = await engine.fence({ fastMs: deadlineMs / 3, killMs: (deadlineMs * 2) / 3, deadlineMs });
    if (!outcome.ok) log.fatal(outcome, "the server could not be fenced: the guardian ends it with its lease");
  } catch (failure) {
    log.fatal({ error: String(failure) }, "the server could not be fenced: the guardian ends it with its lease");
  }
}

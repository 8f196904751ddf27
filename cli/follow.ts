/** Following an operation to its end. The operation is the coordinator's: it survives the console that follows it. */
import { setTimeout as delay } from "node:timers/promises";
import type { OperationStatus } from "#shared/protocol/api.ts";
import { Failure, failure, operationRemedy } from "./failure.ts";
import { startProgress } from "./progress.ts";
import { plain } from "./render/plain.ts";
import { clientOf, serviceOf, writeJson, type Session } from "./session.ts";

/** Most operations are over within moments: then every line is wanted as it happens. */
const BRISK_FOR_MS = 2_000;
const ASK_BRISKLY_EVERY_MS = 25;
const ASK_EVERY_MS = 100;

/**
 * Follows `accepted` to its end, printing its transcript as it comes (with --json the operation at its end). Throws a
 * Failure when it failed, was not over in time, or was interrupted.
 */
export async function followOperation(session: Session, accepted: OperationStatus): Promise<void> {
  const ended = await untilEnded(session, accepted, session.json ? () => {} : (lines) => printLines(session, lines));
  if (session.json) writeJson(session, ended);
  if (ended.state === "succeeded") return;
  const { op, kind, code } = ended;
  throw failure("operation-failed", `operation ${op} (${kind}) failed: ${plain(code)}`, operationRemedy(code, op));
}

/** `onLines` hears each transcript line once, in order. */
async function untilEnded(
  session: Session,
  accepted: OperationStatus,
  onLines: (lines: string[]) => void,
): Promise<OperationStatus> {
  const startedMs = performance.now();
  const deadlineMs = startedMs + session.settings().followMs;
  const progress = startProgress(session, `operation ${accepted.op} (${accepted.kind})`);
  try {
    let [seen, current] = [0, accepted];
    for (;;) {
      const fresh = current.transcript.slice(seen);
      if (fresh.length > 0) {
        progress.clear();
        onLines(fresh);
      }
      seen = Math.max(seen, current.transcript.length);
      if (current.state !== "running") return current;
      if (performance.now() >= deadlineMs) throw stillRunning(session, current);
      const isBrisk = performance.now() - startedMs < BRISK_FOR_MS;
      await pause(session, current, isBrisk ? ASK_BRISKLY_EVERY_MS : ASK_EVERY_MS);
      current = await ask(session, current);
    }
  } finally {
    progress.stop();
  }
}

function printLines(session: Session, lines: string[]): void {
  session.screen.write(lines.map((line) => `${plain(line)}\n`).join(""));
}

/** A coordinator that cannot be heard for a moment is asked again: the deadline bounds it. */
async function ask(session: Session, current: OperationStatus): Promise<OperationStatus> {
  try {
    return await clientOf(session).operation(serviceOf(session), current.op);
  } catch (error) {
    if (session.signal.aborted) throw interrupted(current);
    if (error instanceof Failure && error.parts.retryable) return current;
    throw error;
  }
}

async function pause(session: Session, current: OperationStatus, forMs: number): Promise<void> {
  try {
    await delay(forMs, undefined, { signal: session.signal });
  } catch {
    throw interrupted(current);
  }
}

function interrupted({ op, kind }: OperationStatus): Failure {
  return failure(
    "interrupted",
    `operation ${op} (${kind}) goes on without this console`,
    `see it with \`rex operations ${op}\``,
  );
}

function stillRunning(session: Session, { op, kind }: OperationStatus): Failure {
  const waitedS = session.settings().followMs / 1_000;
  return failure(
    "operation-still-running",
    `operation ${op} (${kind}) has not ended within ${waitedS} s; it goes on`,
    `see it with \`rex operations ${op}\``,
  );
}

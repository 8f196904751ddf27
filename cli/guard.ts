/** The question before a command that can hurt. */
import { failure } from "./failure.ts";
import type { Session } from "./session.ts";

const WARNING = `
WARNING: This is an expert-level command:
Incorrect use may cause data corruption
or make the cluster unavailable.

`;

/**
 * Passes in expert mode, with --yes, or when the operator agrees; throws a Failure otherwise. Where nobody can be asked,
 * silence is no consent.
 */
export async function confirmExpert(session: Session, what: string): Promise<void> {
  if (session.state.isExpert || session.isAssumingYes) return;
  const { ask, write } = session.screen;
  if (!ask) {
    throw failure(
      "needs-confirmation",
      `'${what}' is an expert-level command and nobody can be asked`,
      "add --yes, or put `expert` first in the script",
    );
  }
  write(WARNING);
  const answer = await ask("Do you want to continue? (y/n)> ");
  if (!isYes(answer)) throw failure("not-confirmed", `'${what}' was not carried out`, "");
}

function isYes(answer: string | null): boolean {
  return ["y", "yes"].includes((answer ?? "").trim().toLowerCase());
}

/** Giving the coordinator a command, and following what becomes of it. */
import type { CommandRequest } from "./client.ts";
import type { Call, OptionSpec } from "./commands/command.ts";
import { followOperation } from "./follow.ts";
import { confirmExpert } from "./guard.ts";
import { clientOf, serviceOf, type Session } from "./session.ts";

/** A command with the words that ask for it, for the question before it. */
export interface Order {
  words: string;
  isExpert: boolean;
  command: CommandRequest;
}

/** The flag of commands that can be forced. */
export const FORCE: OptionSpec = {
  flags: "--force",
  summary: "override this command's guards, as `set force true` does",
};

/**
 * Carries out an order to its end, printing its transcript as it grows (with --json the operation at its end); throws a
 * Failure when it was refused or failed. Whatever is forced is expert-level.
 */
export async function carryOut(session: Session, { words, isExpert, command }: Order): Promise<void> {
  const isForced = session.state.isForced || ("force" in command && command.force === true);
  if (isExpert || isForced) await confirmExpert(session, words);
  await followOperation(session, await clientOf(session).command(serviceOf(session), command));
}

/** What forces a command that can be; nothing where neither its flag nor the session says so. */
export function forceOf(call: Call, session: Session): { force?: true } {
  return session.state.isForced || call.options["force"] === true ? { force: true } : {};
}

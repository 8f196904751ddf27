import { carryOut, FORCE, forceOf } from "../order.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** What a coordinator cannot know of itself. */
export const RESTORED: CommandSpec = {
  ...ORDINARY,
  name: "restored",
  summary: "say that the coordinator's storage was restored from a backup",
  details: [
    "It then promotes and commands nothing until every member has reported, and comes back in MANUAL.",
    "It finds out by itself as soon as a member speaks that remembers more; this makes sure before that.",
    "With force whoever has not reported is given up: you vouch that those servers are dead.",
  ],
  example: "restored",
  options: [FORCE],
  isExpert: true,
  run: async (call, session) => {
    expectNoOperands(call, RESTORED);
    const command = { command: "coordinator-restored", ...forceOf(call, session) } as const;
    await carryOut(session, { words: "restored", isExpert: true, command });
  },
};

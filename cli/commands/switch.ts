import { carryOut } from "../order.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { nextTarget, parseTarget } from "./target.ts";

/** The planned change of the primary. */
export const SWITCH: CommandSpec = {
  ...ORDINARY,
  name: "switch",
  operands: "[to MEMBER]",
  summary: "move the primary to a replica, losing nothing",
  details: [
    "Without a target the most caught-up replica takes over. Clients that connect meanwhile wait and see no error.",
    "What fails before the new primary is chosen for good is undone: the prior primary goes on.",
    "The transcript appears as it happens; the operation goes on when this console ends.",
  ],
  example: "switch to db2",
  next: nextTarget,
  run: async (call, session) => {
    const to = parseTarget(call, SWITCH);
    await carryOut(session, { words: "switch", isExpert: false, command: { command: "switch", ...to } });
  },
};

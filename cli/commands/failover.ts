import { carryOut, FORCE, forceOf } from "../order.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { nextTarget, parseTarget } from "./target.ts";

/** The unplanned change of the primary, by hand. */
export const FAILOVER: CommandSpec = {
  ...ORDINARY,
  name: "failover",
  operands: "[to MEMBER]",
  summary: "promote a replica in place of a FAILED primary",
  details: [
    "Without a target the most advanced eligible replica is promoted; a named one first fetches what it lacks.",
    "Not needed in AUTOMATIC. A primary that is well is moved with `switch`.",
    "With force a primary that nobody can hear is taken for dead on your word, without waiting for its lease to end.",
  ],
  example: "failover to db2",
  options: [FORCE],
  isExpert: true,
  next: nextTarget,
  run: async (call, session) => {
    const to = parseTarget(call, FAILOVER);
    const command = { command: "failover", ...to, ...forceOf(call, session) } as const;
    await carryOut(session, { words: "failover", isExpert: true, command });
  },
};

import { carryOut } from "../order.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** Everybody back. */
export const RECOVER: CommandSpec = {
  ...ORDINARY,
  name: "recover",
  summary: "bring every FAILED or SHUNNED datasource back as a replica",
  details: [
    "Needs a primary that is ONLINE. `datasource MEMBER recover` brings back one.",
    "A datasource whose log holds what the primary's lacks is rebuilt only where its host allows that.",
  ],
  example: "recover",
  run: async (call, session) => {
    expectNoOperands(call, RECOVER);
    await carryOut(session, { words: "recover", isExpert: false, command: { command: "recover" } });
  },
};

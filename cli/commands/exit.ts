import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** The end of a session. */
export const EXIT: CommandSpec = {
  ...ORDINARY,
  name: "exit",
  aliases: ["quit"],
  summary: "leave the console (also Ctrl-D)",
  example: "exit",
  place: "session",
  run: async (call, session) => {
    expectNoOperands(call, EXIT);
    session.state.isOver = true;
  },
};

import { confirmExpert } from "../guard.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** Expert mode: no more questions in this session. */
export const EXPERT: CommandSpec = {
  ...ORDINARY,
  name: "expert",
  summary: "enter expert mode: expert-level commands no longer ask",
  details: ["In a script it is the operator's word that what follows is meant."],
  example: "expert",
  place: "session",
  run: async (call, session) => {
    expectNoOperands(call, EXPERT);
    if (session.input === "prompt") await confirmExpert(session, "expert");
    session.state.isExpert = true;
  },
};

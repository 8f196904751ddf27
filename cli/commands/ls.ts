import { draw, fetchStatus } from "../picture.ts";
import { withProgress } from "../progress.ts";
import { renderBeside } from "../render/beside.ts";
import { writeJson } from "../session.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** The status screen. */
export const LS: CommandSpec = {
  ...ORDINARY,
  name: "ls",
  summary: "show the dataservice: routers, datasources and their components",
  details: [
    "Roles appear as master and slave, times in UTC. With --json: the status as the coordinator tells it.",
    "What a founding waits for, and a durability other than async, is said beside it, on standard error.",
  ],
  example: "ls",
  run: async (call, session) => {
    expectNoOperands(call, LS);
    const status = await withProgress(session, "asking the coordinator", fetchStatus(session));
    if (session.json) return writeJson(session, status);
    // Operators' transcripts have an empty line between what was typed and the screen.
    session.screen.write((session.input === "prompt" ? "\n" : "") + draw(status, session));
    session.screen.note(renderBeside(status));
  },
};

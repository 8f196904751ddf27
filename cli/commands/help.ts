import { usageFailure, type Failure } from "../failure.ts";
import { renderCommandHelp, renderHelp } from "../render/help.ts";
import { writeJson, type Session } from "../session.ts";
import { ORDINARY, usageOf, type CommandSpec } from "./command.ts";

/** At the command line, or in a session: prompt or script. */
export type Place = "command-line" | "session";

/** The command table, as help sees it. */
export interface Table {
  commandsIn: (place: Place) => CommandSpec[];
  findCommand: (word: string, place: Place) => CommandSpec | null;
  noSuchCommand: (word: string, place: Place) => Failure;
}

/** The command that explains the others. */
export function helpCommand(table: Table): CommandSpec {
  const spec: CommandSpec = {
    ...ORDINARY,
    name: "help",
    operands: "[COMMAND]",
    summary: "list the commands, or explain one",
    example: "help switch",
    next: (before) => (before.length === 0 ? table.commandsIn("session").map(({ name }) => name) : []),
    run: async ({ operands }, session) => {
      if (operands.length > 1) throw usageFailure(`'${operands[1]}' is not understood after 'help'`, usageOf(spec));
      const [word] = operands;
      const place = placeOf(session);
      if (word === undefined) return showAll(session, table.commandsIn(place));
      const wanted = table.findCommand(word, place);
      if (!wanted) throw table.noSuchCommand(word, place);
      if (session.json) writeJson(session, described(wanted));
      else session.screen.write(renderCommandHelp(wanted));
    },
  };
  return spec;
}

function showAll(session: Session, commands: CommandSpec[]): void {
  if (session.json) writeJson(session, { commands: commands.map(described) });
  else session.screen.write(renderHelp(commands, placeOf(session)));
}

function placeOf(session: Session): Place {
  return session.input === "command-line" ? "command-line" : "session";
}

function described(spec: CommandSpec): object {
  const { name, aliases, summary, details, example, options, isExpert } = spec;
  return { name, aliases, usage: usageOf(spec), summary, details, example, options, isExpert };
}

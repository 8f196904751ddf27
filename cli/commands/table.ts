/** Every command, and how a typed word finds one. */
import { failure, type Failure } from "../failure.ts";
import type { CommandSpec } from "./command.ts";
import { CREATE } from "./create.ts";
import { DATASOURCE } from "./datasource.ts";
import { EVENTS } from "./events.ts";
import { EXIT } from "./exit.ts";
import { EXPERT } from "./expert.ts";
import { FAILOVER } from "./failover.ts";
import { helpCommand, type Place } from "./help.ts";
import { LS } from "./ls.ts";
import { MEMBERS } from "./members.ts";
import { nearest } from "./nearest.ts";
import { OPERATIONS } from "./operations.ts";
import { PING } from "./ping.ts";
import { AGENT, COORDINATOR } from "./process.ts";
import { RECOVER } from "./recover.ts";
import { RESTORED } from "./restored.ts";
import { SET } from "./set.ts";
import { SWITCH } from "./switch.ts";
import { TOKEN } from "./token.ts";
import { notCarried, WORDS_NOT_CARRIED } from "./unsupported.ts";
import { WATCH } from "./watch.ts";
import { WEBHOOK } from "./webhook.ts";

/** In the order in which help lists them. */
export const COMMANDS: readonly CommandSpec[] = [
  LS,
  WATCH,
  EVENTS,
  OPERATIONS,
  MEMBERS,
  PING,
  SWITCH,
  FAILOVER,
  RECOVER,
  DATASOURCE,
  SET,
  RESTORED,
  CREATE,
  TOKEN,
  WEBHOOK,
  EXPERT,
  AGENT,
  COORDINATOR,
  helpCommand({ commandsIn, findCommand, noSuchCommand }),
  EXIT,
];

export function commandsIn(place: Place): CommandSpec[] {
  return COMMANDS.filter((spec) => spec.place === "anywhere" || spec.place === place);
}

export function findCommand(word: string, place: Place): CommandSpec | null {
  return commandsIn(place).find((spec) => spec.name === word || spec.aliases.includes(word)) ?? null;
}

/** The Failure for a word that is no command here. */
export function noSuchCommand(word: string, place: Place): Failure {
  const elsewhere = COMMANDS.find((spec) => spec.name === word || spec.aliases.includes(word));
  if (elsewhere) {
    const remedy =
      place === "session"
        ? `run it from the command line: rex ${word}`
        : `use it at the prompt or in a script; from here: --yes`;
    return failure("unknown-command", `'${word}' does not work here`, remedy);
  }
  const known = commandsIn(place)
    .flatMap(({ name, aliases }) => [name, aliases])
    .flat();
  const suggestion = nearest(word, [...known, ...WORDS_NOT_CARRIED]);
  const remedy =
    suggestion === null ? "`help` lists the commands" : `did you mean '${suggestion}'? \`help\` lists the commands`;
  return notCarried(word) ?? failure("unknown-command", `'${word}' is no command`, remedy);
}

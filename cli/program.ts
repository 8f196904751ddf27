/** From words to a command: the table's commands as a commander program. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import type { Call, CommandSpec, OptionSpec } from "./commands/command.ts";
import type { Place } from "./commands/help.ts";
import { commandsIn, noSuchCommand } from "./commands/table.ts";
import { failure, usageFailure } from "./failure.ts";
import { COMMON_OPTIONS } from "./flags.ts";
import { renderCommandHelp, renderHelp } from "./render/help.ts";
import type { Flags } from "./settings.ts";

/** What the words ask for. */
export type Parsed =
  | { kind: "command"; spec: CommandSpec; call: Call; flags: Flags }
  /** No command: a session, or the script that -e gave. */
  | { kind: "session"; script: string | null; flags: Flags }
  /** Help or version: print it. */
  | { kind: "text"; text: string };

const EXECUTE = { flags: "-e, --execute <commands>", summary: "run the commands, separated by ; or lines" };

/** Parses one command's words; throws a Failure for words that make none. */
export function parseWords(words: readonly string[], place: Place): Parsed {
  let parsed: Parsed | null = null;
  let text = "";
  const program = buildProgram(place, (found) => (parsed = found));
  const quiet = { writeOut: (out: string) => void (text += out), writeErr: () => {} };
  for (const command of [program, ...program.commands]) command.configureOutput(quiet).exitOverride();
  try {
    program.parse(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0)
      throw failure("usage", error.message.replace(/^error: /, ""), "`help COMMAND` shows the options");
    return { kind: "text", text };
  }
  return parsed ?? { kind: "text", text };
}

function buildProgram(place: Place, found: (parsed: Parsed) => void): Command {
  // Positional options: `rex agent --config F` means the agent's, `rex --config F ls` the console's.
  const program = new Command("rex")
    .enablePositionalOptions()
    .allowUnknownOption()
    .helpCommand(false)
    .argument("[words...]");
  program.configureHelp({ formatHelp: () => renderHelp(commandsIn(place), place) });
  addOptions(program, place === "command-line" ? [...COMMON_OPTIONS, EXECUTE] : COMMON_OPTIONS);
  if (place === "command-line") program.version(version(), "-V, --version");
  program.action((rest: string[], options: Flags & { execute?: string }) => {
    const [word] = rest;
    if (word?.startsWith("-")) throw usageFailure(`unknown option '${word}'`, "rex [options] [COMMAND ...]");
    if (word !== undefined) throw noSuchCommand(word, place);
    const { execute, ...flags } = options;
    found({ kind: "session", script: execute ?? null, flags });
  });
  for (const spec of commandsIn(place)) addCommand(program, spec, found);
  return program;
}

function addCommand(program: Command, spec: CommandSpec, found: (parsed: Parsed) => void): void {
  const command = program.command(spec.name).aliases(spec.aliases).argument("[operands...]");
  command.configureHelp({ formatHelp: () => renderCommandHelp(spec) });
  const own = new Set(spec.options.map(({ flags }) => longName(flags)));
  const common = COMMON_OPTIONS.filter(({ flags }) => !own.has(longName(flags)));
  addOptions(command, [...spec.options, ...common]);
  command.action((operands: string[], options: Record<string, string | true>) => {
    const isOwn = ([key]: [string, unknown]) => own.has(key);
    const call = { operands, options: Object.fromEntries(Object.entries(options).filter(isOwn)) };
    const flags = {
      ...program.opts(),
      ...Object.fromEntries(Object.entries(options).filter((entry) => !isOwn(entry))),
    };
    found({ kind: "command", spec, call, flags });
  });
}

function addOptions(command: Command, options: readonly OptionSpec[]): void {
  for (const { flags, summary } of options) command.option(flags, summary);
}

/** `after` of `--after <n>`; our own options are single words. */
function longName(flags: string): string {
  return /--([a-z]+)/.exec(flags)?.[1] ?? flags;
}

function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** Help: the command table as text. */
import { usageOf, type CommandSpec } from "../commands/command.ts";
import { COMMON_OPTIONS } from "../flags.ts";

/** All commands in a line each; the command line's also says how to call the console. */
export function renderHelp(commands: readonly CommandSpec[], place: "command-line" | "session"): string {
  const listed = columns(commands.map((spec) => [briefly(spec), spec.summary]));
  if (place === "session") return ["Commands (`help COMMAND` explains one):", ...listed, ""].join("\n");
  return [
    "rex: the console of Interrex",
    "",
    "usage: rex [options]                 open the console, or read commands from a pipe or file",
    "       rex [options] COMMAND ...     run one command",
    "       rex [options] -e 'A; B'       run several, up to the first that fails",
    "",
    "Commands (`rex help COMMAND` explains one):",
    ...listed,
    "",
    "Options:",
    ...columns(COMMON_OPTIONS.map(({ flags, summary }) => [flags, summary])),
    "",
    "The environment: REX_URL, REX_TOKEN, REX_SERVICE; NO_COLOR for no colours. Exit status: 0, or 1 after a failure.",
    "",
  ].join("\n");
}

/** One command: usage, what it does, an example, its options. Ends in a newline. */
export function renderCommandHelp(spec: CommandSpec): string {
  const aliases = spec.aliases.length === 0 ? [] : [`also: ${spec.aliases.join(", ")}`];
  const expert = spec.isExpert
    ? ["Expert-level: asks first; without a terminal it needs --yes, or `expert` first in the script."]
    : [];
  return [
    `usage: ${usageOf(spec)}`,
    ...aliases,
    "",
    `${spec.summary.charAt(0).toUpperCase()}${spec.summary.slice(1)}.`,
    ...spec.details,
    ...expert,
    ...(spec.example === "" ? [] : ["", "Example:", `  ${spec.example}`]),
    ...(spec.options.length === 0 ? [] : ["", ...columns(spec.options.map(({ flags, summary }) => [flags, summary]))]),
    "",
  ].join("\n");
}

/** A list must stay readable: long operands are for the help on the command. */
function briefly({ name, operands }: CommandSpec): string {
  return operands === "" ? name : `${name} ${operands.length > LONG ? "..." : operands}`;
}

const LONG = 20;

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}

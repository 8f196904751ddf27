/** Completion at the prompt. */
import { COMMON_OPTIONS } from "./flags.ts";
import type { CommandSpec } from "./commands/command.ts";

/**
 * What may stand in place of the last word of `line`, each followed by a space, and that word: the pair that readline
 * wants.
 */
export function complete(
  line: string,
  commands: readonly CommandSpec[],
  members: readonly string[],
): [string[], string] {
  const words = line.trimStart().split(/\s+/);
  const last = words.at(-1) ?? "";
  const candidates = candidatesFor(words.slice(0, -1), last, { commands, members });
  return [candidates.filter((candidate) => candidate.startsWith(last)).map((candidate) => `${candidate} `), last];
}

interface Known {
  commands: readonly CommandSpec[];
  members: readonly string[];
}

function candidatesFor(before: readonly string[], last: string, { commands, members }: Known): readonly string[] {
  const [name, ...operands] = before;
  if (name === undefined) return commands.flatMap((spec) => [spec.name, spec.aliases]).flat();
  const spec = commands.find((each) => each.name === name || each.aliases.includes(name));
  if (!spec) return [];
  if (last.startsWith("-")) return [...spec.options, ...COMMON_OPTIONS].map(({ flags }) => flags.split(" ")[0] ?? "");
  return spec.next(operands, members);
}

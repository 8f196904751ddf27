/** What a command is: one description that the command line, the shell, scripts, completion and help all read. */
import type { Session } from "../session.ts";

export interface OptionSpec {
  /** In commander's notation: `--after <n>`. */
  flags: string;
  summary: string;
  isRequired?: true;
}

/** What was typed after the command's name. An option without a value is `true`. */
export interface Call {
  operands: string[];
  options: Record<string, string | true>;
}

export interface CommandSpec {
  name: string;
  aliases: string[];
  /** What may follow the name: `[to MEMBER]`. */
  operands: string;
  summary: string;
  /** Sentences for `help NAME`. */
  details: string[];
  /** One line as it is typed; empty for a command that needs none. */
  example: string;
  options: OptionSpec[];
  /** Asks before it acts, outside expert mode. */
  isExpert: boolean;
  /** Some make sense only within a session, some only as a process of their own. */
  place: "anywhere" | "session" | "command-line";
  /** What may come next after the words `before`, for completion. */
  next: (before: readonly string[], members: readonly string[]) => readonly string[];
  /** Carries it out; throws a Failure. A number is the exit status of a process that has spoken for itself. */
  run: (call: Call, session: Session) => Promise<number | void>;
}

/** What most commands are. */
export const ORDINARY = {
  aliases: [],
  operands: "",
  details: [],
  example: "",
  options: [],
  isExpert: false,
  place: "anywhere",
  next: () => [],
} satisfies Partial<CommandSpec>;

/** `failover [to MEMBER]` */
export function usageOf(spec: CommandSpec): string {
  const options = spec.options.map(({ flags, isRequired }) => (isRequired ? flags : `[${flags}]`)).join(" ");
  return [spec.name, spec.operands, options].filter(Boolean).join(" ");
}

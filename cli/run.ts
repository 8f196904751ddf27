/** Running commands: one, or a script of them. */
import { parseWords, type Parsed } from "./program.ts";
import { Failure, failure } from "./failure.ts";
import { renderFailure, renderFailureJson } from "./render/failure.ts";
import type { Screen, Session, SessionState } from "./session.ts";
import { resolveSettings, type Flags, type Settings } from "./settings.ts";

/** What all commands of one console have in common. */
export interface Console {
  screen: Screen;
  state: SessionState;
  environment: Record<string, string | undefined>;
  /** The flags that `rex` itself was started with; a command's own flags come before them. */
  flags: Flags;
}

type Command = Extract<Parsed, { kind: "command" }>;

/** Runs what one line asks for and answers the exit status; prints failures. */
export async function runWords(
  console: Console,
  words: readonly string[],
  how: Pick<Session, "input" | "signal">,
): Promise<number> {
  try {
    const parsed = parseWords(words, how.input === "command-line" ? "command-line" : "session");
    return await runParsed(console, parsed, how);
  } catch (error) {
    return fail(console, error);
  }
}

async function runParsed(console: Console, parsed: Parsed, how: Pick<Session, "input" | "signal">): Promise<number> {
  switch (parsed.kind) {
    case "text":
      console.screen.write(parsed.text);
      return 0;
    case "session":
      throw failure("usage", "there are options but no command", "`help` lists the commands");
    case "command":
      return runCommand(console, parsed, how);
  }
}

/** Runs a parsed command and answers the exit status; prints failures. */
export async function runCommand(
  console: Console,
  { spec, call, flags }: Command,
  how: Pick<Session, "input" | "signal">,
): Promise<number> {
  const merged = { ...console.flags, ...flags };
  try {
    const session: Session = {
      ...how,
      screen: console.screen,
      state: console.state,
      json: merged.json === true,
      isAssumingYes: merged.yes === true,
      settings: once(() => resolveSettings(merged, console.environment)),
    };
    return (await spec.run(call, session)) ?? 0;
  } catch (error) {
    return fail({ ...console, flags: merged }, error);
  }
}

/** Runs the commands in turn up to the first that fails: what follows a failure may depend on it. */
export async function runScript(
  console: Console,
  commands: AsyncIterable<string[]> | Iterable<string[]>,
  signal: AbortSignal,
): Promise<number> {
  for await (const words of commands) {
    const status = await runWords(console, words, { input: "script", signal });
    if (status !== 0 || console.state.isOver || signal.aborted) return status;
  }
  return 0;
}

/** Prints a failure and answers its exit status. Everything else is a broken rule of our own. */
export function fail(console: Pick<Console, "screen" | "flags">, error: unknown): number {
  if (!(error instanceof Failure)) throw error;
  console.screen.note(console.flags.json ? renderFailureJson(error.parts) : renderFailure(error.parts));
  return 1;
}

function once(make: () => Settings): () => Settings {
  let made: Settings | null = null;
  return () => (made ??= make());
}

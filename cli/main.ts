/** `rex`: what the command line asks for is a command, a script, or a session. */
import { isatty } from "node:tty";
import { parseWords, type Parsed } from "./program.ts";
import { fail, runCommand, runScript, type Console } from "./run.ts";
import { parseScript } from "./script.ts";
import { freshState } from "./session.ts";
import { runShell } from "./shell.ts";
import { inputLines, interruption, processScreen } from "./terminal.ts";

/** Runs `rex` with the arguments after its name and answers the exit status, 0 or 1. */
export async function main(argv: readonly string[]): Promise<number> {
  const console: Console = {
    screen: processScreen(process.env),
    state: freshState(),
    environment: process.env,
    flags: { json: argv.includes("--json") },
  };
  try {
    return await runParsed(console, parseWords(argv, "command-line"));
  } catch (error) {
    return fail(console, error);
  }
}

async function runParsed(console: Console, parsed: Parsed): Promise<number> {
  switch (parsed.kind) {
    case "text":
      console.screen.write(parsed.text);
      return 0;
    case "command": {
      // An agent or a coordinator answers signals by itself.
      const signal = parsed.spec.place === "command-line" ? new AbortController().signal : interruption();
      return runCommand(console, parsed, { input: "command-line", signal });
    }
    case "session":
      return runSession({ ...console, flags: parsed.flags }, parsed.script);
  }
}

async function runSession(console: Console, script: string | null): Promise<number> {
  if (script !== null) return runScript(console, parseScript(script), interruption());
  try {
    if (!isatty(0)) return await runScript(console, commandsOf(inputLines()), interruption());
    await runShell(console);
    return 0;
  } finally {
    // A writer that keeps its end open must not keep a console that has ended.
    process.stdin.destroy();
  }
}

async function* commandsOf(lines: AsyncIterable<string>): AsyncIterable<string[]> {
  for await (const line of lines) yield* parseScript(line);
}

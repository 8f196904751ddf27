/** The console of the demo: all commands of `rex`, and the demo's own beside them, at a prompt or from a script. */
import { createInterface, type Interface } from "node:readline";
import { commandsIn } from "../cli/commands/table.ts";
import { complete } from "../cli/completion.ts";
import { createLines } from "../cli/lines.ts";
import { renderCommandHelp } from "../cli/render/help.ts";
import { runCommand, runWords, type Console } from "../cli/run.ts";
import { parseScript } from "../cli/script.ts";
import type { Session } from "../cli/session.ts";
import { promptOf } from "../cli/shell.ts";
import { DATASERVICE } from "./cluster.ts";
import { renderDemoHelp, type Playground } from "./playground.ts";

type How = Pick<Session, "input" | "signal">;

/** Reads commands until `exit`, the end of the input, or a Ctrl-C with no command under way. */
export async function runDemoPrompt(play: Playground, console: Console): Promise<void> {
  const { stdin, stdout } = process;
  const input = createInterface({
    input: stdin,
    output: stdout,
    terminal: stdin.isTTY && stdout.isTTY,
    completer: (line: string) => complete(line, [...commandsIn("session"), ...play.commands], console.state.members),
  });
  try {
    await readCommands(play, console, input);
  } finally {
    input.close();
  }
}

async function readCommands(play: Playground, console: Console, input: Interface): Promise<void> {
  const lines = createLines(input);
  let running: AbortController | null = null;
  input.on("SIGINT", () => {
    if (lines.dismiss()) process.stdout.write("\n");
    else if (running) running.abort();
    else input.close();
  });
  const asking: Console = { ...console, screen: { ...console.screen, ask: (question) => lines.ask(question) } };
  while (!console.state.isOver) {
    const line = await lines.next(promptOf(console.state, DATASERVICE));
    if (line === null) return void process.stdout.write("\n");
    running = new AbortController();
    for (const words of parseScript(line)) {
      const status = await runDemoWords(play, asking, words, { input: "prompt", signal: running.signal });
      if (status !== 0 || running.signal.aborted) break;
    }
    running = null;
  }
}

/** Runs the commands of a script in turn, up to the first that fails; answers the exit status. */
export async function runDemoScript(
  play: Playground,
  console: Console,
  text: string,
  signal: AbortSignal,
): Promise<number> {
  for (const words of parseScript(text)) {
    if (!console.flags.json) console.screen.write(`${promptOf(console.state, DATASERVICE)}${words.join(" ")}\n`);
    const status = await runDemoWords(play, console, words, { input: "script", signal });
    if (status !== 0 || console.state.isOver || signal.aborted) return status;
  }
  return 0;
}

async function runDemoWords(play: Playground, console: Console, words: string[], how: How): Promise<number> {
  const [word, ...operands] = words;
  const own = play.commands.find(({ name }) => name === word);
  if (own) return runCommand(console, { kind: "command", spec: own, call: { operands, options: {} }, flags: {} }, how);
  const explained = word === "help" ? play.commands.find(({ name }) => name === operands[0]) : undefined;
  if (explained) {
    console.screen.write(renderCommandHelp(explained));
    return 0;
  }
  const status = await runWords(console, words, how);
  if (word === "help" && operands.length === 0 && !console.flags.json)
    console.screen.write(renderDemoHelp(play.commands));
  return status;
}

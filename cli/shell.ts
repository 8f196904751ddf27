/** The prompt. */
import { createInterface, type Interface } from "node:readline";
import { createClient } from "./client.ts";
import { commandsIn } from "./commands/table.ts";
import { complete } from "./completion.ts";
import { Failure } from "./failure.ts";
import { HISTORY_LINES, readHistory, writeHistory } from "./history.ts";
import { createLines } from "./lines.ts";
import { runWords, type Console } from "./run.ts";
import { parseScript } from "./script.ts";
import type { SessionState } from "./session.ts";
import { resolveSettings, type Settings } from "./settings.ts";

/**
 * Reads commands at a prompt until `exit` or Ctrl-D. Ctrl-C clears the line, or ends the command that is under way. A
 * failed command ends nothing: somebody is there to read it.
 */
export async function runShell(console: Console): Promise<void> {
  const settings = resolveSettings(console.flags, console.environment);
  const input = createInterface({
    input: process.stdin,
    output: process.stdout,
    history: readHistory(),
    historySize: HISTORY_LINES,
    removeHistoryDuplicates: true,
    completer: (line: string) => complete(line, commandsIn("session"), console.state.members),
  });
  let history: readonly string[] = [];
  input.on("history", (lines) => (history = lines));
  learnMembers(settings, console.state);
  await readCommands(console, input, settings.service);
  input.close();
  if (history.length > 0) writeHistory(history);
}

async function readCommands(console: Console, input: Interface, service: string | null): Promise<void> {
  const lines = createLines(input);
  let running: AbortController | null = null;
  input.on("SIGINT", () => {
    if (lines.dismiss()) process.stdout.write("\n");
    else if (running) running.abort();
    else clearLine(input);
  });
  const asking: Console = { ...console, screen: { ...console.screen, ask: (question) => lines.ask(question) } };
  while (!console.state.isOver) {
    const line = await lines.next(promptOf(console.state, service));
    if (line === null) return void process.stdout.write("\n");
    running = new AbortController();
    await runLine(asking, line, running.signal);
    running = null;
  }
}

async function runLine(console: Console, line: string, signal: AbortSignal): Promise<void> {
  for (const words of parseScript(line)) {
    const status = await runWords(console, words, { input: "prompt", signal });
    if (status !== 0 || signal.aborted) return;
  }
}

/** `[LOGICAL] /alpha > ` */
export function promptOf(state: Pick<SessionState, "isExpert">, service: string | null): string {
  return `[LOGICAL${state.isExpert ? ":EXPERT" : ""}] /${service ?? ""} > `;
}

/** What was typed stays to be seen; the prompt starts afresh below it. */
function clearLine(input: Interface): void {
  process.stdout.write("^C\n");
  input.write(null, { ctrl: true, name: "e" });
  input.write(null, { ctrl: true, name: "u" });
  input.prompt();
}

/** Completion wants the names at once; a coordinator that does not answer is told of by the first command. */
function learnMembers({ service, ...settings }: Settings, state: SessionState): void {
  if (service === null || settings.url === null) return;
  createClient({ ...settings, service }, new AbortController().signal)
    .status(service)
    .then(({ datasources }) => (state.members = datasources.map(({ member }) => member)))
    .catch((error: unknown) => {
      if (!(error instanceof Failure)) throw error;
    });
}

/** The process's own terminal or pipes as a Screen. */
import { createInterface } from "node:readline/promises";
import { isatty } from "node:tty";
import type { Screen } from "./session.ts";

export function processScreen(environment: Record<string, string | undefined>): Screen {
  const isTerminal = isatty(1);
  endQuietlyWithTheReader();
  return {
    write: (text) => void process.stdout.write(text),
    note: (text) => void process.stderr.write(text),
    isTerminal,
    isNoteTerminal: isatty(2),
    hasColour: isTerminal && !environment["NO_COLOR"] && environment["TERM"] !== "dumb",
    ask: isTerminal && isatty(0) ? askOnce : null,
  };
}

/** One question outside a session; Ctrl-C and Ctrl-D are no answer. */
async function askOnce(question: string): Promise<string | null> {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const gone = new AbortController();
  lines.once("close", () => gone.abort());
  try {
    return await lines.question(question, { signal: gone.signal });
  } catch {
    process.stdout.write("\n");
    return null;
  } finally {
    lines.close();
  }
}

/** `rex watch | head -5`: a reader that has seen enough is no failure. */
function endQuietlyWithTheReader(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

/** The lines of standard input as they come. */
export function inputLines(): AsyncIterable<string> {
  return createInterface({ input: process.stdin });
}

/** Fires at the first SIGINT or SIGTERM; a second one ends the process as it would have. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  const abort = () => controller.abort();
  process.once("SIGINT", abort);
  process.once("SIGTERM", abort);
  return controller.signal;
}

/** One stream of typed lines for two readers: the prompt, and the questions that commands ask. */
import type { Interface } from "node:readline";

export interface Lines {
  /** Shows `prompt` and answers the next line; null at the end of the input. Lines typed ahead come first. */
  next: (prompt: string) => Promise<string | null>;
  /** Asks. Only what is typed after the question counts; null when it was interrupted or the input ended. */
  ask: (question: string) => Promise<string | null>;
  /** Ends a question that waits, unanswered; false when none waits. */
  dismiss: () => boolean;
}

/** Takes over the lines of `input`. */
export function createLines(input: Interface): Lines {
  const ahead: string[] = [];
  let hasEnded = false;
  let isQuestion = false;
  let deliver: ((line: string | null) => void) | null = null;

  const hand = (line: string | null) => {
    const waiting = deliver;
    deliver = null;
    waiting?.(line);
  };
  const wait = (prompt: string) => {
    input.setPrompt(prompt);
    input.prompt();
    return new Promise<string | null>((resolve) => (deliver = resolve));
  };
  input.on("line", (line) => (deliver ? hand(line) : ahead.push(line)));
  input.on("close", () => {
    hasEnded = true;
    hand(null);
  });
  // An answer is no command: it must not come back with the arrow keys. Readline keeps the array it hands out.
  input.on("history", (history) => {
    if (isQuestion) history.shift();
  });

  return {
    next: async (prompt) => {
      const line = ahead.shift();
      if (line !== undefined) process.stdout.write(`${prompt}${line}\n`);
      return line ?? (hasEnded ? null : wait(prompt));
    },
    ask: async (question) => {
      if (hasEnded) return null;
      // A line typed before the question was seen is no answer to it, and no command to run after it either.
      ahead.length = 0;
      isQuestion = true;
      const answer = await wait(question);
      isQuestion = false;
      return answer;
    },
    dismiss: () => {
      if (!isQuestion) return false;
      hand(null);
      return true;
    },
  };
}

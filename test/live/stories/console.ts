/** An operator at the console's prompt: what is typed goes to the real commands, and the screen is kept as it would be seen. */
import { runWords, type Console } from "../../../cli/run.ts";
import { parseScript } from "../../../cli/script.ts";
import { freshState } from "../../../cli/session.ts";
import { promptOf } from "../../../cli/shell.ts";
import { DATASERVICE } from "../../../demo/cluster.ts";

export interface Typed {
  /** The prompt, what was typed, and everything that came back. */
  screen: string;
  /** Of the last command. */
  status: number;
}

export class OperatorsConsole {
  readonly #console: Console;
  #screen = "";
  #answers: string[] = [];

  /** `environment` says which coordinator, and with which token. */
  constructor(environment: Record<string, string>) {
    const write = (text: string): void => void (this.#screen += text);
    this.#console = {
      screen: {
        write,
        note: write,
        isTerminal: false,
        isNoteTerminal: false,
        hasColour: false,
        ask: (question) => this.#answer(question),
      },
      state: freshState(),
      environment,
      flags: {},
    };
  }

  /**
   * Types the lines in turn. `answers` are given to the questions in their order; a question that is left over stays
   * unanswered, as at the end of the input.
   */
  async type(lines: readonly string[], answers: readonly string[] = []): Promise<Typed> {
    this.#screen = "";
    this.#answers = [...answers];
    let status = 0;
    for (const line of lines) {
      this.#screen += `${promptOf(this.#console.state, DATASERVICE)}${line}\n`;
      for (const words of parseScript(line)) {
        status = await runWords(this.#console, words, { input: "prompt", signal: new AbortController().signal });
      }
    }
    return { screen: this.#screen, status };
  }

  #answer(question: string): Promise<string | null> {
    const answer = this.#answers.shift() ?? null;
    this.#screen += `${question}${answer ?? ""}\n`;
    return Promise.resolve(answer);
  }
}

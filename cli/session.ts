/** What a command works with: who is asked, where it prints, and what the operator has switched on. */
import { createClient, type Client } from "./client.ts";
import { failure } from "./failure.ts";
import type { Settings } from "./settings.ts";

/** The terminal or pipe in front of the operator. */
export interface Screen {
  /** Answers, for people and scripts. */
  write: (text: string) => void;
  /** Remarks that no script should have to skip. */
  note: (text: string) => void;
  isTerminal: boolean;
  /** Whether remarks appear on a terminal. */
  isNoteTerminal: boolean;
  hasColour: boolean;
  /** Asks and waits for a line; null at the end of the input, or where nobody can be asked. */
  ask: ((question: string) => Promise<string | null>) | null;
}

/** What lasts from one command of a session to the next. */
export interface SessionState {
  isExpert: boolean;
  /** `set force true` was typed: every command that can be forced is. */
  isForced: boolean;
  /** `exit` was typed. */
  isOver: boolean;
  /** The members seen last, for completion. */
  members: string[];
}

/** What a console begins with. */
export function freshState(): SessionState {
  return { isExpert: false, isForced: false, isOver: false, members: [] };
}

export interface Session {
  screen: Screen;
  state: SessionState;
  /** Typed at a prompt, read from a script, or given on the command line. */
  input: "prompt" | "script" | "command-line";
  json: boolean;
  isAssumingYes: boolean;
  /** Resolves the settings on first use, because `help` must work without any. */
  settings: () => Settings;
  /** Fires when the operator interrupts the command. */
  signal: AbortSignal;
}

export function clientOf(session: Session): Client {
  return createClient(session.settings(), session.signal);
}

/** The dataservice that commands are about; a Failure when none is named. */
export function serviceOf(session: Session): string {
  const { service } = session.settings();
  if (service === null)
    throw failure("usage", "no dataservice is named", "give --service, REX_SERVICE, or service in ~/.config/rex.toml");
  return service;
}

/** One machine-readable document, on a line of its own. */
export function writeJson(session: Session, document: unknown): void {
  session.screen.write(`${JSON.stringify(document)}\n`);
}

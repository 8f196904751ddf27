import { setTimeout as delay } from "node:timers/promises";
import type { EventLine } from "#shared/protocol/api.ts";
import { Failure } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { renderEvent } from "../render/events.ts";
import { clientOf, serviceOf, writeJson, type Session } from "../session.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands, optionText, parseCount } from "./operands.ts";

const ASK_EVERY_MS = 1_000;

/** The event log. */
export const EVENTS: CommandSpec = {
  ...ORDINARY,
  name: "events",
  summary: "show what happened and why, oldest first",
  details: [
    "One line an event: number, time, kind, then the particulars as key=value in order. With --json: one event a line.",
  ],
  example: "events --after 120 --follow",
  options: [
    { flags: "--after <n>", summary: "only the events after number n (default 0)" },
    { flags: "--follow", summary: "go on with new events as they happen, until Ctrl-C" },
  ],
  run: async (call, session) => {
    expectNoOperands(call, EVENTS);
    const after = parseCount(optionText(call, "after") ?? "0", "--after");
    const reached = await printAll(session, after);
    if (call.options["follow"]) await follow(session, reached);
  },
};

/** Prints what there is after `from`, page by page; answers how far it came. */
async function printAll(session: Session, from: number): Promise<number> {
  let reached = from;
  for (;;) {
    const page = clientOf(session).events(serviceOf(session), reached);
    const { events, last } = await withProgress(session, "asking the coordinator", page);
    print(session, events);
    reached = events.at(-1)?.id ?? reached;
    if (events.length === 0 || reached >= last) return reached;
  }
}

async function follow(session: Session, from: number): Promise<void> {
  let reached = from;
  while (!session.signal.aborted) {
    await delay(ASK_EVERY_MS, undefined, { signal: session.signal }).catch(() => {});
    reached = await printNews(session, reached);
  }
}

/** A coordinator that is away for a while has its events afterwards. */
async function printNews(session: Session, from: number): Promise<number> {
  try {
    const { events } = await clientOf(session).events(serviceOf(session), from);
    print(session, events);
    return events.at(-1)?.id ?? from;
  } catch (error) {
    if (session.signal.aborted || (error instanceof Failure && error.parts.retryable)) return from;
    throw error;
  }
}

function print(session: Session, events: readonly EventLine[]): void {
  for (const event of events) {
    if (session.json) writeJson(session, event);
    else session.screen.write(`${renderEvent(event)}\n`);
  }
}

import { setTimeout as delay } from "node:timers/promises";
import type { EventLine, Events } from "#shared/protocol/api.ts";
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
  details: ["One line an event: number, time, kind, then the particulars as key=value in order. With --json: one event a line."],
  options: [
    { flags: "--after <n>", summary: "only the events after number n (default 0)" },
    { flags: "--follow", summary: "go on with new events as they happen, until Ctrl-C" },
  ],
  run: async (call, session) => {
    expectNoOperands(call, EVENTS);
    const after = parseCount(optionText(call, "after") ?? "0", "--after");
    const first = await withProgress(session, "asking the coordinator", clientOf(session).events(serviceOf(session), after));
    print(session, first.events);
    if (call.options["follow"]) await follow(session, first.last);
  },
};

async function follow(session: Session, from: number): Promise<void> {
  let last = from;
  while (!session.signal.aborted) {
    await delay(ASK_EVERY_MS, undefined, { signal: session.signal }).catch(() => {});
    const news = await ask(session, last);
    print(session, news.events);
    last = Math.max(last, news.last);
  }
}

/** A coordinator that is away for a while has its events afterwards. */
async function ask(session: Session, after: number): Promise<Events> {
  try {
    return await clientOf(session).events(serviceOf(session), after);
  } catch (error) {
    if (session.signal.aborted || (error instanceof Failure && error.parts.retryable)) return { events: [], last: after };
    throw error;
  }
}

function print(session: Session, events: readonly EventLine[]): void {
  for (const event of events) {
    if (session.json) writeJson(session, event);
    else session.screen.write(`${renderEvent(event)}\n`);
  }
}

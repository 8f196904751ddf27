import { setTimeout as delay } from "node:timers/promises";
import { Failure } from "../failure.ts";
import { draw, fetchStatus } from "../picture.ts";
import { renderBeside } from "../render/beside.ts";
import { renderFailure, renderFailureJson } from "../render/failure.ts";
import type { Session } from "../session.ts";
import { parseSeconds } from "../settings.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands, optionText } from "./operands.ts";

const CLEAR_SCREEN = "\u001b[H\u001b[2J\u001b[3J";
const DEFAULT_INTERVAL_S = 1;

/** `ls`, again and again. */
export const WATCH: CommandSpec = {
  ...ORDINARY,
  name: "watch",
  summary: "show `ls` again whenever it changes, until Ctrl-C",
  details: [
    "On a terminal the screen is redrawn; into a pipe or file each changed screen is written once (with --json one status a line).",
    "A coordinator that does not answer is asked again; what was seen last stays.",
  ],
  example: "watch --interval 5",
  options: [{ flags: "--interval <seconds>", summary: "how often to ask (default 1)" }],
  run: async (call, session) => {
    expectNoOperands(call, WATCH);
    const intervalMs = parseSeconds("--interval", optionText(call, "interval"), DEFAULT_INTERVAL_S);
    let last: Frame = { text: "", trouble: "" };
    while (!session.signal.aborted) {
      const frame = await nextFrame(session, last);
      show(session, frame, last);
      last = frame;
      await delay(intervalMs, undefined, { signal: session.signal }).catch(() => {});
    }
  },
};

/** What was seen, and what is to be said beside it: what stands in the way of seeing more, too. */
interface Frame {
  text: string;
  trouble: string;
}

async function nextFrame(session: Session, last: Frame): Promise<Frame> {
  try {
    const status = await fetchStatus(session);
    if (session.json) return { text: `${JSON.stringify(status)}\n`, trouble: "" };
    return { text: draw(status, session), trouble: renderBeside(status) };
  } catch (error) {
    if (session.signal.aborted) return last;
    if (!(error instanceof Failure) || !error.parts.retryable) throw error;
    return { text: last.text, trouble: session.json ? renderFailureJson(error.parts) : renderFailure(error.parts) };
  }
}

/** Shows what differs from the frame before. */
function show(session: Session, { text, trouble }: Frame, last: Frame): void {
  const { screen } = session;
  if (text === last.text && trouble === last.trouble) return;
  if (screen.isTerminal && !session.json) screen.write(`${CLEAR_SCREEN}${text}`);
  else if (text !== last.text) screen.write(text);
  if (trouble !== last.trouble) screen.note(trouble);
}

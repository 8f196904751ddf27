/** A line that shows that something is going on, on the terminal of the remarks only. */
import type { Session } from "./session.ts";

const FIRST_AFTER_MS = 1_000;
const ERASE_LINE = "\r\u001b[2K";

export interface Progress {
  /** Takes the line away, before other output. It comes back by itself. */
  clear(): void;
  /** Takes the line away for good. */
  stop(): void;
}

/** Shows `label` with the seconds once a second has gone by. The caller must stop it. */
export function startProgress(session: Session, label: string): Progress {
  const { screen } = session;
  if (!screen.isNoteTerminal || session.json) return { clear: () => {}, stop: () => {} };
  const startedMs = performance.now();
  let isShown = false;
  const clear = () => {
    if (isShown) process.stderr.write(ERASE_LINE);
    isShown = false;
  };
  const timer = setInterval(() => {
    isShown = true;
    process.stderr.write(`${ERASE_LINE}${label} ... ${Math.round((performance.now() - startedMs) / 1_000)} s`);
  }, FIRST_AFTER_MS);
  return {
    clear,
    stop: () => {
      clearInterval(timer);
      clear();
    },
  };
}

/** Shows progress while `work` is under way. */
export async function withProgress<T>(session: Session, label: string, work: Promise<T>): Promise<T> {
  const progress = startProgress(session, label);
  try {
    return await work;
  } finally {
    progress.stop();
  }
}

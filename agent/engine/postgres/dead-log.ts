/** What is known of the end of a dead server's log, and kept for as long as the server stays dead. */
import type { LogPoint } from "#shared/domain/messages.ts";
import { readControlFile } from "./control-file.ts";
import { newestTimeline } from "./history.ts";
import { LogPages } from "./log-pages.ts";
import { walkedLsn, walkFrom, walkOn, type WalkedTo } from "./log-walk.ts";

/** So much of the log is read in one look, in some tens of milliseconds: whoever asks has other things to do as well. */
const LOOK_BYTES = 16 * 1_024 * 1_024;

export class DeadLog {
  readonly #dataDirectory: string;
  #walked: { timeline: number; to: WalkedTo } | null = null;

  constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory;
  }

  /**
   * Where the log ends now. `known` is a place in it, as near to its end as is known; null: its newest checkpoint. Each
   * look goes on where the one before it ended, so that what a process left over has written since is seen. Null while
   * the end is not reached, and where the log cannot be read or goes on in a timeline that is not known.
   */
  end(known: LogPoint | null): LogPoint | null {
    try {
      const from = known ?? readControlFile(this.#dataDirectory)?.checkpoint ?? null;
      if (!from || newestTimeline(this.#dataDirectory) > from.timeline) return null;
      if (this.#walked?.timeline !== from.timeline) this.#walked = null;
      return this.#walk(from);
    } catch {
      // A directory that cannot be read says nothing.
      return null;
    }
  }

  /** The server lives again: whatever it leaves next is another end. */
  forget(): void {
    this.#walked = null;
  }

  #walk(from: LogPoint): LogPoint | null {
    const { timeline } = from;
    const pages = LogPages.open(this.#dataDirectory, timeline);
    if (!pages) return null;
    try {
      const start = this.#walked?.to ?? walkFrom(pages, from.lsn);
      if (!start) return null;
      const to = walkOn(pages, start, LOOK_BYTES);
      this.#walked = { timeline, to };
      return to.isEnd ? { timeline, lsn: walkedLsn(to) } : null;
    } finally {
      pages.close();
    }
  }
}

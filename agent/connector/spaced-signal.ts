/** Passes signals on at once, but at most one in `spacingMs`; one that came too early follows when the time is over. */
export class SpacedSignal {
  readonly #spacingMs: number;
  readonly #signal: () => void;
  #timer: NodeJS.Timeout | null = null;
  #isOwed = false;

  constructor(spacingMs: number, signal: () => void) {
    this.#spacingMs = spacingMs;
    this.#signal = signal;
  }

  raise(): void {
    if (this.#timer) {
      this.#isOwed = true;
      return;
    }
    this.#timer = setTimeout(this.#spaced, this.#spacingMs);
    this.#signal();
  }

  /** Nothing is signalled after this. */
  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isOwed = false;
  }

  readonly #spaced = (): void => {
    this.#timer = null;
    if (!this.#isOwed) return;
    this.#isOwed = false;
    this.raise();
  };
}

/**
 * Virtual true time and the queue of what is to happen. Nobody inside the simulation sees true time: hosts read their
 * own clocks, which are derived from it.
 */

/** Something that will happen unless it is cancelled before. */
export interface Appointment {
  timeMs: number;
  serial: number;
  act: (() => void) | null;
}

export class World {
  nowMs = 0;
  /** While true things break; afterwards everything works, and liveness is judged. */
  chaos = true;
  readonly trace: string[] = [];
  handled = 0;
  #heap: Appointment[] = [];
  #serial = 0;

  /** Calls `act` after `delayMs` of true time; what is due at the same moment happens in the order of asking. */
  after(delayMs: number, act: () => void): Appointment {
    this.#serial += 1;
    const appointment = { timeMs: this.nowMs + Math.max(0, delayMs), serial: this.#serial, act };
    this.#heap.push(appointment);
    this.#rise(this.#heap.length - 1);
    return appointment;
  }

  /** Cancelling what has happened, or nothing, does nothing. */
  cancel(appointment: Appointment | null): void {
    if (appointment) appointment.act = null;
  }

  /** Lets things happen until `endMs` or until `isOver` says so. */
  runUntil(endMs: number, isOver: () => boolean): void {
    while (!isOver()) {
      const first = this.#heap[0];
      if (!first || first.timeMs > endMs) break;
      this.#takeFirst();
      if (!first.act) continue;
      this.nowMs = first.timeMs;
      this.handled += 1;
      first.act();
    }
    if (!isOver()) this.nowMs = endMs;
  }

  /** Adds a line to the trace: two runs of one seed must write the same ones. */
  note(who: string, what: string): void {
    this.trace.push(`${this.nowMs.toFixed(2)} ${who} ${what}`);
  }

  #rise(from: number): void {
    const heap = this.#heap;
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(heap[index] as Appointment, heap[parent] as Appointment)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #takeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as Appointment;
    if (heap.length === 0) return;
    heap[0] = last;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const child =
        right < heap.length && isBefore(heap[right] as Appointment, heap[left] as Appointment) ? right : left;
      if (!isBefore(heap[child] as Appointment, heap[index] as Appointment)) return;
      this.#swap(index, child);
      index = child;
    }
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    [heap[a], heap[b]] = [heap[b] as Appointment, heap[a] as Appointment];
  }
}

function isBefore(a: Appointment, b: Appointment): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.serial < b.serial);
}

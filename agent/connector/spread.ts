/**
 * Spreads connections over servers: the least loaded takes the next one, and among equals the one whose turn was longest
 * ago. A server that failed a client lately comes after all others, so that a dead one with its empty load does not
 * attract every newcomer.
 */
import type { MemberName } from "#shared/domain/names.ts";
import type { Course } from "./route-rules.ts";

interface Load {
  /** Connections that are being opened or are open. */
  connections: number;
  /** The number of the last turn it took. */
  turn: number;
  /** When it failed a client and has served none since; ms of the connector's clock. */
  failedMs: number;
}

/** As long as a poll at rest needs to bring a list without the dead server, and some more. */
const LATELY_MS = 2_000;
const UNUSED: Load = { connections: 0, turn: 0, failedMs: Number.NEGATIVE_INFINITY };

export class Spread {
  readonly #loads = new Map<MemberName, Load>();
  #turn = 0;

  /** Whose turn it is at `nowMs`; null when there is nothing to choose from. */
  take(courses: Course[], nowMs: number): Course | null {
    const chosen = courses.toSorted((a, b) => this.#order(a, b, nowMs))[0];
    if (!chosen) return null;
    this.#turn += 1;
    this.#change(chosen.target.member, { turn: this.#turn });
    return chosen;
  }

  began(member: MemberName): void {
    this.#change(member, { connections: this.#load(member).connections + 1 });
  }

  ended(member: MemberName): void {
    this.#change(member, { connections: this.#load(member).connections - 1 });
  }

  failed(member: MemberName, nowMs: number): void {
    this.#change(member, { failedMs: nowMs });
  }

  served(member: MemberName): void {
    this.#change(member, { failedMs: UNUSED.failedMs });
  }

  /** Negative when `a` comes first. */
  #order(a: Course, b: Course, nowMs: number): number {
    const [left, right] = [this.#load(a.target.member), this.#load(b.target.member)];
    const hasFailed = (load: Load): number => (nowMs - load.failedMs < LATELY_MS ? 1 : 0);
    return hasFailed(left) - hasFailed(right) || left.connections - right.connections || left.turn - right.turn;
  }

  #load(member: MemberName): Load {
    return this.#loads.get(member) ?? UNUSED;
  }

  #change(member: MemberName, change: Partial<Load>): void {
    this.#loads.set(member, { ...this.#load(member), ...change });
  }
}

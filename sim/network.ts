/** The network between hosts and to the coordinator: each direction loses, delays, doubles, reorders and stops by itself. */
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/** What may happen to one message. Delays differ from message to message: that is what reorders them. */
export interface Weather {
  lossP: number;
  duplicateP: number;
  minMs: number;
  maxMs: number;
  /** How likely a message is held up, and for how long at most. */
  slowP: number;
  slowMs: number;
}

export const FAIR_WEATHER: Weather = { lossP: 0, duplicateP: 0, minMs: 1, maxMs: 10, slowP: 0, slowMs: 0 };

export class Network {
  weather: Weather;
  #world: World;
  #random: Random;
  /** Until when a direction carries nothing. */
  #blockedUntilMs = new Map<string, number>();
  /** Directions in which everything is held up, by how much and until when. */
  #slowUntilMs = new Map<string, { byMs: number; untilMs: number }>();

  constructor(world: World, random: Random, weather: Weather) {
    this.#world = world;
    this.#random = random;
    this.weather = weather;
  }

  /** Delivers once, twice or never. */
  send(from: string, to: string, deliver: () => void): void {
    this.#sendOnce(from, to, deliver);
    if (this.#random.chance(this.weather.duplicateP)) this.#sendOnce(from, to, deliver);
  }

  /** Whether what is sent now from one to the other can arrive. */
  reaches(from: string, to: string): boolean {
    return this.#world.nowMs >= (this.#blockedUntilMs.get(`${from}>${to}`) ?? 0);
  }

  /** Stops one direction for a while. */
  block(from: string, to: string, forMs: number): void {
    const key = `${from}>${to}`;
    this.#blockedUntilMs.set(key, Math.max(this.#blockedUntilMs.get(key) ?? 0, this.#world.nowMs + forMs));
  }

  /** Holds up what is sent in one direction during the next `forMs`. */
  holdUp(from: string, to: string, slow: { byMs: number; forMs: number }): void {
    this.#slowUntilMs.set(`${from}>${to}`, { byMs: slow.byMs, untilMs: this.#world.nowMs + slow.forMs });
  }

  healAll(): void {
    this.#blockedUntilMs.clear();
    this.#slowUntilMs.clear();
    this.weather = FAIR_WEATHER;
  }

  #sendOnce(from: string, to: string, deliver: () => void): void {
    const { lossP, minMs, maxMs, slowP, slowMs } = this.weather;
    const isLost = this.#random.chance(lossP) || !this.reaches(from, to);
    const heldUpMs = this.#random.chance(slowP) ? this.#random.between(0, slowMs) : 0;
    const slow = this.#slowUntilMs.get(`${from}>${to}`);
    const slowedMs = slow && this.#world.nowMs < slow.untilMs ? slow.byMs : 0;
    const delayMs = this.#random.between(minMs, maxMs) + heldUpMs + slowedMs;
    if (isLost) return;
    this.#world.after(delayMs, () => {
      // A message on its way when the line is cut does not arrive either.
      if (this.reaches(from, to)) deliver();
    });
  }
}

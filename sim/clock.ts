/**
 * Clocks that are wrong in every way the guarantees allow for: each runs at a rate of its own, wall time is stepped by
 * anyone, and monotonic time stands still while the machine sleeps.
 */
import type { Clocks } from "#shared/domain/clocks.ts";
import type { Random } from "./random.ts";
import type { World } from "./world.ts";

/**
 * How far a clock's rate may be from true time. Two clocks that err to opposite sides then differ by less than the
 * margin of 500 ms over a lease, its fence and the margin itself (7,000 ms), as the guarantees assume.
 */
const RATE_ERROR = 0.035;

/** What drives a machine's clocks: three oscillators, one, or one that errs as far as it may. */
export type Clockwork = "any" | "agree" | "slow" | "fast";

const RATES = { slow: 1 - RATE_ERROR, fast: 1 + RATE_ERROR } as const;

function allAt(one: number): Clocks {
  return { monoMs: one, bootMs: one, wallMs: one };
}

/** The clocks of one machine. */
export class HostClock {
  bootId = "boot-1";
  #world: World;
  #rates: Clocks;
  #boots = 1;
  #bootedAtMs: number;
  #wallOffsetMs: number;
  #sleptMs = 0;
  #asleepSinceMs: number | null = null;

  constructor(world: World, random: Random, clocks: Clockwork = "any") {
    this.#world = world;
    const rates = { monoMs: rate(random), bootMs: rate(random), wallMs: rate(random) };
    this.#rates = clocks === "any" ? rates : allAt(clocks === "agree" ? rates.monoMs : RATES[clocks]);
    this.#bootedAtMs = -random.between(1_000, 1e9);
    this.#wallOffsetMs = 1.7e12 + random.between(-1e6, 1e6);
  }

  /** What the three clocks show now. */
  read(): Clocks {
    const { nowMs } = this.#world;
    const asleepMs = this.#asleepSinceMs === null ? 0 : nowMs - this.#asleepSinceMs;
    const upMs = nowMs - this.#bootedAtMs;
    return {
      monoMs: (upMs - this.#sleptMs - asleepMs) * this.#rates.monoMs,
      bootMs: upMs * this.#rates.bootMs,
      wallMs: nowMs * this.#rates.wallMs + this.#wallOffsetMs,
    };
  }

  /** How long `monoMs` of this machine's monotonic time last in true time, while it is awake. */
  trueMs(monoMs: number): number {
    return monoMs / this.#rates.monoMs;
  }

  stepWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  sleep(): void {
    this.#asleepSinceMs ??= this.#world.nowMs;
  }

  wake(): void {
    if (this.#asleepSinceMs !== null) this.#sleptMs += this.#world.nowMs - this.#asleepSinceMs;
    this.#asleepSinceMs = null;
  }

  /** Goes on as another machine's clocks, under the same boot of its kernel: what an image of its memory does. */
  goOnAs(other: HostClock): void {
    this.bootId = other.bootId;
    this.#rates = other.#rates;
    this.#bootedAtMs = other.#bootedAtMs;
    this.#wallOffsetMs = other.#wallOffsetMs;
    this.#sleptMs = other.#sleptMs;
    this.#boots = other.#boots;
  }

  /** Another boot of the kernel: what counts from the boot begins again, under another id. */
  reboot(): void {
    this.#boots += 1;
    this.bootId = `boot-${this.#boots}`;
    this.#bootedAtMs = this.#world.nowMs;
    this.#sleptMs = 0;
    this.#asleepSinceMs = null;
  }
}

/** The coordinator's wall clock, the only one it has. */
export class WallClock {
  #world: World;
  #rate: number;
  #offsetMs = 1.7e12;

  constructor(world: World, random: Random, clocks: Clockwork = "any") {
    this.#world = world;
    const any = rate(random);
    this.#rate = clocks === "slow" || clocks === "fast" ? RATES[clocks] : any;
  }

  read(): number {
    return this.#world.nowMs * this.#rate + this.#offsetMs;
  }

  step(byMs: number): void {
    this.#offsetMs += byMs;
  }

  trueMs(wallMs: number): number {
    return wallMs / this.#rate;
  }
}

function rate(random: Random): number {
  // The extremes are where the margins are spent: half of all clocks live there.
  if (random.chance(0.5)) return random.chance(0.5) ? 1 + RATE_ERROR : 1 - RATE_ERROR;
  return 1 + random.between(-RATE_ERROR, RATE_ERROR);
}

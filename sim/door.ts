/** The kernel door of a simulated machine: it outlives its agent, and shuts by the kernel's clocks. */
import { remainingMs } from "#shared/core/member/lease.ts";
import type { DoorWish } from "#shared/core/member/state.ts";
import type { HostClock } from "./clock.ts";
import type { World } from "./world.ts";

type Table =
  | { kind: "none" }
  | { kind: "endless" }
  /** Traffic passes before both: an element's timeout on the monotonic clock, an instant of the wall clock. */
  | { kind: "timed"; untilMonoMs: number; untilWallMs: number };

/** A transaction as it was prepared: what the kernel makes of it depends on when it is carried out. */
export type Transaction =
  | { kind: "none" }
  | { kind: "endless" }
  | { kind: "timed"; forMs: number; untilWallMs: number };

export class Door {
  readonly #world: World;
  readonly #clock: HostClock;
  readonly #onShut: () => void;
  #table: Table = { kind: "none" };
  #owner: unknown = null;

  constructor(world: World, clock: HostClock, onShut: () => void) {
    this.#world = world;
    this.#clock = clock;
    this.#onShut = onShut;
  }

  get isShut(): boolean {
    const table = this.#table;
    if (table.kind !== "timed") return false;
    const { monoMs, wallMs } = this.#clock.read();
    return monoMs >= table.untilMonoMs || wallMs >= table.untilWallMs;
  }

  /** Whether it shuts by itself within `ms` of the lease it was set for, also if the machine sleeps meanwhile. */
  get shutsBySelf(): boolean {
    return this.#table.kind === "timed";
  }

  get shutsInSleep(): boolean {
    const table = this.#table;
    if (table.kind !== "timed") return false;
    const { monoMs, wallMs } = this.#clock.read();
    // A wall clock that was set back since says later than the other.
    return table.untilWallMs - wallMs <= table.untilMonoMs - monoMs + 100;
  }

  /** Null when the lease is over. */
  prepare(wish: DoorWish): Transaction | null {
    if (wish.kind !== "lease") return wish;
    const { lease } = wish;
    const forMs = remainingMs(lease, this.#clock.bootId, this.#clock.read());
    const untilWallMs = Math.floor((lease.base.wallMs + lease.ttlMs) / 1_000) * 1_000;
    return forMs <= 0 ? null : { kind: "timed", forMs, untilWallMs };
  }

  /** From now on transactions of earlier agents are refused. */
  claim(owner: unknown): void {
    this.#owner = owner;
  }

  commit(transaction: Transaction, owner: unknown): void {
    if (owner !== this.#owner) return;
    const { monoMs } = this.#clock.read();
    this.#table =
      transaction.kind === "timed"
        ? { kind: "timed", untilMonoMs: monoMs + transaction.forMs, untilWallMs: transaction.untilWallMs }
        : transaction;
    this.#onShut();
    this.#watch(this.#table);
  }

  /** The kernel is gone, and its rules. */
  lose(): void {
    this.#table = { kind: "none" };
  }

  #watch(table: Table): void {
    if (table.kind !== "timed") return;
    const { monoMs, wallMs } = this.#clock.read();
    // A wall clock may run faster than true time: it is looked at again before it can be there.
    const leftMs = Math.min(this.#clock.trueMs(table.untilMonoMs - monoMs), (table.untilWallMs - wallMs) / 1.04);
    this.#world.after(Math.max(1, leftMs), () => {
      if (this.#table !== table) return;
      if (this.isShut) this.#onShut();
      else this.#watch(table);
    });
  }
}

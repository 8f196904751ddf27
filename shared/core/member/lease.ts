/**
 * The lease, as its holder counts it: the largest of three clocks since the poll that brought it was *sent*. The giver
 * counted from handling that poll, which was later; so the holder is always the first to call it over.
 */
import { largestElapsedMs, type Clocks } from "../../domain/clocks.ts";
import type { HeldLease } from "./state.ts";

/** What is left of a lease, in milliseconds; never above zero on another boot of the kernel. */
export function remainingMs(lease: HeldLease, bootId: string, clocks: Clocks): number {
  if (lease.bootId !== bootId) return 0;
  return lease.ttlMs - largestElapsedMs(lease.base, clocks);
}

/** Whether a lease of `epoch` is held and still runs. */
export function covers(lease: HeldLease | null, epoch: number, bootId: string, clocks: Clocks): boolean {
  return lease !== null && lease.epoch === epoch && remainingMs(lease, bootId, clocks) > 0;
}

/**
 * The lease, as its holder counts it: the largest of three clocks since the poll that brought it was *sent*. The giver
 * counted from handling that poll, which was later; so the holder is always the first to call it over.
 */
import { largestElapsedMs, type Clocks } from "../../domain/clocks.ts";
import type { HeldLease, MemberDurable } from "./state.ts";

/** What is left of a lease, in milliseconds; never above zero on another boot of the kernel. */
export function remainingMs(lease: HeldLease, bootId: string, clocks: Clocks): number {
  if (lease.bootId !== bootId) return 0;
  return lease.ttlMs - largestElapsedMs(lease.base, clocks);
}

/**
 * Whether a lease of `epoch` is held and still runs. While this member knows the policy to be MAINTENANCE no time ends
 * it: only the operator's own word made it so, and the coordinator counts on it until this member has confirmed another.
 */
export function covers(
  { lease, policy }: Pick<MemberDurable, "lease" | "policy">,
  epoch: number,
  now: { bootId: string; clocks: Clocks },
): boolean {
  if (lease === null || lease.epoch !== epoch) return false;
  if (policy === "maintenance") return lease.bootId === now.bootId;
  return remainingMs(lease, now.bootId, now.clocks) > 0;
}

/**
 * What the guardian knows of the right to write, and what it must do about it. Everything is counted from the lease's
 * end, not from when somebody woke up: whoever was frozen past it has had his time.
 */
import { covers, remainingMs } from "#shared/core/member/lease.ts";
import type { HeldLease, MemberDurable } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";

/** The server may be writable exactly while `attempted` is above `released`. */
export type Held = Pick<MemberDurable, "attempted" | "released" | "policy" | "policyVersion" | "lease">;

/** The agent: not connected; connected and silent about the lease's end; or fencing, as it has said itself. */
export type Attendance = "gone" | "silent" | "fencing";

/** How long after the lease's end a connected agent may take to say that it is fencing. */
export const SILENCE_MS = 40;
/** How much of its fence bound an agent that is fencing may use up after the lease's end. */
const FENCING_SHARE = 0.6;

export type Verdict =
  /** Nothing can be writable, or no time ends it. */
  | { kind: "rest" }
  /** `isOver`: the lease has ended, and the agent's patience runs. */
  | { kind: "wait"; forMs: number; isOver: boolean }
  | { kind: "kill" };

/** What must be done at this moment. */
export function judge(
  held: Held,
  agent: { attendance: Attendance; fenceMs: number },
  now: { bootId: string; clocks: Clocks },
): Verdict {
  if (held.attempted <= held.released) return { kind: "rest" };
  if (held.policy === "maintenance" && covers(held, held.attempted, now)) return { kind: "rest" };
  const leftMs = leaseLeftMs(held, now);
  const forMs = leftMs + patienceMs(agent);
  return forMs > 0 ? { kind: "wait", forMs, isOver: leftMs <= 0 } : { kind: "kill" };
}

/** Negative by how long ago it ended; without a lease of the epoch, for ever. */
function leaseLeftMs({ lease, attempted }: Held, { bootId, clocks }: { bootId: string; clocks: Clocks }): number {
  if (lease === null || lease.epoch !== attempted || lease.bootId !== bootId) return Number.NEGATIVE_INFINITY;
  return remainingMs(lease, bootId, clocks);
}

function patienceMs({ attendance, fenceMs }: { attendance: Attendance; fenceMs: number }): number {
  switch (attendance) {
    case "gone":
      return 0;
    case "silent":
      return SILENCE_MS;
    case "fencing":
      return fenceMs * FENCING_SHARE;
  }
}

/** What is known of both together: numbers only grow, and of two leases of this boot the later one was granted later. */
export function newest(a: Held, b: Held, bootId: string): Held {
  const policyOf = b.policyVersion > a.policyVersion ? b : a;
  return {
    attempted: Math.max(a.attempted, b.attempted),
    released: Math.max(a.released, b.released),
    policy: policyOf.policy,
    policyVersion: policyOf.policyVersion,
    lease: laterLease(a.lease, b.lease, bootId),
  };
}

function laterLease(a: HeldLease | null, b: HeldLease | null, bootId: string): HeldLease | null {
  if (b === null || b.bootId !== bootId) return a;
  if (a === null || a.bootId !== bootId) return b;
  if (a.epoch !== b.epoch) return a.epoch > b.epoch ? a : b;
  return a.base.bootMs >= b.base.bootMs ? a : b;
}

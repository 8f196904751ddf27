/**
 * The lease door, as the member's machine decides about it: the kernel lets traffic to the server's port pass exactly as
 * long as the lease runs, and shuts it by itself whatever becomes of this process.
 *
 * After every step the door that the phase asks for is compared with the one that was asked for last; a difference is an
 * effect. The door stands before the server is opened, is refreshed with every extension, is left alone while the server
 * is fenced, and goes when the server is dead or read-only.
 *
 * A holder says in its polls that it has a door only while one is known to stand that shuts no later than its lease. A
 * lease that was granted on that word is waited for without any time for a fence, so the door is taken away only when the
 * server is closed. When the kernel refuses to refresh it, it is asked again until the door shuts by itself; then the
 * server is fenced, and opened again without a door.
 */
import type { Clocks } from "../../domain/clocks.ts";
import { covers, remainingMs } from "./lease.ts";
import type { DoorWish, HeldLease, LeaseDoor, MemberEvent, MemberState } from "./state.ts";
import { fence, type Work } from "./work.ts";

/** The kernel counts the end of the door in whole seconds of wall time, rounded down: of a shorter lease little is left. */
export const LEAST_LEASE_MS = 3_000;

/** Whether this member may open its server under `lease`: one that counts on a door needs one. */
export function mayOpenWith({ live }: Pick<Work, "live">, lease: HeldLease): boolean {
  const { isAble, isRequired } = live.leaseDoor;
  const isLongEnough = lease.ttlMs >= LEAST_LEASE_MS;
  return lease.hasLeaseDoor ? isAble && isLongEnough : !isRequired;
}

/** What a poll says of the door. */
export function declaresDoor({ phase, durable, live }: MemberState): boolean {
  const { isAble, stands } = live.leaseDoor;
  if (!isAble) return false;
  if (phase.kind !== "open") return true;
  return stands?.kind === "lease" || (stands?.kind === "endless" && durable.policy === "maintenance");
}

/** How long the door that stands lets the holder be reached; null where no time shuts it, or none is known to stand. */
export function doorLeftMs(
  { phase, durable, live }: Pick<MemberState, "phase" | "durable" | "live">,
  clocks: Clocks,
): number | null {
  if (phase.kind !== "open" && phase.kind !== "opening") return null;
  const { stands } = live.leaseDoor;
  if (stands?.kind !== "lease") return null;
  const isEndless = durable.policy === "maintenance" && covers(durable, phase.epoch, { bootId: live.bootId, clocks });
  return isEndless ? null : remainingMs(stands.lease, live.bootId, clocks);
}

/** Asks the kernel for the door that goes with where the member stands now. */
export function tendDoor(work: Work): void {
  unableForShortLeases(work);
  const { leaseDoor } = work.live;
  const wish = wishOf(work);
  if (wish === null || (leaseDoor.asked !== null && isSame(leaseDoor.asked, wish))) return;
  const id = leaseDoor.askedId + 1;
  setDoor(work, { asked: wish, askedId: id });
  // Before everything else of this step: an opening waits for it.
  work.effects.unshift({ kind: "door", id, wish });
}

/** Takes in what the kernel has done; only the newest wish counts. */
export function noteDoor(work: Work, { id, outcome }: Extract<MemberEvent, { kind: "door-set" }>): void {
  const { asked, askedId, stands } = work.live.leaseDoor;
  if (id !== askedId || asked === null) return;
  if (!outcome.ok) return noteFailure(work, outcome);
  if (stands?.kind !== asked.kind) work.reasons.push({ kind: "lease-door", stands: asked.kind });
  setDoor(work, { stands: asked });
}

/** It is asked for again with the next event. */
function noteFailure(work: Work, { code, detail }: { code: string; detail: string }): void {
  const { phase, durable } = work;
  const { isAble, isRequired, stands } = work.live.leaseDoor;
  work.reasons.push({ kind: "lease-door-failed", code, detail });
  if (phase.kind !== "open") return setDoor(work, { asked: null, stands: null, isAble: isAble && isRequired });
  // What stands goes on until it shuts by itself, which is waited for: perhaps it can be refreshed by then.
  if (stands?.kind === "lease" || stands?.kind === "endless") return setDoor(work, { asked: null });
  giveUpDoor(work);
  if (!durable.lease?.hasLeaseDoor) return setDoor(work, { asked: null, stands: { kind: "none" } });
  // Nobody knows whether the door that others count upon will shut.
  setDoor(work, { asked: null });
  fence(work, { releases: phase.epoch, cause: "lease-lost", restart: true, command: null });
}

/** The next opening does without, where it may. */
export function giveUpDoor(work: Work): void {
  setDoor(work, { isAble: work.live.leaseDoor.isAble && work.live.leaseDoor.isRequired });
}

/** Null leaves the door as it is. */
function wishOf({ phase, durable, live }: Work): DoorWish | null {
  switch (phase.kind) {
    case "observing":
    case "closed":
      return { kind: "none" };
    // An orderly stop sends the replicas the rest of the log; if it takes longer than the lease, the door shuts by itself.
    case "fencing":
      return null;
    case "opening":
    case "open": {
      const { lease, policy } = durable;
      const { isAble, stands } = live.leaseDoor;
      // A door that others may count upon is not taken away from an open server, whatever has become of the wish for it.
      const isWanted = lease !== null && (isAble || lease.hasLeaseDoor || (stands !== null && stands.kind !== "none"));
      if (!isWanted) return { kind: "none" };
      return policy === "maintenance" ? { kind: "endless" } : { kind: "lease", lease };
    }
  }
}

function unableForShortLeases(work: Work): void {
  const { lease } = work.durable;
  if (work.live.leaseDoor.isAble && lease !== null && lease.ttlMs < LEAST_LEASE_MS) setDoor(work, { isAble: false });
}

function isSame(a: DoorWish, b: DoorWish): boolean {
  if (a.kind !== "lease" || b.kind !== "lease") return a.kind === b.kind;
  return a.lease === b.lease;
}

function setDoor(work: Work, patch: Partial<LeaseDoor>): void {
  work.live = { ...work.live, leaseDoor: { ...work.live.leaseDoor, ...patch } };
}

/**
 * Whether this coordinator is of the past, and what it can tell from what members return.
 *
 * A coordinator cannot notice by itself that its storage was restored or lost. But with every version it hands out a
 * signed word of how far it had come; members keep the newest and return it. One that says more than this state knows
 * proves that there was a later one.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { Poll } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import type { Epoch } from "../../domain/reign.ts";
import type { SetAside, Voucher } from "../../domain/voucher.ts";
import type { ClusterState, DurableState } from "./state.ts";

/** Whether members must report before anybody is promoted or told anything. */
export function isRestoring({ durable }: Pick<ClusterState, "durable">): boolean {
  return durable.restoration?.kind === "reporting";
}

/** What this state vouches for: at least what it has been told of a time that it does not remember. */
export function voucherOf(durable: DurableState): Voucher {
  const { version, epoch, op, policy, policyVersion, reigns, restoration } = durable;
  const own: Voucher = {
    version,
    epoch,
    mintedWallMs: reigns.at(-1)?.mintedWallMs ?? 0,
    op,
    timeline: Math.max(0, ...reigns.map((reign) => reign.timeline)),
    policy,
    policyVersion,
    electorateVersion: durable.electorate.version,
    syncVersion: durable.syncVersion,
    sync: durable.durability === "sync" ? durable.syncPolicy : null,
    aside: setAsides(durable),
  };
  // What was known before is in what is known now; only the numbers go on.
  return restoration?.kind === "reporting" ? { ...restoration.known, version, op } : own;
}

/** Whether a voucher says more than this state knows, or something else. */
export function isBeyond(durable: DurableState, voucher: Voucher): boolean {
  const own = voucherOf(durable);
  const isAhead = voucher.version > own.version || voucher.epoch > own.epoch || voucher.op > own.op;
  const isSyncAhead = voucher.syncVersion > own.syncVersion;
  return isAhead || isSyncAhead || voucher.policyVersion > own.policyVersion || isOfAnother(durable, voucher);
}

/** Whether the voucher's epoch has the number of one of ours and is another. A minting that is not known tells nothing. */
export function isOfAnother(durable: DurableState, { epoch, mintedWallMs }: Voucher): boolean {
  const own = durable.reigns.find((reign) => reign.epoch === epoch)?.mintedWallMs ?? 0;
  return own > 0 && mintedWallMs > 0 && own !== mintedWallMs;
}

/** Whether a host was admitted in the time that was lost: what it is bound to now may differ from what is remembered. */
export function isOfLostTime({ durable }: Pick<ClusterState, "durable">, voucher: Voucher | null): boolean {
  if (voucher === null) return false;
  const { restoration } = durable;
  return restoration?.kind === "reporting" ? voucher.version > restoration.ownVersion : isBeyond(durable, voucher);
}

/**
 * Whether whoever sent this poll holds the lease of the highest epoch known. A higher one would have needed its end,
 * and its lease runs: nobody else can hold another, whatever has been forgotten. (All but an operator's assertion.)
 */
export function isHolder({ durable }: Pick<ClusterState, "durable">, poll: Poll): boolean {
  const known = voucherOf(durable);
  const { attempted, released, server } = poll;
  const wasReleased = (durable.identities[poll.host]?.released ?? 0) >= attempted;
  if (server?.phase !== "open" || attempted === 0 || released >= attempted || wasReleased) return false;
  // Its machine looks at the time before it speaks: who calls itself open is covered, by its lease, by promises, or in
  // MAINTENANCE without an end.
  return attempted >= known.epoch && poll.leaseRemainingMs !== null;
}

/** The last epoch in which a member's log may hold writes of its own: what it says, or what it has forgotten. */
export function ownEpochOf({ durable, live }: ClusterState, name: MemberName): Epoch {
  const said = live.hosts[name]?.poll.ownEpoch ?? 0;
  return Math.max(said, durable.identities[name]?.assumedEpoch ?? 0);
}

/** The most of both: numbers never go back; the later one's policy counts, and its word of whom operators had put aside. */
export function merged(a: Voucher, b: Voucher): Voucher {
  const later = b.version > a.version ? b : a;
  const newer = b.epoch > a.epoch ? b : a;
  return {
    version: later.version,
    epoch: newer.epoch,
    mintedWallMs: newer.mintedWallMs,
    op: Math.max(a.op, b.op),
    timeline: Math.max(a.timeline, b.timeline),
    policy: later.policy,
    policyVersion: Math.max(a.policyVersion, b.policyVersion),
    electorateVersion: Math.max(a.electorateVersion, b.electorateVersion),
    syncVersion: Math.max(a.syncVersion, b.syncVersion),
    sync: later.sync,
    aside: later.aside,
  };
}

function setAsides({ members }: DurableState): SetAside[] {
  return Object.values(members).flatMap(({ name, reason }): SetAside[] =>
    isOperatorsWord(reason) && (reason.kind === "manually-failed" || reason.kind === "manually-shunned")
      ? [{ member: name, as: reason.kind }]
      : [],
  );
}

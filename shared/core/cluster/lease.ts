/**
 * Leases, as their giver counts them.
 *
 * The coordinator may call a lease expired only when two clocks agree that the whole wait is over: its own, and that of
 * one agent that has run without a restart since it received a nonce issued after the last grant. One clock that was
 * stepped, or slept, can then at worst delay a failover, never hurry it.
 */
import { smallestElapsedMs } from "../../domain/clocks.ts";
import type { Poll } from "../../domain/messages.ts";
import type { Epoch } from "../../domain/reign.ts";
import { expiryWaitMs } from "../../domain/settings.ts";
import { isSameStart } from "./fork.ts";
import type { LeaseRecord, LiveHost, LiveState, Witness } from "./state.ts";
import type { Work } from "./work.ts";

/** How many nonces per host are remembered: a reply that was lost must not cost its successor the witness. */
const NONCES_KEPT = 8;

/** The whole wait for the lease in force; null when there is none. */
export function waitMs(work: Pick<Work, "durable" | "lease">): number | null {
  return work.lease ? expiryWaitMs(work.lease, work.durable.settings) : null;
}

/**
 * Whether no time ends the lease in force: in MAINTENANCE, and after it until the holder has confirmed that it is over.
 * Only the operator's own word begins it, and only `asserted` ends the reign of a holder that is never heard again.
 */
export function isEndless({ durable, lease }: Pick<Work, "durable" | "lease">): boolean {
  if (!lease) return false;
  if (durable.policy === "maintenance") return true;
  return (durable.identities[lease.member]?.policyVersion ?? 0) < durable.endlessBelow;
}

/** When the lease in force can be called expired at the earliest, in `at`; null when there is none or it is endless. */
export function expiryAt(work: Pick<Work, "durable" | "lease" | "live">): number | null {
  const wait = waitMs(work);
  return wait === null || isEndless(work) ? null : work.live.leaseAt + wait;
}

/** Whether the lease of `epoch` has expired, for certain. That of an earlier epoch says nothing about this one. */
export function isExpired(work: Work, epoch: Epoch): boolean {
  const { lease, live } = work;
  const wait = waitMs(work);
  if (lease?.epoch !== epoch || wait === null || isEndless(work) || live.at - live.leaseAt < wait) return false;
  return Object.values(live.hosts).some((host) => {
    const witness = host.witness;
    return (
      witness !== null &&
      witness.serial === lease.serial &&
      witness.startCount === host.poll.startCount &&
      smallestElapsedMs(witness.base, host.poll.clocks) >= wait
    );
  });
}

/** A grant or an extension, by a reply that is about to leave. */
export function grant(work: Work, lease: Omit<LeaseRecord, "serial">): void {
  countAnew(work, { ...lease, serial: work.lease?.serial ?? 0 });
}

/** The wait for a lease's end begins now, by every clock: nonces of before are no witness of it. */
export function countAnew(work: Work, lease: LeaseRecord): void {
  work.lease = { ...lease, serial: lease.serial + 1 };
  work.live = { ...work.live, leaseAt: work.live.at };
  work.confirm = true;
}

/**
 * Whether the holder's lease should be extended now: a third is used by our count or by its own. An extension whose
 * reply was lost shows in what the holder says it has left.
 */
export function isThirdUsed(work: Work, poll: Poll): boolean {
  if (!work.lease) return false;
  const ttl = work.lease.ttlMs;
  const left = Math.min(work.live.leaseAt + ttl - work.live.at, poll.leaseRemainingMs ?? 0);
  return left <= (ttl * 2) / 3;
}

/** The witness of a host after a poll that returned `poll.nonce`. */
export function witnessAfter(host: LiveHost | undefined, poll: Poll, serial: number): Witness | null {
  const known = host?.witness ?? null;
  const current = known !== null && known.startCount === poll.startCount && known.serial === serial;
  if (current || poll.nonce === null || poll.nonceClocks === null) return current ? known : null;
  const issued = host?.issued.find((entry) => entry.nonce === poll.nonce);
  if (!issued || issued.serial !== serial || !host || !isSameStart(host.poll, poll)) return null;
  return { startCount: poll.startCount, serial, base: poll.nonceClocks };
}

/** Issues the nonce of a reply. It need not be secret, only never repeated: it says which incarnation was heard. */
export function issueNonce(live: LiveState, host: string, serial: number): { live: LiveState; nonce: string } {
  const nonceCounter = live.nonceCounter + 1;
  const nonce = `${live.generation}.${nonceCounter}`;
  const known = live.hosts[host];
  if (!known) throw new Error(`nothing heard of ${host}`);
  const issued = [...known.issued, { nonce, serial }].slice(-NONCES_KEPT);
  return { live: { ...live, nonceCounter, hosts: { ...live.hosts, [host]: { ...known, issued } } }, nonce };
}

/**
 * One identity, two places: a copy of a state directory that is started elsewhere counts its start and goes on, like the same
 * host after a restart (SPEC: ID-13).
 *
 * Whether the original is gone its successor does not know, and the coordinator cannot see it. So the one that is heard
 * keeps the newcomer out; no epoch is opened in two places; and what the newcomer lays down was not the original's to
 * lay down: of the original's lease nothing but time is believed.
 */
import { smallestElapsedMs } from "../../domain/clocks.ts";
import type { Poll } from "../../domain/messages.ts";
import type { Epoch } from "../../domain/reign.ts";
import { expiryWaitMs } from "../../domain/settings.ts";
import { isElectable } from "./electorate.ts";
import { isElsewhere } from "./fork.ts";
import { isEndless } from "./lease.ts";
import type { ClusterState, LeaseRecord } from "./state.ts";
import type { Work } from "./work.ts";

/**
 * Whether a later start comes from elsewhere while the one before was heard just now: no host boots within so short a time,
 * and the one that is heard is the member. Once that one is silent the newcomer is taken for the same host, restarted.
 */
export function isTooSoon(state: ClusterState, { host, place, startCount, incarnation }: Poll): boolean {
  const { durable, live } = state;
  const known = durable.identities[host];
  if (!known || startCount <= known.startCount || incarnation !== known.incarnation) return false;
  // A fresh incarnation has heard nobody yet: the time is counted from its start.
  const silentFor = live.at - (live.hosts[host]?.handledAt ?? 0);
  const { pollMs, pollTimeoutMs } = durable.settings;
  return isElsewhere(known.place, place) && silentFor <= 2 * (pollMs + pollTimeoutMs);
}

/** Whether a poll that is refused is of a start that a later one has replaced, of the very same state. */
export function isElder({ durable }: Pick<ClusterState, "durable">, poll: Poll): boolean {
  const known = durable.identities[poll.host];
  if (!known || known.isForked || poll.incarnation !== known.incarnation) return false;
  // Of a router host there may be two: it decides nothing.
  if (!Object.hasOwn(durable.members, poll.host)) return false;
  return poll.startCount < known.startCount;
}

/**
 * Notes such a poll; true when that start lives on: it has spoken after its successor, by the clocks of the boot that both
 * are of, or it has been heard for longer than any packet is on its way.
 */
export function hearElder(work: Work, poll: Poll): boolean {
  const { host, startCount, clocks } = poll;
  if (isSentAfter(work.live.hosts[host]?.poll, poll)) return true;
  const before = work.live.elders[host];
  if (before?.startCount !== startCount) {
    work.live = { ...work.live, elders: { ...work.live.elders, [host]: { startCount, clocks } } };
    return false;
  }
  return smallestElapsedMs(before.clocks, clocks) >= work.durable.settings.silentMs;
}

/** In one place one agent runs at a time (SPEC: ID-7): the one before was dead when its successor read its clocks. */
function isSentAfter(newest: Poll | undefined, { place, clocks }: Poll): boolean {
  if (!newest || place === null || newest.place !== place) return false;
  return clocks.monoMs > newest.clocks.monoMs && clocks.bootMs > newest.clocks.bootMs;
}

/**
 * How much of what a poll vouches for is taken for the word of whoever was granted the lease: a copy that starts elsewhere
 * releases what it has copied, and the original may write on.
 */
export function releasedBy(work: Work, { host, place, released: said }: Poll): Epoch {
  const { lease } = work;
  // Nobody can lay down what nobody was given.
  const released = Math.min(said, work.durable.epoch);
  if (lease?.member !== host || released < lease.epoch || !isElsewhere(lease.place, place)) return released;
  return mayStillHold(work, lease) ? Math.min(released, lease.epoch - 1) : released;
}

/** Whether `epoch` was granted to the same host elsewhere: no two places open in one epoch. */
export function isGrantedElsewhere(work: Work, epoch: Epoch, place: string | null): boolean {
  const { lease } = work;
  return lease?.epoch === epoch && isElsewhere(lease.place, place) && mayStillHold(work, lease);
}

/**
 * Whether the one that was granted the lease may hold it still, as far as its copy's word goes. Where time ends the reign,
 * time alone is believed. Where none does, the whole wait must be over: an operator's own restart of the host is to be
 * followed, and looks the same.
 */
function mayStillHold(work: Work, lease: LeaseRecord): boolean {
  const { durable, live } = work;
  const { phase, settings } = durable;
  const isAdopted = phase.kind === "reigning" && !phase.opened && phase.how === "adopt";
  const others = durable.electorate.members.filter((name) => name !== lease.member && isElectable(work, name));
  const mayTimeOut = !isAdopted && !isEndless(work) && others.length > 0;
  return mayTimeOut || live.at - live.leaseAt < expiryWaitMs(lease, settings);
}

/**
 * What the coordinator makes of the promises that members report: while one runs, the reign it was given for is not ended
 * by time. Safety does not rest on this, the members refuse by themselves; but a healthy primary is not disturbed, and no
 * epoch is minted that nobody would open in.
 */
import type { Poll } from "../../domain/messages.ts";
import type { Epoch, Reign } from "../../domain/reign.ts";
import { expiryWaitMs, MOST_FENCE_MS } from "../../domain/settings.ts";
import { hasReleased, isSameStart } from "./fork.ts";
import type { ClusterState, EndProof } from "./state.ts";
import { type Work, becauseOnce } from "./work.ts";

/** Until when a promise runs that a member of the electorate has reported, in `at`; null when none does. */
export function promisedUntil({ durable, live }: Pick<ClusterState, "durable" | "live">): number | null {
  let until = live.at;
  for (const name of durable.electorate.members) until = Math.max(until, promisedBy({ durable, live }, name));
  return until > live.at ? until : null;
}

/** Whether time must not end, or be taken to have ended, a reign yet; says so once. */
export function awaitsPromises(work: Work, epoch: Epoch): boolean {
  if (promisedUntil(work) === null) return false;
  const members = work.durable.electorate.members.filter((name) => promised(work, name));
  becauseOnce(work, { kind: "promises-outstanding", epoch, members });
  return true;
}

/**
 * Whether a member says that it keeps a promise to somebody who never reigned here in that epoch: a coordinator that was
 * restored to the past has forgotten a reign, and its holder lives on such promises. Nobody is crowned meanwhile; that
 * holder's own word, when it is heard, is the proof. Says so once.
 */
export function awaitsForgotten(work: Work, epoch: Epoch): boolean {
  const members = Object.keys(work.durable.members).filter((name) => keepsForgotten(work, name));
  if (members.length === 0) return false;
  becauseOnce(work, { kind: "promises-outstanding", epoch, members });
  return true;
}

function keepsForgotten(work: Work, name: string): boolean {
  const { reigns } = work.durable;
  const promises = work.live.hosts[name]?.poll.promises ?? [];
  const isForgotten = promises.some(
    ({ holder, epoch }) =>
      !reigns.some((reign) => reign.epoch === epoch && (reign.member === holder || reign.member === "")),
  );
  return isForgotten && promised(work, name);
}

function promised(work: Work, name: string): boolean {
  return promisedBy(work, name) > work.live.at;
}

/**
 * Until when a member says that it has promised. None can bind for longer than the longest wait for a lease: whoever says
 * so, and is never heard again, must not hold up succession for ever.
 */
function promisedBy({ durable, live }: Pick<ClusterState, "durable" | "live">, name: string): number {
  const { settings } = durable;
  const mostMs = expiryWaitMs({ ttlMs: settings.ttlMs, fenceMs: MOST_FENCE_MS }, settings);
  const host = live.hosts[name];
  const remaining = (host?.poll.promises ?? []).map(({ remainingMs }) => Math.min(remainingMs, mostMs));
  return Math.max(host?.promisedUntil ?? 0, (host?.handledAt ?? 0) + Math.max(0, ...remaining));
}

/**
 * Until when the starts before this one have said that they promised. A start from another place may be a copy's, which was
 * made before the promise: what was promised binds all the same.
 */
export function promisedBefore(work: Work, poll: Poll): number {
  const known = work.live.hosts[poll.host];
  if (!known) return 0;
  return isSameStart(known.poll, poll) ? known.promisedUntil : promisedBy(work, poll.host);
}

/**
 * What `released` proves of an epoch that nobody was seen to open in: who was crowned in it does not write, but whoever
 * reigned before may. The proof with which it was minted then still is all there is, and promises bind against it.
 */
export function provenBy({ durable }: Pick<ClusterState, "durable">, epoch: Epoch, proof: EndProof): EndProof {
  if (proof !== "released") return proof;
  for (let at = epoch; at > 1; at -= 1) {
    const reign = durable.reigns.find((entry) => entry.epoch === at);
    if (!reign || reign.opened || !isOfTime(reign.proof)) return "released";
    const before = durable.reigns.find((entry) => entry.epoch === at - 1);
    const isOver = before !== undefined && hasReleased({ durable }, { epoch: before.epoch, primary: before.member });
    if (!isOver) return reign.proof === "revoked" ? "revoked" : "expired";
  }
  return "released";
}

/** The proofs that need no word of the old holder: a promise binds against them. One that was forgotten may have been such. */
export function isOfTime(proof: Reign["proof"]): proof is "expired" | "revoked" | "restated" {
  return proof === "expired" || proof === "revoked" || proof === "restated";
}

/** What must hold after every step of a member, in production too. A broken one throws; the shell fences and ends. */
import type { MemberState } from "./state.ts";

/** Throws when `after` may not follow `before`. */
export function assertMemberInvariants(before: MemberState, after: MemberState): void {
  for (const [rule, holds] of RULES) {
    if (!holds(before, after)) throw new Error(`invariant broken: ${rule}`);
  }
}

const memberInvariants: Record<string, (before: MemberState, after: MemberState) => boolean> = {
  "the highest epoch seen only grows": ({ durable: a }, { durable: b }) => b.epochSeen >= a.epochSeen,
  "the highest operation seen only grows": ({ durable: a }, { durable: b }) => b.opSeen >= a.opSeen,
  "the version only grows": ({ durable: a }, { durable: b }) => b.version >= a.version,
  "attempted and released only grow": ({ durable: a }, { durable: b }) =>
    b.attempted >= a.attempted && b.released >= a.released,
  "founded once, founded for ever": ({ durable: a }, { durable: b }) => b.founded || !a.founded,
  "an unfounded member only observes": (_, { durable, phase }) => durable.founded || phase.kind === "observing",
  "a closed member has released all it attempted": (_, { durable, phase }) =>
    phase.kind !== "closed" || durable.released >= durable.attempted,
  "who is open has attempted that epoch and not released it": (_, { durable, phase }) =>
    (phase.kind !== "open" && phase.kind !== "opening") ||
    (durable.attempted === phase.epoch && durable.released < phase.epoch),
  "nobody attempts an epoch it has not seen": (_, { durable }) => durable.attempted <= durable.epochSeen,
  "nobody has opened what it did not attempt": (_, { durable }) => durable.opened <= durable.attempted,
  "who opens holds the lease of that epoch": (_, { durable, phase }) =>
    phase.kind !== "opening" || durable.lease?.epoch === phase.epoch,
  "whoever opens has its whole data directory": (_, { durable, phase }) =>
    phase.kind !== "opening" || !durable.isDamaged,
  "the log of its own epoch is never of one it did not attempt": (_, { durable }) =>
    durable.ownEpoch <= durable.attempted,
  "the identity of a server never changes": ({ durable: a }, { durable: b }) =>
    a.systemId === null || a.systemId === b.systemId,
  "released is said only out of a finished fence or a refusal": (before, after) =>
    after.durable.released === before.durable.released ||
    before.phase.kind === "fencing" ||
    before.phase.kind === "closed" ||
    // Founded, and told to lay an epoch down that it never began, by one and the same reply.
    (!before.durable.founded && after.durable.founded),
};

const RULES = Object.entries(memberInvariants);

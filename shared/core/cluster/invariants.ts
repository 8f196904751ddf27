/**
 * What must hold after every step, in production too. A broken invariant throws; the shell then persists nothing, and
 * the last state that held stays.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import { isEndless } from "./lease.ts";
import type { ClusterState, DurableState } from "./state.ts";

/** Throws when `after` may not follow `before`. */
export function assertClusterInvariants(before: ClusterState, after: ClusterState): void {
  for (const [rule, holds] of RULES) {
    if (!holds(before, after)) throw new Error(`invariant broken: ${rule}`);
  }
}

/** Numbers that members remember are taken over. */
function isRestating(a: DurableState, b: DurableState): boolean {
  return a.restoration?.kind === "reporting" || b.restoration?.kind === "reporting";
}

function isRecovering({ plan }: DurableState, name: string): boolean {
  return plan?.kind === "recover" && (plan.member === name || plan.waiting.includes(name));
}

type Rule = (before: ClusterState, after: ClusterState) => boolean;

const clusterInvariants: Record<string, Rule> = {
  "epochs only grow, by one": ({ durable: a }, { durable: b }) =>
    b.epoch === a.epoch || b.epoch === a.epoch + 1 || (isRestating(a, b) && b.epoch > a.epoch),
  "operation numbers only grow": ({ durable: a }, { durable: b }) => b.op >= a.op,
  "the version grows with every durable change": ({ durable: a }, { durable: b }) =>
    a === b || b.version === a.version + 1 || (isRestating(a, b) && b.version > a.version),
  "the newest reign is the newest epoch's": (_, { durable }) => (durable.reigns.at(-1)?.epoch ?? 0) === durable.epoch,
  "every epoch has one reign": (_, { durable }) => durable.reigns.every((reign, index) => reign.epoch === index + 1),
  "only the newest epoch reigns": (_, { durable: { phase, epoch } }) =>
    phase.kind === "founding" ? epoch === 0 : phase.epoch === epoch,
  "an epoch is followed only after its end was proved": (before, after) => {
    if (after.durable.epoch === before.durable.epoch) return true;
    // Its epochs were minted by a coordinator that knew more.
    if (isRestating(before.durable, after.durable)) return true;
    const { phase } = before.durable;
    const proof = after.durable.reigns.at(-1)?.proof;
    if (before.durable.epoch === 0) return phase.kind === "founding" && proof === "founded";
    return proof === "released" || proof === "expired" || proof === "revoked" || proof === "asserted";
  },
  "a lease is of the newest epoch or an ended one": (_, { durable, lease }) => !lease || lease.epoch <= durable.epoch,
  "a lease is granted to nobody but its epoch's member": (_, { durable, lease }) =>
    !lease || durable.reigns.some((reign) => reign.epoch === lease.epoch && reign.member === lease.member),
  "the lease's serial only grows": ({ lease: a }, { lease: b }) => !a || (b !== null && b.serial >= a.serial),
  "no lease is granted while its reign is being ended": (before, after) =>
    after.lease?.serial === before.lease?.serial ||
    after.durable.phase.kind === "reigning" ||
    // The step that ended the reign had counted its lease anew before.
    before.durable.phase.kind === "reigning" ||
    // One that had no end begins to be counted: nothing is granted by that.
    (isEndless(before) && (!isEndless(after) || isRestating(before.durable, after.durable))),
  "what was released stays released": ({ durable: a }, { durable: b }) =>
    Object.entries(a.identities).every(([host, was]) => (b.identities[host]?.released ?? 0) >= was.released),
  "an operator's word is undone by no report": ({ durable: a }, { durable: b }) =>
    Object.values(a.members).every((was) => {
      const is = b.members[was.name];
      if (!isOperatorsWord(was.reason) || (is && isOperatorsWord(is.reason))) return true;
      // Who was failed is shunned when another has taken over: kept out all the same.
      if (was.state === "failed" && is?.state === "shunned") return true;
      // A word of the past gives way to the later one that members have kept.
      if (isRestating(a, b)) return true;
      // An operator's request has a number of its own, and a recovery is one.
      return b.op > a.op || isRecovering(a, was.name) || isRecovering(b, was.name);
    }),
  "an online primary is the one that reigns": (_, { durable: { members, phase } }) =>
    Object.values(members).every(
      (record) =>
        record.role !== "primary" ||
        record.state !== "online" ||
        ((phase.kind === "reigning" || phase.kind === "deposing") && phase.primary === record.name) ||
        // What happens in MAINTENANCE is not marked.
        ((phase.kind === "vacant" || phase.kind === "collecting") && phase.deposed === record.name),
    ),
  "a plan is part of the operation under way": (_, { durable: { plan, operation } }) =>
    plan === null || operation?.op === plan.op,
  "a change of durability is the operation under way": (_, { durable: { durabilityChange, operation } }) =>
    durabilityChange === null || operation?.op === durabilityChange.op,
  "synchronous durability is promised only when a set of this reign is in force": ({ durable: a }, { durable: b }) => {
    if (a.durability === "sync" || b.durability === "async" || isRestating(a, b)) return true;
    const { phase, syncSets } = b;
    const isReigning = phase.kind === "reigning" && phase.opened && syncSets[0] !== undefined;
    return isReigning && syncSets[0]?.from !== null && syncSets.every(({ epoch, k }) => epoch === phase.epoch && k > 0);
  },
  "a switch stops nobody before its step": (_, { durable: { plan, phase } }) =>
    plan?.kind !== "switch" || plan.step.kind !== "stopping" || phase.kind !== "vacant",
  "confirmed policies only grow": ({ durable: a }, { durable: b }) =>
    Object.entries(a.identities).every(([host, was]) => (b.identities[host]?.policyVersion ?? 0) >= was.policyVersion),
  "a coordinator of the past mints and commands nothing": (_, { durable }) =>
    durable.restoration?.kind !== "reporting" ||
    (Object.keys(durable.commands).length === 0 &&
      durable.plan === null &&
      durable.durabilityChange === null &&
      durable.operation === null),
  "nobody is heard of whom there are two": (_, { durable, live }) =>
    Object.keys(live.hosts).every((host) => durable.identities[host]?.isForked !== true),
  "commands carry no epoch or operation ahead of the state": (_, { durable }) =>
    Object.values(durable.commands).every((command) => command.epoch <= durable.epoch && command.op <= durable.op),
};

const RULES = Object.entries(clusterInvariants);

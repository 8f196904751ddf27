/** What operators ask for. A refusal says why, and nothing has changed then. */
import { type Policy, isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { type Answer, type Told, noPrimary, refused, setAtOnce, withoutEnd } from "./answers.ts";
import { candidatesOf, choose, ineligible } from "./choose.ts";
import { tellPositions } from "./collecting.ts";
import { datasource } from "./datasource-commands.ts";
import { isHeard, livingPrimary, streamsFrom } from "./datasources.ts";
import { interruptDurability, setDurability } from "./durability.ts";
import { endReign } from "./ending.ts";
import { beforeFounding } from "./founding-commands.ts";
import { isEndless } from "./lease.ts";
import { recoverAll } from "./recover-commands.ts";
import { coordinatorRestored } from "./restoration.ts";
import { isRestoring } from "./restoring.ts";
import type { OperatorRequest, PhaseOf } from "./state.ts";
import { assertOver, retrySuccession } from "./vacancy.ts";
import { type Work, because, beginOperation, endOperation, endPlan, member, nextOp, setPlan } from "./work.ts";

/** Who asks, for the event log, and whether the guards that allow it are overridden. */
export interface Asking {
  by: string;
  force: boolean;
}

/** Carries an operator's request out, or refuses it. */
export function handleRequest(work: Work, request: OperatorRequest, { by, force }: Asking): Answer {
  const named = "member" in request ? request.member : "to" in request ? request.to : null;
  if (named !== null && !Object.hasOwn(work.durable.members, named)) return unknownMember(work, named);
  // The policy is the operator's word at any time, also in the middle of an operation.
  const isAlways = request.kind === "set-policy" || request.kind === "coordinator-restored";
  const asked = { kind: "operator-command", command: request.kind, member: named, by, force } as const;
  const tell = () => because(work, asked);
  const restoring = refuseRestoring(work, request);
  if (restoring) return restoring;
  const { phase } = work.durable;
  if (phase.kind === "founding" && !isAlways) return beforeFounding(work, phase, request, { force, tell });
  const busy = isAlways ? null : refuseBusy(work, request, force);
  if (busy) return busy;
  switch (request.kind) {
    case "failover":
      return failover(work, request.to, { force, tell });
    case "switch":
      return beginSwitch(work, request.to, tell);
    case "recover":
      return recoverAll(work, tell);
    case "coordinator-restored":
      return coordinatorRestored(work, { force, tell });
    case "set-policy":
      return setPolicy(work, request.policy, tell);
    case "set-durability":
      return setDurability(work, request.sync, tell);
    case "datasource-fail":
    case "datasource-shun":
    case "datasource-welcome":
    case "datasource-online":
    case "datasource-offline":
    case "datasource-recover":
      return datasource(work, request, { force, tell });
  }
}

/** A coordinator of the past does not know what it would be doing. */
function refuseRestoring(work: Work, { kind }: OperatorRequest): Answer | null {
  if (!isRestoring(work) || kind === "coordinator-restored") return null;
  return refused(
    "coordinator-restoring",
    `the coordinator of '${work.durable.dataservice}' was restored to the past: all members must report first`,
  );
}

/** One operation at a time; only the operator's own assertion that the primary is dead cuts one short. */
function refuseBusy(work: Work, request: OperatorRequest, force: boolean): Answer | null {
  const { operation, phase } = work.durable;
  const mayAssert = request.kind === "failover" && force && (phase.kind === "deposing" || phase.kind === "reigning");
  const isMoving =
    phase.kind === "deposing" ||
    phase.kind === "collecting" ||
    (phase.kind === "reigning" && (!phase.opened || phase.isSuspected));
  // An operator may think better of it at any moment of it.
  const isRevision = request.kind === "set-durability" && work.durable.durabilityChange !== null && !isMoving;
  if ((operation === null && !isMoving) || mayAssert || isRevision) return null;
  const op = operation?.op ?? work.durable.op;
  return refused("operation-under-way", `operation ${op} is under way: wait for its end`);
}

function failover(work: Work, to: MemberName | null, { force, tell }: Told): Answer {
  const { phase, dataservice } = work.durable;
  switch (phase.kind) {
    case "deposing":
    case "reigning":
      return assertDead(work, phase, { force, tell });
    case "vacant": {
      const { deposed } = phase;
      if (to === deposed)
        return refused("wrong-state", `'${to}' is the primary that failed: name another member, or none`);
      if (member(work, deposed).state === "online") {
        return refused(
          "primary-is-healthy",
          `the primary '${deposed}@${dataservice}' is ONLINE, though its server is stopped: \`datasource ${deposed} fail\` first, or start its server`,
        );
      }
      if (phase.code === "upstream-writable" && !force) {
        return refused(
          "needs-force",
          `the server of '${deposed}@${dataservice}' was seen to accept writes after its lease: end it first, or \`set force true\` to assert that it is dead`,
        );
      }
      const obstacle =
        to === null ? null : ineligible(work, { ...phase, ...(force && { proof: "asserted" }), target: to }, to);
      if (obstacle !== null) {
        return refused(
          "target-not-eligible",
          `'${to}@${dataservice}' cannot be promoted (${obstacle}): name another member, or none`,
        );
      }
      tell();
      const op = nextOp(work);
      beginOperation(work, op, "failover", true);
      tellPreview(work, op, { deposed, to });
      const attempt = { kind: "failover", cause: "retry", target: to, byOperator: true, isForced: false } as const;
      // Who may hold what is lost was told when the search ended for want of them: force goes on without.
      const mayLose = force && phase.code === "read-quorum-missing";
      const proof = force ? assertOver(work, phase) : phase.proof;
      retrySuccession(work, { ...phase, proof }, { ...attempt, mayLose });
      return { kind: "accepted", op };
    }
    // What may be asked before the founding is answered before this.
    case "founding":
    case "collecting":
      return refused("operation-under-way", "the succession is under way: wait for its end");
  }
}

/** The host of a primary that nobody hears is declared dead: the operator vouches for what no clock can prove. */
function assertDead(work: Work, phase: PhaseOf<"reigning" | "deposing">, { force, tell }: Told): Answer {
  const { dataservice } = work.durable;
  const { primary } = phase;
  if (!force && isEndless(work) && !isHeard(work, primary)) return withoutEnd(work, primary);
  if (!force && phase.kind === "reigning") {
    return refused(
      "primary-is-healthy",
      `the primary '${primary}@${dataservice}' is not FAILED: use \`switch\`, or \`datasource ${primary} fail\``,
    );
  }
  // For as long as a lease lasts a connector that hears nobody may still go by the old proof.
  const silentMs = work.live.at - (work.live.hosts[primary]?.handledAt ?? 0);
  const { ttlMs } = work.durable.settings;
  if (silentMs < ttlMs) {
    return refused(
      "primary-is-live",
      `the agent of '${primary}@${dataservice}' was heard within the last ${ttlMs / 1_000} s: it cannot be asserted to be dead yet; use \`datasource ${primary} fail\`, or try again`,
    );
  }
  tell();
  const op = nextOp(work);
  // Whatever was under way for this primary is over with it.
  interruptDurability(work, "primary-lost");
  if (work.durable.plan) endPlan(work, "primary-lost");
  else if (work.durable.operation) endOperation(work, "promotion-failed");
  beginOperation(work, op, "failover", true);
  tellPreview(work, op, { deposed: primary, to: null });
  endReign(work, { ...phase, op }, "asserted", "operator-asserted");
  return { kind: "accepted", op };
}

/** What is known of the candidates when the operator asks; what they hold in the end is told again. */
function tellPreview(work: Work, op: number, { deposed, to }: { deposed: MemberName; to: MemberName | null }): void {
  const { policy, members } = work.durable;
  because(work, { kind: "operation-locked", op, policy }, op);
  const names = Object.values(members)
    .filter(({ name, state, reason }) => name !== deposed && state === "online" && !isOperatorsWord(reason))
    .map(({ name }) => name);
  tellPositions(work, op, names);
  const candidates = candidatesOf(work, names, null);
  const choice = choose(candidates);
  const best = choice.kind === "chosen" ? choice.winner : undefined;
  const likely = to === null ? best : candidates.find(({ member: name }) => name === to);
  if (!likely) return;
  const { lsn, timeline } = likely.position;
  because(work, { kind: "candidate-chosen", op, member: likely.member, lsn, timeline }, op);
}

function beginSwitch(work: Work, to: MemberName | null, tell: () => void): Answer {
  const { dataservice, members, policy } = work.durable;
  const primary = livingPrimary(work);
  if (primary === null) return noPrimary(work);
  if (to === primary) return refused("wrong-state", `'${to}@${dataservice}' is the primary already`);
  const names = to === null ? Object.keys(members).filter((name) => name !== primary) : [to];
  const fit = names.filter((name) => members[name]?.state === "online" && streamsFrom(work, name, primary));
  const choice = choose(candidatesOf(work, fit.length > 0 ? mostCaughtUp(work, fit) : [], null));
  if (choice.kind !== "chosen") {
    const detail =
      to === null
        ? `no replica of '${dataservice}' is ONLINE and streams from '${primary}'`
        : whyNoTarget(work, to, primary);
    return refused("target-not-eligible", detail);
  }
  tell();
  const op = nextOp(work);
  beginOperation(work, op, "switch", true);
  because(work, { kind: "operation-locked", op, policy }, op);
  tellPositions(work, op, fit);
  const { member: target, position } = choice.winner;
  because(work, { kind: "candidate-chosen", op, member: target, lsn: position.lsn, timeline: position.timeline }, op);
  setPlan(work, { kind: "switch", op, primary, target, step: { kind: "preparing" } });
  return { kind: "accepted", op };
}

function whyNoTarget({ durable: { dataservice, members } }: Work, to: MemberName, primary: MemberName): string {
  const state = members[to]?.state ?? "failed";
  if (state !== "online") return `'${to}@${dataservice}' is ${state.toUpperCase()}: only an ONLINE replica takes over`;
  return `'${to}@${dataservice}' does not stream from '${primary}': it could take over nothing`;
}

/** Those that have applied the most: with them the switch is over soonest. */
function mostCaughtUp(work: Work, names: readonly MemberName[]): MemberName[] {
  const applied = (name: MemberName): number => work.live.hosts[name]?.poll.server?.applied ?? -1;
  const most = Math.max(...names.map(applied));
  return names.filter((name) => applied(name) === most);
}

function setPolicy(work: Work, policy: Policy, tell: () => void): Answer {
  const from = work.durable.policy;
  tell();
  return setAtOnce(work, "set-policy", () => {
    // Whoever sets a policy has looked.
    if (work.durable.restoration !== null) work.durable = { ...work.durable, restoration: null };
    if (from === policy) return;
    const policyVersion = work.durable.policyVersion + 1;
    // Whoever has not confirmed this version may still believe in MAINTENANCE, and in a lease without an end.
    const endlessBelow = from === "maintenance" ? policyVersion : work.durable.endlessBelow;
    work.durable = { ...work.durable, policy, policyVersion, endlessBelow };
    because(work, { kind: "policy-changed", from, to: policy, policyVersion });
  });
}

function unknownMember(work: Work, name: string): Answer {
  const known = Object.keys(work.durable.members).join(", ");
  return refused("unknown-member", `'${name}' is no member of '${work.durable.dataservice}': its members are ${known}`);
}

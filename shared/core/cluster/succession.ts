/**
 * The succession: how a reign begins, ends and is followed by the next.
 *
 *   founding -> reigning -> (deposing ->) collecting -> reigning ...
 *                                             `-> vacant -> collecting ...
 *
 * The point of no return of every operation is the minting of an epoch. Before it, nothing has happened to anybody;
 * after it, the only way on is another epoch with its own proof that this one is over.
 */
import type { MemberName } from "../../domain/names.ts";
import type { Position } from "../../domain/position.ts";
import { type Reign, exactFork } from "../../domain/reign.ts";
import { collect, inquiryMs, patienceMs } from "./collecting.ts";
import { isSilent } from "./datasources.ts";
import { advanceDurability } from "./durability.ts";
import { hasElectorate, tendElectorate } from "./electorate.ts";
import { endReign } from "./ending.ts";
import { hasReleased, isForked } from "./fork.ts";
import { judgeFounding } from "./founding.ts";
import { deposeOlder, hasLostLog } from "./furthest.ts";
import { expiryAt, isEndless, isExpired } from "./lease.ts";
import { mint } from "./minting.ts";
import { awaitsPromises, promisedUntil } from "./promises.ts";
import type { FailoverCause } from "./reason.ts";
import { advanceRecovery } from "./recover.ts";
import { advanceRestoration } from "./restoration.ts";
import { isRestoring } from "./restoring.ts";
import type { ClusterState, PhaseOf, SwitchPlan } from "./state.ts";
import { advanceSwitch } from "./switch.ts";
import { advanceSync, dropNeverBegun, isRevoked, suspect, suspicionAt } from "./sync.ts";
import { watchVacancy } from "./vacancy.ts";
import {
  type Work,
  because,
  becauseOnce,
  beginOperation,
  endOperation,
  member,
  nextOp,
  setMember,
  setPhase,
  setState,
  setStep,
} from "./work.ts";

/** Moves the phase, and the plan that goes with it, on as far as what is known allows. */
export function advance(work: Work): void {
  // Every turn either mints, ends or waits: a bound catches a rule that would run in circles.
  for (let turn = 0; turn < 16; turn += 1) {
    const { phase, plan, electorate } = work.durable;
    advanceOnce(work);
    advancePlan(work);
    tendElectorate(work);
    const { durable: now } = work;
    if (now.phase === phase && now.plan === plan && now.electorate === electorate) return advanceAcknowledging(work);
  }
  throw new Error(`the phase does not settle: ${work.durable.phase.kind}`);
}

/** What a change of durability has come to decides what servers are told now. */
function advanceAcknowledging(work: Work): void {
  advanceSync(work);
  const { durabilityChange } = work.durable;
  advanceDurability(work);
  if (work.durable.durabilityChange !== durabilityChange) advanceSync(work);
}

function advancePlan(work: Work): void {
  const { plan } = work.durable;
  if (!plan) return;
  if (plan.kind === "switch") advanceSwitch(work, plan);
  else advanceRecovery(work, plan);
}

function advanceOnce(work: Work): void {
  if (isRestoring(work)) return advanceRestoration(work);
  const { phase } = work.durable;
  switch (phase.kind) {
    case "founding":
      return found(work, phase);
    case "reigning":
      return reign(work, phase);
    case "deposing":
      return depose(work, phase);
    case "collecting":
      dropNeverBegun(work, { epoch: phase.epoch, primary: phase.deposed });
      return collect(work, phase);
    case "vacant":
      dropNeverBegun(work, { epoch: phase.epoch, primary: phase.deposed });
      return watchVacancy(work, phase);
  }
}

function found(work: Work, phase: PhaseOf<"founding">): void {
  const verdict = judgeFounding(work, phase);
  if (verdict.kind === "waiting") return;
  if (verdict.kind === "blocked") {
    becauseOnce(work, { kind: "founding-blocked", why: verdict.why, members: verdict.members });
    return;
  }
  const op = nextOp(work);
  beginOperation(work, op, "founding", false);
  because(work, { kind: "founded", primary: phase.primary, how: verdict.how }, op);
  mint(work, { member: phase.primary, parent: 0, op, how: verdict.how, proof: "founded" });
}

function reign(work: Work, phase: PhaseOf<"reigning">): void {
  const host = work.live.hosts[phase.primary];
  if (hasReleased(work, phase)) {
    return endReign(work, phase, "released", causeOfRelease(work, phase));
  }
  // A server that serves already was writable before its lease and stays so until its agent has taken it over: no time
  // that passes ends that.
  const mayTimeOut = phase.opened || phase.how === "promote";
  if (phase.opened && work.durable.policy !== "maintenance" && isEndless(work) && isSilent(work, phase.primary)) {
    becauseOnce(work, { kind: "lease-without-end", member: phase.primary, epoch: phase.epoch });
  }
  const mayHaveEnded = mayTimeOut && isExpired(work, phase.epoch) && !saysItHolds(work, phase);
  const isTimedOut = mayHaveEnded && hasElectorate(work, phase);
  if (isTimedOut && !awaitsPromises(work, phase.epoch)) {
    return endReign(work, phase, "expired", causeOfExpiry(work, phase));
  }
  if (isRevoked(work, phase) && !awaitsPromises(work, phase.epoch))
    return endReign(work, phase, "revoked", "agent-silent");
  if (phase.opened) return hasLostLog(work, phase.primary) ? deposeOlder(work, phase) : suspect(work, phase);
  const server = host?.poll.server;
  const isOpen =
    server?.phase === "open" &&
    server.report.state === "running" &&
    server.report.writable &&
    host?.poll.attempted === phase.epoch;
  if (isOpen) return opened(work, phase);
  // Restarted read-only before its agent could take it over: it writes no more, so it is promoted like any other.
  const isReadOnly = server?.report.state === "running" && server.report.inRecovery && server.phase === "observing";
  if (phase.how === "adopt" && isReadOnly) {
    return promoteInstead(work, phase);
  }
  if (mayTimeOut && work.live.at - work.live.phaseAt >= work.durable.settings.promoteMs) {
    const { epoch, primary, op } = phase;
    const cause = "promotion-timed-out";
    because(work, { kind: "primary-fencing", op, epoch, member: primary, cause }, op);
    setPhase(work, { kind: "deposing", epoch, primary, op, cause });
  }
}

/**
 * Whether the holder itself is speaking at this moment, open and with a right that runs, by promises as a rule. Nobody
 * has succeeded it: its lease is extended by the answer to this very poll, rather than held against it.
 */
function saysItHolds({ live }: Work, { primary, epoch }: PhaseOf<"reigning">): boolean {
  const host = live.hosts[primary];
  if (host?.handledAt !== live.at || host.poll.server?.phase !== "open") return false;
  const { attempted, released, leaseRemainingMs } = host.poll;
  return attempted === epoch && released < epoch && (leaseRemainingMs ?? 0) > 0;
}

function opened(work: Work, phase: PhaseOf<"reigning">): void {
  const { epoch, primary, op } = phase;
  const position = work.live.hosts[primary]?.poll.server?.position ?? null;
  because(work, { kind: "primary-opened", epoch, member: primary, op }, op);
  work.durable = {
    ...work.durable,
    reigns: work.durable.reigns.map((entry) => (entry.epoch === epoch ? seenOpen(entry, position) : entry)),
  };
  const plan = switchInto(work, primary);
  const deposed = Object.values(work.durable.members).filter(
    (other) =>
      other.name !== primary &&
      other.name !== plan?.primary &&
      other.role === "primary" &&
      other.reason.kind !== "failed-over-to" &&
      other.reason.kind !== "manually-shunned",
  );
  // The status word may be the same; what it says of is another thing from now on.
  if (member(work, primary).role !== "primary")
    setMember(work, primary, { role: "primary", sinceWallMs: work.live.wallMs });
  setState(work, primary, "online", { kind: "none" });
  for (const other of deposed) setState(work, other.name, "shunned", { kind: "failed-over-to", to: primary });
  const parent = work.durable.reigns.find((entry) => entry.epoch === epoch)?.parent ?? 0;
  const previous = work.durable.reigns.find((entry) => entry.epoch === parent)?.member;
  setPhase(work, { ...phase, opened: true });
  if (plan) return bringPriorBack(work, plan);
  if (previous && previous !== primary)
    because(work, { kind: "failover-completed", op, member: primary, deposed: previous, epoch }, op);
  tellOfCommand(work, primary, op);
  // A switch that has been undone ends by itself.
  if (!work.durable.plan) endOperation(work, "");
}

/** The switch whose target this is. */
function switchInto(work: Work, primary: MemberName): SwitchPlan | null {
  const { plan } = work.durable;
  return plan?.kind === "switch" && plan.target === primary && plan.step.kind === "stopping" ? plan : null;
}

/** The switch has succeeded; the prior primary becomes a replica, and its server is started again. */
function bringPriorBack(work: Work, plan: SwitchPlan): void {
  const { op, primary } = plan;
  because(work, { kind: "prior-primary-returning", op, member: primary }, op);
  setMember(work, primary, { role: "replica", sinceWallMs: work.live.wallMs });
  setState(work, primary, "offline", { kind: "none" });
  setStep(work, { ...plan, step: { kind: "returning" } });
}

/** `datasource M online` of a primary that an operator had taken offline is done when it is open again. */
function tellOfCommand(work: Work, primary: MemberName, op: number): void {
  const kind = work.durable.operation?.kind;
  if (kind === "datasource-recover") because(work, { kind: "recovery-completed", op, member: primary }, op);
  if (kind !== "datasource-online") return;
  because(work, { kind: "datasource-set", op, member: primary, to: "online" }, op);
}

/** The same epoch, on a timeline of its own: the one that the server was found on is left now. */
function promoteInstead(work: Work, phase: PhaseOf<"reigning">): void {
  const timeline = phase.timeline + 1;
  const reigns = work.durable.reigns.map((entry) => (entry.epoch === phase.epoch ? { ...entry, timeline } : entry));
  work.durable = { ...work.durable, reigns };
  setPhase(work, { ...phase, how: "promote", timeline });
}

function seenOpen(entry: Reign, position: Position | null): Reign {
  if (!position) return { ...entry, opened: true };
  return {
    ...entry,
    opened: true,
    timeline: Math.max(entry.timeline, position.timeline),
    fork: exactFork(entry.fork, position),
  };
}

/**
 * Who was silent? When nobody at all was heard for a whole lease, the coordinator was the one that was away, and a holder
 * that gave up its lease in good order is on its way back. Only when others spoke meanwhile is it the primary that failed.
 */
function causeOfExpiry(work: Work, phase: PhaseOf<"reigning">): FailoverCause {
  if (!phase.opened) return "promotion-timed-out";
  const { awayUntil, hosts } = work.live;
  const heardAt = hosts[phase.primary]?.handledAt ?? 0;
  const wasAway = awayUntil !== null && heardAt <= awayUntil;
  const isRecent = awayUntil !== null && work.live.at - awayUntil < work.durable.settings.ttlMs;
  return wasAway && isRecent ? "lease-lost" : "agent-silent";
}

function causeOfRelease(work: Work, phase: PhaseOf<"reigning">): FailoverCause {
  if (!phase.opened) return "promotion-failed";
  const cause = work.live.hosts[phase.primary]?.poll.releaseCause ?? "none";
  switch (cause) {
    case "server-died":
    case "found-in-recovery":
      return "server-died";
    case "lease-lost":
      return "lease-lost";
    case "promotion-failed":
      return "promotion-failed";
    case "log-lost":
      return "log-lost";
    case "commanded":
      return commandedCause(work);
    case "unexpectedly-writable":
    case "none":
      return "release-unexplained";
  }
}

/** A fence that was commanded before this incarnation, or before the operation that it belonged to was given up. */
function commandedCause(work: Work): FailoverCause {
  return work.durable.plan?.kind === "switch" ? "switch-undone" : "release-unexplained";
}

function depose(work: Work, phase: PhaseOf<"deposing">): void {
  if (hasReleased(work, phase)) return endReign(work, phase, "released", phase.cause);
  // A promotion leaves only together with its lease: where none was granted in this epoch, nobody was told to open in it.
  const wasGranted = work.lease?.epoch === phase.epoch;
  const isTimedOut = !wasGranted || (isExpired(work, phase.epoch) && hasElectorate(work, phase));
  // A copy may live on promises as well as the original: whoever has promised stops doing so when he is frozen.
  const mayEnd = isForked(work, phase.primary) || !awaitsPromises(work, phase.epoch);
  if (isTimedOut && mayEnd) endReign(work, phase, "expired", phase.cause);
}

/** When the phase must be looked at again though nobody speaks, in `at`; null when only events can move it. */
export function phaseDeadline(state: ClusterState): number | null {
  const due = phaseDue(state);
  // What waits for promises is looked at again when they are over.
  return due !== null && due <= state.live.at ? (promisedUntil(state) ?? due) : due;
}

function phaseDue(state: ClusterState): number | null {
  const { phase, settings } = state.durable;
  const since = state.live.phaseAt;
  switch (phase.kind) {
    case "founding":
    case "vacant":
      return null;
    case "reigning": {
      const expiry = expiryAt(state);
      if (phase.opened && expiry === null && isEndless(state)) {
        return (state.live.hosts[phase.primary]?.handledAt ?? 0) + settings.silentMs;
      }
      const suspicion = phase.opened ? suspicionAt(state, phase) : null;
      if (suspicion !== null && suspicion > state.live.at) return Math.min(suspicion, expiry ?? suspicion);
      if (phase.opened) return expiry;
      const opening = since + settings.promoteMs;
      // An expiry that is past waits for a witness's poll and must not hide the moment at which the opening is given up.
      return expiry !== null && expiry > state.live.at ? Math.min(expiry, opening) : opening;
    }
    case "deposing":
      return expiryAt(state);
    case "collecting": {
      const stages = [
        ...(phase.inquiry.kind === "asking" ? [since + inquiryMs(state)] : []),
        ...(phase.salvage.kind === "fetching" ? [since + settings.salvageMs] : []),
        since + patienceMs(state, phase),
        since + settings.failsafeReturnMs,
        since + settings.failoverMs,
      ].toSorted((a, b) => a - b);
      return stages.find((stage) => stage > state.live.at) ?? since + settings.failoverMs;
    }
  }
}

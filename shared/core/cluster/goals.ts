/**
 * What each member should be told now. A goal is worked out anew with every poll from the phase and the report; the
 * command that carries it keeps its id until the member has answered, so that a repetition is recognised.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { Command, Endpoint, LogPoint, MemberServerReport, Peer, Poll, Upstream } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import type { ProofKind } from "../../domain/reign.ts";
import { catchUpFrom, eligibleMembers, freezeMode, ineligible } from "./choose.ts";
import { hasDiverged, livingPrimary } from "./datasources.ts";
import { isGrantedElsewhere } from "./place.ts";
import { isRestoring } from "./restoring.ts";
import type { PhaseOf, RecoverPlan, Salvage, SwitchPlan } from "./state.ts";
import { isOver, resultOf, shutForMs, STOP_PATIENCE_MS } from "./switch.ts";
import { logTrouble } from "./furthest.ts";
import { missingQuorums } from "./sync.ts";
import { type Work, because, becauseOnce, member, setHost, setIdentity, identity } from "./work.ts";

/** How long a server that was asked whether it is writable may take to answer: a frozen one says nothing at all. */
export const ASK_UPSTREAM_MS = 200;
/** A command that was sent and is not listed in a poll yet is repeated after this long. */
const REPEAT_MS = 500;
/** A finished command whose goal is still not met is given again after this long. */
const RETRY_MS = 2_000;
/** How long a member that has less than it had is left to read its own log before it is told to stream. */
const READING_MS = 3_000;
/** The first wait before a stopped server is started again; doubles up to the last. */
const RESTART_FIRST_MS = 1_000;
const RESTART_LAST_MS = 60_000;

const DEADLINES_MS = {
  adopt: 5_000,
  follow: 5_000,
  freeze: 2_000,
  fence: 2_000,
  start: 60_000,
  reopen: 2_000,
} as const;

type Goal =
  | { kind: "adopt" | "prepare" | "reopen" | "start" }
  | { kind: "fence"; patienceMs: number }
  | { kind: "shut"; drainMs: number; heir: MemberName }
  | { kind: "ask-upstream"; upstream: Upstream }
  | { kind: "rebuild"; upstream: Upstream; fork: LogPoint }
  | { kind: "fetch-tail"; from: Peer; until: LogPoint }
  | { kind: "promote"; proof: ProofKind; timeline: number }
  | { kind: "freeze"; proof: ProofKind }
  | { kind: "follow"; upstream: Upstream };

/** The commands for the reply to `poll`; marks them as sent. */
export function commandsFor(work: Work, poll: Poll): Command[] {
  const { server, host: name } = poll;
  if (!server || isRestoring(work)) return [];
  noteResults(work, poll);
  const goal = goalOf(work, name, server);
  if (!goal) return [];
  const command = commandOf(work, name, goal);
  if (!command || !isDue(work, poll, command)) return [];
  setHost(work, name, { sent: { id: command.id, at: work.live.at } });
  if (command.kind === "start") noteRestart(work, name);
  // Each time that it is sent: an agent that died after its rebuild obeys the repetition as well.
  if (command.kind === "rebuild") setIdentity(work, name, { rebuildOp: command.op });
  work.confirm = true;
  return [command];
}

/** Whether the member is told, or is being told, to open in the current epoch. */
export function isPromotion(command: Command): boolean {
  return command.kind === "promote" || command.kind === "adopt";
}

function goalOf(work: Work, name: MemberName, server: MemberServerReport): Goal | null {
  const { phase } = work.durable;
  const planned = plannedGoal(work, name, server);
  if (planned !== "none") return planned;
  switch (phase.kind) {
    case "founding":
      return null;
    case "reigning":
      return phase.primary === name ? openingGoal(work, phase) : replicaGoal(work, phase, name, server);
    case "deposing":
      if (phase.primary !== name) return fenceIfWritable(work, name, server);
      return { kind: "fence", patienceMs: phase.cause === "switch" ? STOP_PATIENCE_MS : 0 };
    case "collecting":
      return fenceIfWritable(work, name, server) ?? collectingGoal(work, phase, name, server);
    case "vacant":
      return fenceIfWritable(work, name, server) ?? startingGoal(work, phase, name, server);
  }
}

/** What the plan asks of a member; "none" leaves it to the phase. */
function plannedGoal(work: Work, name: MemberName, server: MemberServerReport): Goal | null | "none" {
  const { plan, phase } = work.durable;
  // What a suspicion has frozen stays frozen until the suspicion is over.
  if (phase.kind !== "reigning" || !phase.opened || phase.isSuspected || !plan) return "none";
  if (plan.kind === "recover") return plan.member === name ? recoveryGoal(work, plan, name, server) : "none";
  if (plan.primary !== name) return "none";
  return switchGoal(work, plan, server) ?? "none";
}

function switchGoal(work: Work, { step, op, primary, target }: SwitchPlan, server: MemberServerReport): Goal | null {
  const { settings } = work.durable;
  switch (step.kind) {
    case "preparing":
      return isOver(resultOf(work, primary, { kind: "prepare", op })) ? null : { kind: "prepare" };
    case "draining":
      if (isOver(resultOf(work, primary, { kind: "shut", op }))) return null;
      return { kind: "shut", drainMs: settings.drainMs, heir: target };
    case "undoing":
      return server.door === "shut" ? { kind: "reopen" } : null;
    case "holding":
    case "settling":
    case "flushing":
    case "stopping":
    case "returning":
      return null;
  }
}

function recoveryGoal(work: Work, plan: RecoverPlan, name: MemberName, server: MemberServerReport): Goal | null {
  const fence = fenceIfWritable(work, name, server);
  if (fence) return fence;
  const upstream = livingUpstream(work);
  switch (plan.step.kind) {
    case "verifying": {
      const isStarted = isOver(resultOf(work, name, { kind: "start", op: plan.op }));
      return server.report.state === "stopped" && !server.isDamaged && !isStarted ? { kind: "start" } : null;
    }
    case "rebuilding": {
      const isTold = isOver(resultOf(work, name, { kind: "rebuild", op: plan.op }));
      return upstream && !isTold ? { kind: "rebuild", upstream, fork: plan.step.fork } : null;
    }
    case "following":
      return upstream && !followsAlready(work, name, { server, upstream }) ? { kind: "follow", upstream } : null;
  }
}

/** Where the living primary is streamed from. */
function livingUpstream(work: Work): Upstream | null {
  const primary = livingPrimary(work);
  return primary === null ? null : upstreamAt(work, primary);
}

/** Where a member's server is reached; null while it has not said. */
function upstreamAt(work: Work, name: MemberName): Upstream | null {
  const { endpoint } = member(work, name);
  return endpoint && { member: name, ...endpoint };
}

function openingGoal(work: Work, phase: PhaseOf<"reigning">): Goal | null {
  const place = work.live.hosts[phase.primary]?.poll.place ?? null;
  if (phase.opened || isGrantedElsewhere(work, phase.epoch, place)) return null;
  return phase.how === "adopt" ? { kind: "adopt" } : { kind: "promote", proof: phase.proof, timeline: phase.timeline };
}

/**
 * Nobody but the one that reigns writes. The server of an agent that only observes is its owner's, unless it was given a
 * reign that was called over without its word: whoever asserted that answers for it until it is fenced (SPEC: POLICY-3).
 */
function fenceIfWritable(work: Work, name: MemberName, server: MemberServerReport): Goal | null {
  if (server.report.state !== "running" || !server.report.writable) return null;
  if (server.phase === "observing" && !isOwedARelease(work, name)) return null;
  return { kind: "fence", patienceMs: 0 };
}

function isOwedARelease(work: Work, name: MemberName): boolean {
  const { reigns, phase } = work.durable;
  const last = reigns.findLast((reign) => reign.member === name)?.epoch ?? 0;
  const hasEnded = phase.kind === "collecting" || phase.kind === "vacant" || work.durable.epoch > last;
  return last > 0 && hasEnded && identity(work, name).released < last;
}

function replicaGoal(
  work: Work,
  phase: PhaseOf<"reigning">,
  name: MemberName,
  server: MemberServerReport,
): Goal | null {
  const fence = fenceIfWritable(work, name, server);
  if (fence) return fence;
  // While a rebuild is under way, or after one that failed, there is nothing to start or to repoint.
  if (server.isDamaged) return null;
  const record = member(work, name);
  // The others are repointed once the new primary is open: repointing never delays the opening.
  // A shunned replica goes on replicating; it is only not repointed to a primary that it never followed.
  if (!phase.opened || record.role === "primary" || record.state === "shunned" || isOperatorsWord(record.reason))
    return null;
  if (server.report.state === "stopped") return mayRestart(work, name) ? restartGoal(work, name) : null;
  if (server.report.state !== "running" || !server.report.inRecovery) return null;
  if (phase.isSuspected) {
    const { receiver } = server;
    const isFrozen = receiver.state === "frozen" && receiver.op === phase.op;
    return isFrozen ? null : { kind: "freeze", proof: "revoked" };
  }
  const upstream = upstreamAt(work, phase.primary);
  if (!upstream || followsAlready(work, name, { server, upstream }) || hasDiverged(work, name)) return null;
  if (isStillReading(work, name)) return null;
  return wasToldOnce(work, name, upstream) ? null : { kind: "follow", upstream };
}

/**
 * Whether a member has less than it was seen to have, and may yet find the rest in its own log. Once it streams it has all
 * again within milliseconds, and that its data directory was put back would never come to light (SPEC: ID-14).
 */
function isStillReading(work: Work, name: MemberName): boolean {
  if (logTrouble(work, name) !== "log-unread") return false;
  const stalledAt = work.live.hosts[name]?.stalledAt ?? work.live.at;
  return work.live.at - stalledAt < READING_MS;
}

/** In MAINTENANCE a replica is repointed once in a reign: what its operator does with it after that stays. */
function wasToldOnce(work: Work, name: MemberName, upstream: Upstream): boolean {
  if (work.durable.policy !== "maintenance") return false;
  const last = work.durable.commands[name];
  const isSame = last?.kind === "follow" && sameUpstream(last.upstream, upstream);
  return isSame && isOver(resultOf(work, name, { kind: "follow", op: operationOf(work, name) }));
}

/** Whether a member receives from `upstream`, or goes on trying to where that is reached now. */
function followsAlready(
  work: Work,
  name: MemberName,
  { server, upstream }: { server: MemberServerReport; upstream: Upstream },
): boolean {
  const { receiver } = server;
  if (server.phase === "observing" || (receiver.state !== "streaming" && receiver.state !== "ended")) return false;
  if (receiver.upstream !== upstream.member) return false;
  return receiver.state === "streaming" || !triesElsewhere(work, name, upstream);
}

/**
 * Whether a member without a stream looks for its upstream where that was: a primary that has another address since is
 * known by its name. What was told before the last command is forgotten; then a stream that stays away says it.
 */
function triesElsewhere(work: Work, name: MemberName, upstream: Upstream): boolean {
  const last = work.durable.commands[name];
  if (last?.kind === "follow")
    return last.upstream.member === upstream.member && !sameEndpoint(last.upstream, upstream);
  const stalledAt = work.live.hosts[name]?.stalledAt ?? null;
  return stalledAt !== null && work.live.at - stalledAt >= work.durable.settings.silentMs;
}

function collectingGoal(
  work: Work,
  phase: PhaseOf<"collecting">,
  name: MemberName,
  server: MemberServerReport,
): Goal | null {
  if (ineligible(work, phase, name) !== null) return startingGoal(work, phase, name, server);
  if (phase.inquiry.kind === "asking") return askingGoal(work, phase, name);
  if (phase.salvage.kind === "fetching") return fetchingGoal(work, phase, phase.salvage, name);
  const source = name === phase.target ? catchUpFrom(work, phase) : null;
  if (source !== null) return catchUpGoal(work, source, { name, server });
  const mustFreeze = freezeMode(phase) === "explicit" || server.receiver.state === "streaming";
  const isFrozen = server.receiver.state === "frozen" && server.receiver.op === phase.op;
  return mustFreeze && !isFrozen ? { kind: "freeze", proof: phase.proof } : null;
}

/** The evidence of a writable upstream is gathered before anybody is frozen. */
function askingGoal(work: Work, { deposed, op }: PhaseOf<"collecting">, name: MemberName): Goal | null {
  const upstream = upstreamAt(work, deposed);
  if (!upstream || name === deposed || isOver(resultOf(work, name, { kind: "ask-upstream", op }))) return null;
  return { kind: "ask-upstream", upstream };
}

/** Only who is to win fetches the tail: the others follow it afterwards. */
function fetchingGoal(
  work: Work,
  { op }: PhaseOf<"collecting">,
  { winner, from, until }: Extract<Salvage, { kind: "fetching" }>,
  name: MemberName,
): Goal | null {
  if (name !== winner || isOver(resultOf(work, name, { kind: "fetch-tail", op }))) return null;
  return { kind: "fetch-tail", from, until };
}

function catchUpGoal(
  work: Work,
  source: MemberName,
  { name, server }: { name: MemberName; server: MemberServerReport },
): Goal | null {
  const upstream = upstreamAt(work, source);
  return upstream && !followsAlready(work, name, { server, upstream }) ? { kind: "follow", upstream } : null;
}

/** Without a primary, stopped servers are started: replicas always, the crashed last primary only when nobody can succeed without it. */
function startingGoal(
  work: Work,
  phase: PhaseOf<"collecting" | "vacant">,
  name: MemberName,
  server: MemberServerReport,
): Goal | null {
  const record = member(work, name);
  if (server.report.state !== "stopped" || server.isDamaged || isOperatorsWord(record.reason)) return null;
  if (isWanted(work, phase, name)) return { kind: "start" };
  if (record.reason.kind === "failed-over-to" || !mayRestart(work, name)) return null;
  if (name === phase.deposed || record.role === "primary") {
    // Its own log also answers for those who cannot be asked.
    const eligible = eligibleMembers(work, phase);
    if (eligible.length > 0 && missingQuorums(work, eligible).length === 0) return null;
  }
  return restartGoal(work, name);
}

/** Whom an operator has chosen, or a switch that is being undone opens again: its server is started at once. */
function isWanted(work: Work, phase: PhaseOf<"collecting" | "vacant">, name: MemberName): boolean {
  const { plan, policy } = work.durable;
  if (phase.kind === "vacant") return phase.welcomed === name && policy === "automatic";
  // A server that its operator is restarting by hand is the operator's; one that was asked for by a command is ours.
  const isAskedFor = phase.cause === "operator-restart" && phase.byOperator;
  if (phase.isForced || isAskedFor) return phase.target === name;
  return phase.cause === "switch-undone" && plan?.kind === "switch" && plan.primary === name;
}

/** In MANUAL and MAINTENANCE a stopped server is its operator's; and one that a switch has stopped was stopped by us. */
function mayRestart({ durable: { policy, plan } }: Work, name: MemberName): boolean {
  return policy === "automatic" || (plan?.kind === "switch" && plan.primary === name);
}

function restartGoal(work: Work, name: MemberName): Goal | null {
  const { plan } = work.durable;
  const restart = work.live.restarts[name];
  // What we have stopped ourselves for a switch has nothing to recover from.
  const firstWaitMs = plan?.kind === "switch" && plan.primary === name ? 0 : RESTART_FIRST_MS;
  const first = restart ?? { attempts: 0, notBefore: work.live.at + firstWaitMs };
  if (!restart) setRestart(work, name, first);
  return work.live.at >= first.notBefore ? { kind: "start" } : null;
}

function noteRestart(work: Work, name: MemberName): void {
  const attempts = (work.live.restarts[name]?.attempts ?? 0) + 1;
  const wait = Math.min(RESTART_FIRST_MS * 2 ** attempts, RESTART_LAST_MS);
  setRestart(work, name, { attempts, notBefore: work.live.at + wait });
}

function setRestart(work: Work, name: MemberName, restart: { attempts: number; notBefore: number }): void {
  work.live = { ...work.live, restarts: { ...work.live.restarts, [name]: restart } };
}

/** The command in force when it carries this goal, else a new one. */
function commandOf(work: Work, name: MemberName, goal: Goal): Command | null {
  const known = work.durable.commands[name];
  const host = work.live.hosts[name];
  if (known && carries(known, goal, work, name)) {
    const isEnded = isOver(resultOf(work, name, known));
    const sentAt = host?.sent?.id === known.id ? host.sent.at : work.live.phaseAt;
    // A promotion is never given twice: its epoch was attempted, and the next attempt needs the next epoch. A member that
    // refused to be adopted attempted nothing.
    if (!isEnded || known.kind === "promote") return known;
    const isPaced = goal.kind === "start" && resultOf(work, name, known)?.outcome !== "refused";
    if (!isPaced && work.live.at - sentAt < RETRY_MS) return null;
  }
  return issue(work, name, goal);
}

function carries(command: Command, goal: Goal, work: Work, name: MemberName): boolean {
  const op = operationOf(work, name);
  if (command.kind !== goal.kind || command.op !== op || command.epoch !== work.durable.epoch) return false;
  if ("upstream" in command && "upstream" in goal) return sameUpstream(command.upstream, goal.upstream);
  return true;
}

function sameUpstream(a: Upstream, b: Upstream): boolean {
  return a.member === b.member && sameEndpoint(a, b);
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.host === b.host && a.port === b.port;
}

/** What is asked for a plan carries the plan's number; everything else that of the phase. */
function operationOf(work: Work, name: MemberName): number {
  const { phase, plan } = work.durable;
  const ofPhase = phase.kind === "founding" ? 0 : phase.op;
  const isPlanned = plan?.kind === "recover" ? plan.member === name : plan?.primary === name;
  return plan && isPlanned ? Math.max(plan.op, ofPhase) : ofPhase;
}

function issue(work: Work, name: MemberName, goal: Goal): Command {
  const op = operationOf(work, name);
  const deadlineMs = deadlineOf(work, goal);
  // The version grows with every durable change, this one included: no two commands of a dataservice share it.
  const id = `${work.durable.version + 1}.${name}.${goal.kind}`;
  const command: Command = { ...goal, id, op, epoch: work.durable.epoch, deadlineMs };
  work.durable = { ...work.durable, commands: { ...work.durable.commands, [name]: command } };
  if (goal.kind === "fence" && work.durable.phase.kind !== "deposing") {
    because(work, { kind: "unexpectedly-writable", member: name, epoch: work.durable.epoch });
  }
  because(work, { kind: "command-issued", member: name, command: goal.kind, id, op });
  return command;
}

function deadlineOf(work: Work, goal: Goal): number {
  const { settings } = work.durable;
  switch (goal.kind) {
    case "promote":
      return settings.promoteMs;
    case "prepare":
      return settings.catchUpMs;
    case "shut":
      return shutForMs(settings);
    case "ask-upstream":
      return ASK_UPSTREAM_MS;
    case "rebuild":
      return settings.recoverMs;
    case "fetch-tail":
      return settings.salvageMs;
    case "fence":
      return DEADLINES_MS.fence + goal.patienceMs;
    case "adopt":
    case "follow":
    case "freeze":
    case "reopen":
    case "start":
      return DEADLINES_MS[goal.kind];
  }
}

function isDue(work: Work, poll: Poll, command: Command): boolean {
  if (poll.results.some((result) => result.id === command.id)) return false;
  const sent = work.live.hosts[poll.host]?.sent;
  return !sent || sent.id !== command.id || work.live.at - sent.at >= REPEAT_MS;
}

/** Tells failed and refused commands, each once; forgets the restarts of a server that runs. */
function noteResults(work: Work, poll: Poll): void {
  const known = work.durable.commands[poll.host];
  for (const result of poll.results) {
    if (result.id !== known?.id || (result.outcome !== "failed" && result.outcome !== "refused")) continue;
    const { id, op, outcome, code, detail } = result;
    becauseOnce(work, { kind: "command-result", member: poll.host, id, outcome, code, detail }, op);
  }
  if (poll.server?.report.state !== "running" || !(poll.host in work.live.restarts)) return;
  const { [poll.host]: _, ...restarts } = work.live.restarts;
  work.live = { ...work.live, restarts };
}

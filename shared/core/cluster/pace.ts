/**
 * How soon a host is to poll again.
 *
 * A poll costs both sides some processor time, and while a primary is missing that time is what the new one opens with.
 * So only whoever holds up the operation comes at its pace. Whom it waits for next is told by a nudge of the agent that
 * made it go on (calls.ts); everybody else comes a little faster than at rest, in case that is lost.
 */
import type { Poll } from "../../domain/messages.ts";
import { nextDeadlineAt } from "./deadline.ts";
import { expiryAt } from "./lease.ts";
import { promisedUntil } from "./promises.ts";
import type { ClusterState, SwitchPlan } from "./state.ts";

/** A command that no poll has listed for this long is not under way: it was lost, or its agent has started anew. */
const ANSWER_MS = 1_000;
/** How many times the operation's pace those wait who are not waited for. */
const ALERT_PACES = 5;
/** After its stream broke, a replica is kept on the alert for this long: a failover may be near. */
const STALL_WATCH_MS = 10_000;
/** A dataservice that was just created is likely to be founded soon: for this long its agents come often. */
const FOUNDING_WATCH_MS = 30_000;

/** Milliseconds until the host that sent `poll` is to poll again; never past the coordinator's next deadline. */
export function paceOf(state: ClusterState, poll: Poll): number {
  const { pollMs, pollInOperationMs } = state.durable.settings;
  if (isAwaited(state, poll)) return pollInOperationMs;
  const deadline = nextDeadlineAt(state);
  const untilThen = deadline === null ? pollMs : deadline - state.live.at;
  const pace = isOnTheAlert(state, poll) ? Math.min(pollMs, ALERT_PACES * pollInOperationMs) : pollMs;
  return Math.max(pollInOperationMs, Math.min(pace, Math.ceil(untilThen)));
}

/** Whether the next step rests on what this host reports, or is a command that its next poll will be answered with. */
export function isAwaited(state: ClusterState, poll: Poll): boolean {
  if (poll.server === null) return false;
  // The agent comes by itself when it has done what it was told.
  if (hasCommandUnderWay(state, poll)) return false;
  const { phase, plan } = state.durable;
  // While promises run, nobody's word can be the last one that is missing.
  const expiry = promisedUntil(state) === null ? expiryAt(state) : null;
  switch (phase.kind) {
    case "founding":
    case "vacant":
      return false;
    case "deposing":
      // The whole wait is over by our clock: the witness's next word decides.
      if (expiry !== null && state.live.at >= expiry) return true;
      return phase.primary === poll.host;
    case "collecting":
      return phase.deposed !== poll.host;
    case "reigning":
      if (!phase.opened) return phase.primary === poll.host;
      if (expiry !== null && state.live.at >= expiry) return true;
      if (phase.isSuspected) return phase.primary !== poll.host;
      if (plan?.kind === "switch") return isAwaitedBySwitch(plan, poll);
      return plan?.kind === "recover" && plan.member === poll.host && plan.step.kind !== "rebuilding";
  }
}

function isAwaitedBySwitch({ step, primary, target }: SwitchPlan, { host }: Poll): boolean {
  switch (step.kind) {
    case "preparing":
    case "holding":
    case "settling":
    case "draining":
    case "stopping":
    case "returning":
    case "undoing":
      return host === primary;
    case "flushing":
      return host === primary || host === target;
  }
}

function hasCommandUnderWay({ durable, live }: ClusterState, { host, results }: Poll): boolean {
  const command = durable.commands[host];
  if (!command) return false;
  const result = results.find(({ id }) => id === command.id);
  if (result) return result.outcome === "accepted";
  const sent = live.hosts[host]?.sent;
  return sent?.id === command.id && live.at - sent.at < ANSWER_MS;
}

/** Whether an operation is under way, or may be near, in which this host has a part. */
function isOnTheAlert(state: ClusterState, poll: Poll): boolean {
  const { durable, live } = state;
  const { phase, plan } = durable;
  if (plan?.kind === "switch" || hasCommandUnderWay(state, poll)) return true;
  if (plan?.kind === "recover" && plan.member === poll.host) return true;
  if (durable.durabilityChange !== null && poll.server !== null) return true;
  if (phase.kind === "founding") return live.at - live.phaseAt < FOUNDING_WATCH_MS;
  if (phase.kind !== "reigning" || !phase.opened) return phase.kind !== "vacant";
  const stalledAt = live.hosts[poll.host]?.stalledAt ?? null;
  const record = durable.members[poll.host];
  const isWatched = record?.role === "replica" && (record.state === "online" || record.state === "offline");
  return isWatched && stalledAt !== null && live.at - stalledAt < STALL_WATCH_MS;
}

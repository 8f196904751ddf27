/**
 * When the object asks to be woken although nobody speaks.
 *
 * The alarm is a backstop: every poll advances time, so no operation depends on it. Arming it is a write, so at rest
 * there is none: nothing that a dataservice at rest must do can be done without somebody's report, unless a webhook has
 * deliveries pending. An alarm that is early is left alone; it fires, ticks, and arms the next if there is one.
 */
import { nextDeadline } from "#shared/core/cluster/step.ts";
import type { ClusterState } from "#shared/core/cluster/state.ts";

/** While an alarm is being handled the next is armed for this much later, whatever becomes of it. */
export const BACKSTOP_MS = 60_000;
/** Alarms may be this late by the platform's own account; one that is later still is missing. */
const LATENESS_MS = 60_000;
/** A deadline worked out anew differs by the time its poll took. */
const SLACK_MS = 1_000;

/**
 * When the alarm should fire at the latest, wall time: for the dataservice, or for a webhook's delivery that is due at
 * `deliveryMs` (null: nothing is pending). Null when only events can change anything.
 */
export function alarmDue(
  state: ClusterState,
  { wallMs, deliveryMs }: { wallMs: number; deliveryMs: number | null },
): number | null {
  const tickMs = tickDue(state, wallMs);
  if (tickMs === null || deliveryMs === null) return tickMs ?? deliveryMs;
  return Math.min(tickMs, deliveryMs);
}

function tickDue(state: ClusterState, wallMs: number): number | null {
  const deadline = nextDeadline(state);
  if (deadline === null) return null;
  const { phase, plan } = state.durable;
  const isAtRest = phase.kind === "reigning" && phase.opened && plan === null;
  return isAtRest ? null : Math.ceil(wallMs + deadline - state.live.at);
}

/** Whether the alarm armed for `armedMs` (null: none) must be armed anew to fire by `dueMs`. */
export function mustArm(armedMs: number | null, dueMs: number, wallMs: number): boolean {
  if (armedMs === null) return true;
  const isMissing = armedMs < wallMs - LATENESS_MS;
  return isMissing || armedMs > dueMs + SLACK_MS;
}

/**
 * When the object asks to be woken although nobody speaks.
 *
 * The alarm is a backstop: every poll advances time, so no operation depends on it. Arming it is a write, and at rest
 * the machine's next deadline moves with every lease extension; an alarm that is early is therefore left alone (it
 * fires, ticks, and arms the next), and at rest it is not armed for anything nearer than a minute.
 */
import { nextDeadline } from "#shared/core/cluster/step.ts";
import type { ClusterState } from "#shared/core/cluster/state.ts";

/** At rest nothing urgent can happen in silence: a failover needs somebody's report. */
export const REST_ALARM_MS = 60_000;
/** Alarms may be this late by the platform's own account; one that is later still is missing. */
const LATENESS_MS = 60_000;
/** A deadline worked out anew differs by the time its poll took. */
const SLACK_MS = 1_000;

/** When the alarm should fire at the latest, wall time; null when only events can change anything. */
export function alarmDue(state: ClusterState, wallMs: number): number | null {
  const deadline = nextDeadline(state);
  if (deadline === null) return null;
  const { phase } = state.durable;
  const isAtRest = phase.kind === "reigning" && phase.opened;
  const waitMs = Math.max(deadline - state.live.at, isAtRest ? REST_ALARM_MS : 0);
  return Math.ceil(wallMs + waitMs);
}

/** Whether the alarm armed for `armedMs` (null: none) must be armed anew to fire by `dueMs`. */
export function mustArm(armedMs: number | null, dueMs: number, wallMs: number): boolean {
  if (armedMs === null) return true;
  const isMissing = armedMs < wallMs - LATENESS_MS;
  return isMissing || armedMs > dueMs + SLACK_MS;
}

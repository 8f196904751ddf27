/**
 * Which replicas the door for readers may serve, and until when.
 *
 * Unlike the proofs of one reign, two lists of replicas contradict each other: a member that is on the older one only may
 * have been promoted since, or may have fallen too far behind. So the newest list alone counts, with the time that was
 * given to it, and what it does not name is over at once.
 */
import type { Upstream } from "#shared/domain/messages.ts";
import type { Epoch } from "#shared/domain/reign.ts";
import { type Course, type ReadOnlyRoute, type RouteChange, type RouteRules, sameTarget } from "./route-rules.ts";

export interface ReadOnlyState {
  /** The highest epoch heard of. */
  epoch: Epoch;
  /** When the request was sent whose answer this list is; ms of the connector's clock. */
  sentMs: number;
  targets: Upstream[];
  /** The first instant, in ms of the connector's clock, at which the list no longer holds. */
  validUntilMs: number;
}

/**
 * Takes a list that answers a request sent at `sentMs`. A lower epoch is a late reply and ignored, as are an older list
 * of the same epoch and one whose times are no numbers.
 */
function acceptReadOnlyRoute(
  state: ReadOnlyState,
  route: ReadOnlyRoute,
  sentMs: number,
): { state: ReadOnlyState; change: RouteChange } {
  const ignored = { state, change: "ignored" } as const;
  if (!Number.isFinite(sentMs) || !Number.isFinite(route.validMs)) return ignored;
  if (route.epoch < state.epoch || (route.epoch === state.epoch && sentMs < state.sentMs)) return ignored;
  const { epoch, targets, validMs } = route;
  const isSame = targets.length === state.targets.length && targets.every((target) => isNamed(state, target));
  return { state: { epoch, sentMs, targets, validUntilMs: sentMs + validMs }, change: isSame ? "renewed" : "changed" };
}

function isNamed({ targets }: ReadOnlyState, target: Upstream): boolean {
  return targets.some((named) => sameTarget(named, target));
}

/**
 * The door for readers. A session is bound to its replica and not to the epoch in which it began: it goes on through
 * another member's promotion.
 */
export const READ_ONLY: RouteRules<ReadOnlyState, ReadOnlyRoute> = {
  unheard: { epoch: 0, sentMs: Number.NEGATIVE_INFINITY, targets: [], validUntilMs: Number.NEGATIVE_INFINITY },
  accept: acceptReadOnlyRoute,
  dialable: ({ epoch, targets, validUntilMs }, nowMs): Course[] =>
    nowMs < validUntilMs ? targets.map((target) => ({ epoch, target })) : [],
  covers: (state, { target }, nowMs) => nowMs < state.validUntilMs && isNamed(state, target),
  isSuperseded: (state, { target }) => !isNamed(state, target),
  provedUntilMs: ({ targets, validUntilMs }) => (targets.length > 0 ? validUntilMs : null),
};

/**
 * Which primary the door may serve, and until when.
 *
 * A proof says that an epoch stands until an instant of this host's clock. Several proofs of one reign may arrive in any
 * order, by different ways: each of them is true by itself, so the one that runs longest counts. Who may be dialled is a
 * different question, and there the newest word counts.
 */
import type { Route, Upstream } from "#shared/domain/messages.ts";
import type { Epoch } from "#shared/domain/reign.ts";

/** What a session is bound to for its whole life: one reign at one address. */
export interface Course {
  epoch: Epoch;
  target: Upstream;
}

export interface RouteProof extends Course {
  /** The first instant, in ms of the connector's clock, at which the proof no longer holds. */
  validUntilMs: number;
}

export interface RouteState {
  /** The highest epoch heard of. */
  epoch: Epoch;
  /** When the request was sent whose answer decided `accepting` and the target; ms of the connector's clock. */
  sentMs: number;
  /** The proof of `epoch`; null while no primary of it is known. */
  proof: RouteProof | null;
  /** Whether new connections may go to the proof's target; false when the newest route named none. */
  accepting: boolean;
}

/** `changed`: held connections may find another answer than before. `renewed`: at most the proof runs longer. */
export type RouteChange = "ignored" | "renewed" | "changed";

export const NO_ROUTE: RouteState = { epoch: 0, sentMs: Number.NEGATIVE_INFINITY, proof: null, accepting: false };

/**
 * Takes a route that answers a request sent at `sentMs`. A lower epoch is a late reply and ignored, as is a route of
 * another service or one whose times are no numbers.
 */
export function acceptRoute(
  state: RouteState,
  route: Route,
  sentMs: number,
): { state: RouteState; change: RouteChange } {
  const ignored = { state, change: "ignored" } as const;
  if (route.service !== "read-write" || route.epoch < state.epoch) return ignored;
  if (!Number.isFinite(sentMs) || !Number.isFinite(route.validMs)) return ignored;
  if (route.epoch > state.epoch) return { state: newCourse(route, sentMs), change: "changed" };
  const isNewest = sentMs >= state.sentMs;
  if (state.proof && route.target && sameTarget(state.proof.target, route.target)) {
    return renewed(state, sentMs + route.validMs, isNewest ? sentMs : null);
  }
  if (!isNewest) return ignored;
  if (route.target) return { state: newCourse(route, sentMs), change: "changed" };
  return { state: { ...state, sentMs, accepting: false }, change: state.accepting ? "changed" : "renewed" };
}

/** Whether bytes may pass on `course` at `nowMs`. */
export function covers(state: RouteState, course: Course, nowMs: number): boolean {
  const proof = state.proof;
  return (
    proof !== null &&
    proof.epoch === course.epoch &&
    nowMs < proof.validUntilMs &&
    sameTarget(proof.target, course.target)
  );
}

/** Whether `course` is over for good: its epoch was succeeded, or the same epoch moved to another address. */
export function isSuperseded(state: RouteState, course: Course): boolean {
  if (state.epoch > course.epoch) return true;
  return state.proof !== null && !sameTarget(state.proof.target, course.target);
}

/** Where a new connection may be dialled at `nowMs`; null when it has to wait. */
export function dialable(state: RouteState, nowMs: number): RouteProof | null {
  return state.accepting && state.proof && nowMs < state.proof.validUntilMs ? state.proof : null;
}

function newCourse(route: Route, sentMs: number): RouteState {
  const { epoch, target, validMs } = route;
  const proof = target && { epoch, target, validUntilMs: sentMs + validMs };
  return { epoch, sentMs, proof, accepting: target !== null };
}

/** `newestSentMs` is null when a newer route has already decided who may be dialled. */
function renewed(
  state: RouteState & { proof: RouteProof | null },
  validUntilMs: number,
  newestSentMs: number | null,
): { state: RouteState; change: RouteChange } {
  const proof = state.proof && { ...state.proof, validUntilMs: Math.max(state.proof.validUntilMs, validUntilMs) };
  if (newestSentMs === null) return { state: { ...state, proof }, change: "renewed" };
  const next = { ...state, proof, sentMs: newestSentMs, accepting: true };
  return { state: next, change: state.accepting ? "renewed" : "changed" };
}

function sameTarget(a: Upstream, b: Upstream): boolean {
  return a === b || (a.member === b.member && a.host === b.host && a.port === b.port);
}

/**
 * Which primary the door may serve, and until when.
 *
 * A proof says that an epoch stands until an instant of this host's clock. Several proofs of one reign may arrive in any
 * order, by different ways: each of them is true by itself, so the one that runs longest counts. Who may be dialled is a
 * different question, and there the newest word counts.
 */
import type { Epoch } from "#shared/domain/reign.ts";
import { type Course, type ReadWriteRoute, type RouteChange, type RouteRules, sameTarget } from "./route-rules.ts";

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
  /** Whether new connections may go to the proof's target; false when the newest route named none or held them. */
  accepting: boolean;
}

export const NO_ROUTE: RouteState = { epoch: 0, sentMs: Number.NEGATIVE_INFINITY, proof: null, accepting: false };

/**
 * Takes a route that answers a request sent at `sentMs`. A lower epoch is a late reply and ignored, as is a route whose
 * times are no numbers.
 */
export function acceptRoute(
  state: RouteState,
  route: ReadWriteRoute,
  sentMs: number,
): { state: RouteState; change: RouteChange } {
  const ignored = { state, change: "ignored" } as const;
  if (route.epoch < state.epoch) return ignored;
  if (!Number.isFinite(sentMs) || !Number.isFinite(route.validMs)) return ignored;
  if (route.epoch > state.epoch) return { state: newCourse(route, sentMs), change: "changed" };
  const isNewest = sentMs >= state.sentMs;
  if (state.proof && route.target && sameTarget(state.proof.target, route.target)) {
    const proof = prolonged(state.proof, sentMs + route.validMs);
    return isNewest
      ? decided({ ...state, proof, sentMs }, !route.hold)
      : { state: { ...state, proof }, change: "renewed" };
  }
  if (!isNewest) return ignored;
  if (route.target) return { state: newCourse(route, sentMs), change: "changed" };
  return decided({ ...state, sentMs }, false);
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

/** The door for writers. */
export const READ_WRITE: RouteRules<RouteState, ReadWriteRoute> = {
  unheard: NO_ROUTE,
  accept: acceptRoute,
  dialable: (state, nowMs) => {
    const proof = dialable(state, nowMs);
    return proof ? [proof] : [];
  },
  covers,
  isSuperseded,
  provedUntilMs: ({ proof }) => proof && proof.validUntilMs,
};

function newCourse(route: ReadWriteRoute, sentMs: number): RouteState {
  const { epoch, target, validMs } = route;
  const proof = target && { epoch, target, validUntilMs: sentMs + validMs };
  return { epoch, sentMs, proof, accepting: target !== null && !route.hold };
}

function prolonged(proof: RouteProof, validUntilMs: number): RouteProof {
  return { ...proof, validUntilMs: Math.max(proof.validUntilMs, validUntilMs) };
}

function decided(state: RouteState, accepting: boolean): { state: RouteState; change: RouteChange } {
  return { state: { ...state, accepting }, change: accepting === state.accepting ? "renewed" : "changed" };
}

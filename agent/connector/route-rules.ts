/** What one service of the connector makes of its routes, as functions over a state of its own. */
import type { Route, Upstream } from "#shared/domain/messages.ts";
import type { Epoch } from "#shared/domain/reign.ts";

export type ReadWriteRoute = Extract<Route, { service: "read-write" }>;
export type ReadOnlyRoute = Extract<Route, { service: "read-only" }>;

/** What a session is bound to for its whole life: one server at one address, chosen in an epoch. */
export interface Course {
  epoch: Epoch;
  target: Upstream;
}

/** `changed`: held connections may find another answer than before. `renewed`: at most the proof runs longer. */
export type RouteChange = "ignored" | "renewed" | "changed";

/** Every instant is in ms of the connector's clock. */
export interface RouteRules<State, AnyRoute extends Route> {
  /** Nothing has been heard yet. */
  unheard: State;
  /** Takes a route that answers a request sent at `sentMs`. */
  accept: (state: State, route: AnyRoute, sentMs: number) => { state: State; change: RouteChange };
  /** Where a new connection may be dialled at `nowMs`; none when it has to wait. */
  dialable: (state: State, nowMs: number) => Course[];
  /** Whether bytes may pass on `course` at `nowMs`. */
  covers: (state: State, course: Course, nowMs: number) => boolean;
  /** Whether `course` is over for good. */
  isSuperseded: (state: State, course: Course) => boolean;
  /** The first instant at which nothing is covered any more; null while nobody is named. */
  provedUntilMs: (state: State) => number | null;
}

export function sameTarget(a: Upstream, b: Upstream): boolean {
  return a === b || (a.member === b.member && a.host === b.host && a.port === b.port);
}

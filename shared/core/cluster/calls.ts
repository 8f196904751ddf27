/**
 * Whom a host is to nudge when its poll has brought news: who holds up what goes on now, or has something to fetch that
 * clients wait for. Everybody else would only take processor time from them; they come at their own pace.
 */
import type { Route } from "../../domain/messages.ts";
import type { HostName } from "../../domain/names.ts";
import { isSilent, livingPrimary, streamsFrom } from "./datasources.ts";
import { isAwaited } from "./pace.ts";
import type { DoorTold, LiveHost } from "./state.ts";
import type { Work } from "./work.ts";

/** The hosts to nudge besides `from`; `door` is what connectors are told now, null while nothing is known. */
export function callsOf(work: Work, from: HostName, door: DoorTold | null): HostName[] {
  return Object.entries(work.live.hosts)
    .filter(([name]) => name !== from && !isSilent(work, name))
    .filter(([name, host]) => isCalled(work, host) || isDoorNews(host.door, door) || isAcknowledger(work, name))
    .map(([name]) => name);
}

/** The route for writers, as far as a connector must hear of it at once. */
export function doorOf(route: Route | null): DoorTold | null {
  return route?.service === "read-write" ? { hold: route.hold, target: route.target?.member ?? null } : null;
}

/** A switch's prior primary is waited for by no client. */
function isCalled(work: Work, { poll }: LiveHost): boolean {
  return work.durable.plan?.step.kind !== "returning" && isAwaited(work, poll);
}

/** A connector that is to hold, or to let in again, or elsewhere. One whose target is gone hears that from its server. */
function isDoorNews(told: DoorTold | null, now: DoorTold | null): boolean {
  if (told === null || now === null) return false;
  if (now.hold) return !told.hold;
  return now.target !== null && (told.hold || told.target !== now.target);
}

/** Nothing is acknowledged by a new primary before its replicas stream from it. */
function isAcknowledger(work: Work, name: HostName): boolean {
  const primary = livingPrimary(work);
  const record = work.durable.members[name];
  if (work.durable.durability !== "sync" || primary === null || record?.role !== "replica") return false;
  return record.state === "online" && !streamsFrom(work, name, primary);
}

/**
 * Founding: the first epoch. It needs a report from every named member: one system identifier, no member with an epoch
 * behind it (that would be a restore), none but the named one writable, and none that holds what a first primary lacks that
 * does not serve yet. Until then agents only observe.
 */
import type { MemberName } from "../../domain/names.ts";
import { coversPosition } from "../../domain/position.ts";
import type { FoundingObstacle } from "./reason.ts";
import type { ClusterState, PhaseOf } from "./state.ts";

export type FoundingVerdict =
  | { kind: "waiting"; missing: MemberName[] }
  | { kind: "blocked"; why: FoundingObstacle; members: MemberName[] }
  /** `adopt` a primary that is serving already; `promote` one that is read-only. */
  | { kind: "ready"; how: "adopt" | "promote" };

/** Whether the dataservice can be founded with the primary that was named, by what its members have reported. */
export function judgeFounding(state: ClusterState, { primary, isForced }: PhaseOf<"founding">): FoundingVerdict {
  const names = Object.keys(state.durable.members);
  const servers = names.map((name) => ({
    name,
    server: state.live.hosts[name]?.poll.server,
    poll: state.live.hosts[name]?.poll,
  }));
  const namesOf = (isIt: (member: (typeof servers)[number]) => boolean) => servers.filter(isIt).map(({ name }) => name);
  const missing = namesOf(({ name, server }) => !server?.systemId || !server.position || !isFresh(state, name));
  if (missing.length > 0) return { kind: "waiting", missing };
  const systems = new Set(servers.map(({ server }) => server?.systemId));
  if (systems.size > 1) return { kind: "blocked", why: "several-systems", members: names };
  const reigned = namesOf(({ poll }) => !!poll && (poll.epochSeen > 0 || poll.attempted > 0 || poll.opSeen > 0));
  if (reigned.length > 0) return { kind: "blocked", why: "member-has-an-epoch", members: reigned };
  const writable = namesOf(
    ({ name, server }) => name !== primary && server?.report.state === "running" && server.report.writable,
  );
  if (writable.length > 0) return { kind: "blocked", why: "another-member-is-writable", members: writable };
  // What does not answer may write all the same, and nobody fences before the founding.
  const unclear = namesOf(
    ({ name, server }) => name !== primary && server?.report.state !== "running" && server?.report.state !== "stopped",
  );
  if (unclear.length > 0) return { kind: "blocked", why: "another-member-is-unclear", members: unclear };
  const first = servers.find(({ name }) => name === primary)?.server;
  if (first?.report.state !== "running") return { kind: "blocked", why: "primary-not-running", members: [primary] };
  // Whoever serves already has clients: what others hold besides is theirs no more, and its report may be older than others'.
  if (first.report.writable) return { kind: "ready", how: "adopt" };
  const own = first.position;
  const ahead = namesOf(({ server }) => !!own && !!server?.position && !coversPosition(own, server.position));
  if (ahead.length > 0 && !isForced) return { kind: "blocked", why: "another-member-is-ahead", members: ahead };
  return { kind: "ready", how: "promote" };
}

/** What was reported long ago says nothing about which server is writable now. */
function isFresh(state: ClusterState, name: MemberName): boolean {
  const host = state.live.hosts[name];
  return host !== undefined && state.live.at - host.handledAt <= 3 * state.durable.settings.pollMs;
}

/**
 * The states of the datasources that nobody's command decides: what the members report, and what their silence says.
 * What an operator put somewhere stays there (SPEC: G4).
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { MemberName } from "../../domain/names.ts";
import { onLineage } from "../../domain/reign.ts";
import { isForked } from "./fork.ts";
import { hasLostLog } from "./furthest.ts";
import { isRestoring, ownEpochOf } from "./restoring.ts";
import type { ClusterState, LiveHost, MemberRecord } from "./state.ts";
import { member, setHost, setMember, setState, type Work } from "./work.ts";

/** Brings every datasource's state in line with what is known now. */
export function observeDatasources(work: Work): void {
  for (const name of Object.keys(work.durable.members)) {
    noteEndpoint(work, name);
    noteStall(work, name);
    observeOne(work, name);
  }
}

/** The name of the primary that clients may write to now; null while there is none. */
export function livingPrimary(state: ClusterState): MemberName | null {
  const { phase } = state.durable;
  return phase.kind === "reigning" && phase.opened ? phase.primary : null;
}

/** Whether the agent of a host has been heard within the last few polls. */
export function isHeard(state: ClusterState, name: MemberName): boolean {
  const host = state.live.hosts[name];
  const { pollMs, pollTimeoutMs } = state.durable.settings;
  return host !== undefined && state.live.at - host.handledAt <= 2 * (pollMs + pollTimeoutMs);
}

/** Whether the agent of a host has been silent for longer than the setting allows. */
export function isSilent(state: ClusterState, name: MemberName): boolean {
  const host = state.live.hosts[name];
  // A fresh incarnation has heard nobody yet: silence is counted from its start.
  return state.live.at - (host?.handledAt ?? 0) >= state.durable.settings.silentMs;
}

/** Whether a replica streams from the living primary, on its lineage, and has what it ever had. */
export function streamsFrom(state: ClusterState, name: MemberName, primary: MemberName): boolean {
  const host = state.live.hosts[name];
  const server = host?.poll.server;
  if (!host || server?.report.state !== "running" || !server.report.inRecovery || !server.position) return false;
  if (server.receiver.state !== "streaming" || server.receiver.upstream !== primary) return false;
  return !hasDiverged(state, name) && !hasLostLog(state, name);
}

function noteEndpoint(work: Work, name: MemberName): void {
  const endpoint = work.live.hosts[name]?.poll.server?.endpoint;
  const known = member(work, name).endpoint;
  if (!endpoint || (known && known.host === endpoint.host && known.port === endpoint.port)) return;
  setMember(work, name, { endpoint });
}

function noteStall(work: Work, name: MemberName): void {
  const host = work.live.hosts[name];
  const server = host?.poll.server;
  if (!host || !server) return;
  const isStalled = member(work, name).role === "replica" && server.receiver.state !== "streaming";
  if (isStalled === (host.stalledAt !== null)) return;
  setHost(work, name, { stalledAt: isStalled ? work.live.at : null });
}

function observeOne(work: Work, name: MemberName): void {
  const record = member(work, name);
  const { phase, policy } = work.durable;
  if (phase.kind === "founding" || isOperatorsWord(record.reason) || isRestoring(work)) return;
  // An operator settles that.
  if (isForked(work, name)) return;
  // In MAINTENANCE nothing that is seen changes a state: the operator is at work.
  if (policy === "maintenance") return;
  // Whoever reigns, is being deposed or was deposed is judged by the succession alone.
  const concerned = phase.kind === "reigning" || phase.kind === "deposing" ? phase.primary : phase.deposed;
  if (name === concerned || record.role === "primary") return;
  // A shun is left by `welcome` or `recover`; a silence in between undoes none.
  if (record.state === "shunned") return;
  if (isSilent(work, name)) return setState(work, name, "failed", { kind: "manager-stopped" });
  const host = work.live.hosts[name];
  if (!host?.poll.server) return;
  observeReplica(work, name, host);
}

function observeReplica(work: Work, name: MemberName, host: LiveHost): void {
  const record = member(work, name);
  if (host.poll.server?.report.state === "stopped") {
    // What a switch has stopped is about to be started again.
    const { plan } = work.durable;
    if (plan?.kind === "switch" && plan.primary === name) return;
    return setState(work, name, "failed", { kind: "dataserver-stopped" });
  }
  const primary = livingPrimary(work);
  if (primary !== null && hasDiverged(work, name)) return setState(work, name, "failed", { kind: "diverged" });
  if (hasLostLog(work, name)) return setState(work, name, "failed", { kind: "log-lost" });
  if (primary === null) return;
  if (record.reason.kind === "needs-provision" || !mayReturnByItself(work, record)) return;
  if (streamsFrom(work, name, primary)) setState(work, name, "online", { kind: "none" });
}

/** Only AUTOMATIC brings anybody back; what an operator took offline is seen to be so for a moment first. */
function mayReturnByItself({ durable, live }: Work, { state, sinceWallMs }: MemberRecord): boolean {
  if (durable.policy !== "automatic") return false;
  if (state === "offline") return live.wallMs - sinceWallMs >= durable.settings.pollMs || live.wallMs < sinceWallMs;
  return state === "failed";
}

/** Whether a replica's log is not of the line that reigns, for certain: it would stream and never arrive. */
export function hasDiverged(state: ClusterState, name: MemberName): boolean {
  const host = state.live.hosts[name];
  const position = host?.poll.server?.position;
  if (!host || !position) return false;
  if (state.durable.identities[name]?.isStray) return true;
  return !onLineage(state.durable.reigns, state.durable.epoch, { ownEpoch: ownEpochOf(state, name), position });
}

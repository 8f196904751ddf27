/** What a dataservice looks like to people and scripts: the picture behind `ls` and `GET /v1/dataservices/{s}`. */
import type {
  DataserverState,
  ManagerState,
  Policy,
  ReplicatorState,
  Role,
  State,
  StateReason,
  StatusWord,
} from "../../domain/datasource.ts";
import type { Endpoint, MemberServerReport } from "../../domain/messages.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import { positionNumber, type Position } from "../../domain/position.ts";
import { expiryWaitMs } from "../../domain/settings.ts";
import { livingPrimary } from "./datasources.ts";
import { type FoundingView, foundingOf } from "./founding-commands.ts";
import type { ClusterState, MemberRecord } from "./state.ts";
import { askedFor, syncState } from "./sync.ts";

export interface DatasourceView {
  member: MemberName;
  role: Role;
  state: State;
  reason: StateReason;
  status: StatusWord;
  sinceWallMs: number;
  position: Position | null;
  progress: number | null;
  latencyMs: number | null;
  writable: boolean;
  endpoint: Endpoint | null;
  manager: { state: ManagerState };
  replicator: { role: Role; state: ReplicatorState; upstream: MemberName | null };
  dataserver: { state: DataserverState; engine: string; version: string };
  connections: { created: number; active: number };
  tags: string[];
}

export interface RouterView {
  name: string;
  host: HostName;
  pid: number;
  state: "online" | "offline" | "on-hold";
  created: number;
  active: number;
}

export interface DataserviceView {
  dataservice: string;
  founded: boolean;
  /** What keeps it from being founded; null once it is. */
  founding: FoundingView | null;
  policy: Policy;
  epoch: number;
  primary: MemberName | null;
  coordinator: { name: string; state: "online" | "restoring" | "restored"; generation: number };
  durability: DurabilityView;
  operation: { op: number; kind: string; step: string } | null;
  datasources: DatasourceView[];
  routers: RouterView[];
}

/** `k` of `members` acknowledge what the primary acknowledges; `settled` once nobody else has to be asked about it. */
export interface DurabilityView {
  /** What is promised now, and what it is being changed to: the same while nothing changes. */
  mode: "async" | "sync";
  goal: "async" | "sync";
  k: number;
  members: MemberName[];
  settled: boolean;
}

/** The whole picture, as known at this moment. */
export function statusOf(state: ClusterState, coordinatorName: string): DataserviceView {
  const { durable, live } = state;
  const { operation, phase } = durable;
  return {
    dataservice: durable.dataservice,
    founded: phase.kind !== "founding",
    founding: phase.kind === "founding" ? foundingOf(state, phase) : null,
    policy: durable.policy,
    epoch: durable.epoch,
    primary: livingPrimary(state),
    coordinator: { name: coordinatorName, state: coordinatorState(state), generation: live.generation },
    durability: durabilityView(state),
    operation: operation && {
      op: operation.op,
      kind: operation.kind,
      step: durable.plan?.step.kind ?? durable.durabilityChange?.step.kind ?? phase.kind,
    },
    datasources: Object.values(durable.members).map((record) => datasourceView(state, record)),
    routers: routerViews(state),
  };
}

function durabilityView(state: ClusterState): DurabilityView {
  const { durability: mode, syncSets } = state.durable;
  const goal = askedFor(state.durable) === null ? "async" : "sync";
  // What was acknowledged while it was synchronous is asked about until everybody holds it.
  const isOver = goal === "async" && syncSets.length === 0;
  const sync = mode === "sync" ? syncState(state) : null;
  return { mode, goal, ...(sync ?? { k: 0, members: [], settled: mode === "async" && isOver }) };
}

/** `restoring` promotes and commands nothing; `restored` waits for an operator to look and to set the policy. */
function coordinatorState({ durable: { restoration } }: ClusterState): DataserviceView["coordinator"]["state"] {
  if (restoration === null) return "online";
  return restoration.kind === "reporting" ? "restoring" : "restored";
}

function datasourceView(state: ClusterState, record: MemberRecord): DatasourceView {
  const host = state.live.hosts[record.name];
  const server = host?.poll.server ?? null;
  const isHeard = host !== undefined && !hasManagerStopped(state, record);
  const isMaintained = state.durable.policy === "maintenance";
  const report = isHeard && server?.report.state === "running" ? server.report : null;
  const replicator = replicatorView(record, isHeard ? server : null, isDeposed(state, record));
  const dataserver = isHeard && server ? dataserverState(server) : "unknown";
  return {
    member: record.name,
    role: record.role,
    state: record.state,
    reason: record.reason,
    status: statusWord(record, isMaintained || (isHeard && replicator.state !== "offline" && dataserver === "online")),
    sinceWallMs: record.sinceWallMs,
    position: server?.position ?? null,
    progress: server?.applied ?? (server?.position ? positionNumber(server.position) : null),
    latencyMs: server?.latencyMs ?? null,
    writable: report?.writable ?? false,
    endpoint: record.endpoint,
    manager: { state: isHeard ? "online" : "stopped" },
    replicator,
    dataserver: { state: dataserver, engine: server?.engine ?? "postgres", version: server?.engineVersion ?? "" },
    connections: connectionsOf(state, record.name),
    tags: [],
  };
}

function hasManagerStopped(state: ClusterState, record: MemberRecord): boolean {
  const host = state.live.hosts[record.name];
  const { settings } = state.durable;
  const patience = Math.min(settings.silentMs, expiryWaitMs(settings, settings));
  return !host || state.live.at - host.handledAt >= patience;
}

/** A former primary: its role is still written down, but another reigns or nobody does. */
function isDeposed(state: ClusterState, record: MemberRecord): boolean {
  const { phase } = state.durable;
  const reigns = phase.kind === "reigning" && phase.primary === record.name;
  // In MAINTENANCE a primary whose server is stopped is not marked, and is shown as what it still is; one that its
  // operator has failed is until somebody takes over.
  const isStillIts = record.state === "online" || record.reason.kind === "manually-failed";
  return record.role === "primary" && !reigns && phase.kind !== "founding" && !isStillIts;
}

function replicatorView(
  record: MemberRecord,
  server: MemberServerReport | null,
  deposed: boolean,
): DatasourceView["replicator"] {
  const { role } = record;
  if (!server) return { role, state: "unknown", upstream: null };
  if (role === "primary") return { role, state: deposed ? "degraded" : "online", upstream: null };
  const { receiver } = server;
  switch (receiver.state) {
    case "streaming":
      return { role, state: "online", upstream: receiver.upstream };
    case "ended":
      return { role, state: "synchronizing", upstream: receiver.upstream };
    case "frozen":
    case "none":
      return { role, state: "offline", upstream: null };
  }
}

function dataserverState(server: MemberServerReport): DataserverState {
  switch (server.report.state) {
    case "running":
      return "online";
    case "stopped":
    case "starting":
      return "stopped";
    case "unresponsive":
      return "unknown";
  }
}

/** `isWhole`: no component is down, or the operator is at work on them. */
function statusWord(record: MemberRecord, isWhole: boolean): StatusWord {
  switch (record.state) {
    case "online":
      return isWhole ? "ok" : "diminished";
    case "offline":
      return "warn";
    case "failed":
      return "critical";
    case "shunned":
      return "shunned";
  }
}

function connectionsOf(state: ClusterState, member: MemberName): { created: number; active: number } {
  const targets = Object.values(state.live.hosts)
    .flatMap((host) => host.poll.connector?.targets ?? [])
    .filter((target) => target.member === member);
  return {
    created: targets.reduce((sum, target) => sum + target.created, 0),
    active: targets.reduce((sum, target) => sum + target.active, 0),
  };
}

function routerViews(state: ClusterState): RouterView[] {
  return Object.entries(state.live.hosts)
    .flatMap(([host, { poll, handledAt }]): RouterView[] => {
      if (!poll.connector) return [];
      const { pid, created, active } = poll.connector;
      const isSilent = state.live.at - handledAt >= state.durable.settings.silentMs;
      return [
        { name: `connector@${host}`, host, pid, state: isSilent ? "offline" : poll.connector.state, created, active },
      ];
    })
    .toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

/** Hand-written statuses: the pictures whose screens operators have known for years. */
import type { DatasourceStatus, Status } from "#shared/protocol/api.ts";

type Replicator = DatasourceStatus["replicator"];

/** A healthy replica without traffic; what a picture is about is given, the rest is ordinary. */
export function datasource(member: string, given: Partial<DatasourceStatus>): DatasourceStatus {
  return {
    member,
    role: "replica",
    state: "online",
    reason: { kind: "none" },
    status: "ok",
    sinceWallMs: 0,
    position: null,
    progress: null,
    latencyMs: null,
    writable: false,
    endpoint: { host: "127.0.0.1", port: 5432 },
    manager: { state: "online" },
    replicator: { role: given.role ?? "replica", state: "online", upstream: null },
    dataserver: { state: "online", engine: "postgres", version: "15.14" },
    connections: { created: 0, active: 0 },
    tags: [],
    ...given,
  };
}

export function status(given: Partial<Status> & Pick<Status, "datasources">): Status {
  return {
    dataservice: "alpha",
    founded: true,
    founding: null,
    policy: "automatic",
    epoch: 3,
    primary: given.datasources.find(({ role, state }) => role === "primary" && state === "online")?.member ?? null,
    coordinator: { name: "db3", state: "online", generation: 1 },
    durability: { mode: "async", goal: "async", k: 0, members: [], settled: true },
    operation: null,
    routers: [],
    ...given,
  };
}

export function router(host: string, pid: number, created: number): Status["routers"][number] {
  return { name: `connector@${host}`, host, pid, state: "online", created, active: 0 };
}

function following(upstream: string, state: Replicator["state"]): Replicator {
  return { role: "replica", state, upstream };
}

function leading(state: Replicator["state"]): Replicator {
  return { role: "primary", state, upstream: null };
}

const STOPPED = { state: "stopped", engine: "postgres", version: "15.14" } as const;

/** No primary: two replicas whose servers stopped and a failover that could not finish. */
export const FAILOVER_ABORTED = status({
  routers: [router("db1", 2096, 0), router("db2", 2092, 0), router("db3", 2107, 0)],
  datasources: [
    datasource("db1", {
      state: "failed",
      reason: { kind: "dataserver-stopped" },
      status: "critical",
      sinceWallMs: Date.UTC(2025, 0, 27, 16, 10, 47),
      progress: 40,
      latencyMs: 1_000,
      replicator: following("db3", "synchronizing"),
    }),
    datasource("db2", {
      state: "failed",
      reason: { kind: "dataserver-stopped" },
      status: "critical",
      sinceWallMs: Date.UTC(2025, 0, 27, 16, 10, 47),
      progress: 40,
      latencyMs: 0,
      replicator: following("db3", "synchronizing"),
    }),
    datasource("db3", {
      role: "primary",
      state: "shunned",
      reason: { kind: "failover-aborted" },
      status: "shunned",
      sinceWallMs: Date.UTC(2025, 0, 27, 16, 10, 50),
      progress: 40,
      latencyMs: 100,
      replicator: leading("offline"),
    }),
  ],
});

/** The same three after somebody chose db3. */
export const RECOVERED = status({
  routers: [router("db1", 2096, 2), router("db2", 2092, 2), router("db3", 2107, 2)],
  datasources: [
    datasource("db1", {
      sinceWallMs: Date.UTC(2025, 0, 28, 8, 36, 37),
      progress: 42,
      latencyMs: 213,
      replicator: following("db3", "online"),
    }),
    datasource("db2", {
      sinceWallMs: Date.UTC(2025, 0, 28, 8, 34, 29),
      progress: 42,
      latencyMs: 240,
      replicator: following("db3", "online"),
    }),
    datasource("db3", {
      role: "primary",
      sinceWallMs: Date.UTC(2025, 0, 28, 8, 34, 28),
      progress: 42,
      latencyMs: 161,
      writable: true,
      connections: { created: 6, active: 0 },
    }),
  ],
});

/** A former primary whose server is down, after db2 took over. */
export const SHUNNED_DB3 = datasource("db3", {
  role: "primary",
  state: "shunned",
  reason: { kind: "failed-over-to", to: "db2" },
  status: "shunned",
  sinceWallMs: Date.UTC(2025, 0, 28, 9, 7, 59),
  progress: 43,
  latencyMs: 73,
  replicator: leading("degraded"),
  dataserver: STOPPED,
  connections: { created: 6, active: 0 },
});

/** In MAINTENANCE nothing is detected: the datasource stays OK and only its component row tells. */
export const SERVER_STOPPED = datasource("db2", {
  role: "primary",
  sinceWallMs: Date.UTC(2025, 0, 28, 9, 8, 4),
  progress: 45,
  latencyMs: 680,
  dataserver: STOPPED,
});

export const MANUALLY_FAILED = datasource("db2", {
  role: "primary",
  state: "failed",
  reason: { kind: "manually-failed" },
  status: "critical",
  sinceWallMs: Date.UTC(2025, 0, 28, 10, 45, 41),
  progress: 51,
  latencyMs: 272,
  dataserver: STOPPED,
});

/** The pair after a failover by hand. */
export const FAILED_OVER = [
  datasource("db2", {
    role: "primary",
    state: "shunned",
    reason: { kind: "failed-over-to", to: "db3" },
    status: "shunned",
    sinceWallMs: Date.UTC(2025, 0, 28, 10, 45, 46),
    progress: 51,
    latencyMs: 272,
    replicator: leading("degraded"),
    dataserver: STOPPED,
  }),
  datasource("db3", {
    role: "primary",
    sinceWallMs: Date.UTC(2025, 0, 28, 10, 45, 50),
    progress: 53,
    latencyMs: 432,
    connections: { created: 6, active: 0 },
  }),
];

/** The old master's host is unreachable: nobody can tell what its replicator does. */
export const HOST_LOST = status({
  coordinator: { name: "host3", state: "online", generation: 1 },
  durability: { mode: "async", goal: "async", k: 0, members: [], settled: true },
  routers: [router("host2", 28116, 0), router("host3", 1533, 0)],
  datasources: [
    datasource("host1", {
      role: "primary",
      state: "shunned",
      reason: { kind: "failed-over-to", to: "host2" },
      status: "shunned",
      sinceWallMs: Date.UTC(2013, 4, 14, 11, 18, 54),
      progress: 156_323,
      latencyMs: 317,
      manager: { state: "stopped" },
      replicator: leading("unknown"),
    }),
    datasource("host2", {
      role: "primary",
      sinceWallMs: Date.UTC(2013, 4, 14, 11, 46, 55),
      progress: 156_325,
      latencyMs: 606,
    }),
  ],
});

/** The same host back, still shunned. */
export const HOST_RETURNED = status({
  coordinator: { name: "host3", state: "online", generation: 1 },
  durability: { mode: "async", goal: "async", k: 0, members: [], settled: true },
  routers: [router("host1", 19869, 0), router("host2", 28116, 0), router("host3", 1533, 0)],
  datasources: [
    datasource("host1", {
      role: "primary",
      state: "shunned",
      reason: { kind: "failed-over-to", to: "host2" },
      status: "shunned",
      sinceWallMs: Date.UTC(2013, 4, 14, 11, 30, 21),
      progress: 156_323,
      latencyMs: 317,
    }),
  ],
});

/** An automatic failover, just over. */
export const AUTOMATIC_FAILOVER = status({
  coordinator: { name: "db1", state: "online", generation: 1 },
  durability: { mode: "async", goal: "async", k: 0, members: [], settled: true },
  routers: [router("db1", 7435, 2), router("db2", 7472, 2), router("db3", 7468, 2)],
  datasources: [
    datasource("db1", {
      role: "primary",
      state: "shunned",
      reason: { kind: "failed-over-to", to: "db3" },
      status: "shunned",
      sinceWallMs: Date.UTC(2025, 0, 27, 13, 51, 23),
      progress: 8,
      latencyMs: 981,
      replicator: leading("degraded"),
      dataserver: STOPPED,
      connections: { created: 4, active: 0 },
    }),
    datasource("db2", {
      sinceWallMs: Date.UTC(2025, 0, 27, 13, 51, 40),
      progress: 8,
      latencyMs: 1_004,
      replicator: following("db1", "online"),
    }),
    datasource("db3", {
      role: "primary",
      sinceWallMs: Date.UTC(2025, 0, 27, 13, 51, 27),
      progress: 10,
      latencyMs: 380,
      connections: { created: 2, active: 0 },
    }),
  ],
});

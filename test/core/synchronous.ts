/** A dataservice in synchronous mode, whose members' servers go by the sets that they are told. */
import type { SyncPolicy } from "#shared/core/cluster/state.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  createdCluster,
  openPatch,
  pass,
  poll,
  REPLICAS,
  setDurable,
  streamingPatch,
  WRITABLE,
  type Cluster,
  type PollPatch,
} from "./builders.ts";

/** Polls, and takes the set that the reply names: the next poll says that the server goes by it. */
export function talk(cluster: Cluster, host: string, patch: PollPatch = {}): void {
  const { answer } = poll(cluster, host, patch);
  if (answer.kind !== "reply") return;
  const { sync: told, lease } = answer.reply;
  const known = cluster.polls[host];
  if (known && lease) cluster.polls[host] = { ...known, electorateVersion: lease.electorateVersion };
  const last = cluster.polls[host];
  if (!told || !last?.server) return;
  cluster.polls[host] = { ...last, syncSeen: told.version, server: { ...last.server, sync: told } };
}

/** db1 reigns in epoch 1, its replicas stream; nobody's server goes by a set yet. */
export function synchronous(syncPolicy: Partial<SyncPolicy> = {}): Cluster {
  const cluster = createdCluster();
  // Its coordinator has been there for a lease: a younger one suspects nobody.
  pass(cluster, DEFAULT_SETTINGS.ttlMs);
  const { members } = cluster.state.durable;
  const created = Object.entries(members).map(([name, record]) => [name, { ...record, sinceWallMs: cluster.atMs }]);
  setDurable(cluster, { members: Object.fromEntries(created) as typeof members });
  setDurable(cluster, { durability: "sync", syncPolicy: { k: 1, onLoss: "block", ...syncPolicy } });
  for (const host of REPLICAS) talk(cluster, host, { server: { receiver: { state: "streaming", upstream: null } } });
  talk(cluster, "db1", { server: { phase: "observing", report: WRITABLE } });
  pass(cluster, 50);
  talk(cluster, "db1", openPatch(1));
  for (const host of REPLICAS) talk(cluster, host, streamingPatch("db1"));
  return cluster;
}

/** The streams of these replicas have ended, and they say so twice: what counts is what was looked at after the reign's end. */
export function endStreams(cluster: Cluster, hosts: readonly string[] = REPLICAS): void {
  for (let turn = 0; turn < 2; turn += 1)
    for (const host of hosts) talk(cluster, host, { server: { receiver: { state: "ended", upstream: "db1" } } });
}

/** Everybody who is not named polls once a second, four times. */
export function round(cluster: Cluster, silent: readonly string[] = []): void {
  for (let turn = 0; turn < 4; turn += 1) {
    pass(cluster, 1_000);
    for (const host of ["db1", ...REPLICAS]) if (!silent.includes(host)) talk(cluster, host);
  }
}

/** The sets that a failover asks about, oldest first. */
export function setsOf({ state }: Cluster): { k: number; members: string[]; isTaken: boolean }[] {
  return state.durable.syncSets.map(({ k, members, from }) => ({
    k,
    members: members.map(({ name }) => name),
    isTaken: from !== null,
  }));
}

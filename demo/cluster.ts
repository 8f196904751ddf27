/** A whole dataservice on one machine: a coordinator, three members with their agents, and a host with the connector. */
import { execFile } from "node:child_process";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { pino } from "pino";
import type { Status } from "#shared/protocol/api.ts";
import { PostgresEngine } from "../agent/engine/postgres/postgres-engine.ts";
import type { Client } from "../cli/client.ts";
import { clientFor, startCoordinator, type DemoCoordinator } from "./coordinator.ts";
import { DemoHost } from "./host.ts";
import { fixedPorts } from "./ports.ts";
import {
  createCluster,
  demoAccount,
  preparePostgres,
  type Account,
  type DemoMember,
  type SharedMemory,
} from "./postgres.ts";
import { until, type Look } from "./until.ts";
import { clearDirectory, joinSharedMemory } from "./workshop.ts";

export const DATASERVICE = "alpha";
export const MEMBERS = ["db1", "db2", "db3"] as const;
export const FIRST_PRIMARY = "db1";
export const ROUTER = "app1";
export const HOLD_TIMEOUT_MS = 15_000;

/** A visitor may play for longer than the default budget of failovers lasts. */
const BUDGET = 1_000;
const COPY_TIMEOUT_MS = 30_000;
const SERVER_START_MS = 30_000;
const ONLINE_MS = 60_000;
const LOOK_EVERY_MS = 50;
const NOTE_EVERY_MS = 1_000;
const copy = promisify(execFile);

/** What every run begins with: the binaries, and a stopped cluster to copy. */
export interface Pristine {
  binDirectory: string;
  account: Account;
  members: DemoMember[];
}

/** Prepares it in the workshop; once for all runs. */
export async function preparePristine(workshop: string): Promise<Pristine> {
  const account = await demoAccount();
  const { binDirectory } = await preparePostgres(workshop);
  const ports = await fixedPorts(MEMBERS.length);
  const members = MEMBERS.map((name, index) => ({ name, port: ports[index] ?? 0 }));
  const directory = makeDirectory(join(workshop, "pristine"));
  return { binDirectory, account, members: await createCluster({ binDirectory, directory, members, account }) };
}

/** Brings the servers up, in whatever state the agents are to find them. */
export type StartServers = (members: readonly DemoMember[], pristine: Pristine) => Promise<void>;

export class DemoCluster {
  readonly directory: string;
  readonly hosts: ReadonlyMap<string, DemoHost>;
  readonly coordinator: DemoCoordinator;
  readonly connectorPort: number;
  readonly client: Client;
  readonly #ended: AbortController;
  readonly #notes: NodeJS.Timeout;
  #end: Promise<string[]> | null = null;

  private constructor(parts: Pick<DemoCluster, "directory" | "hosts" | "coordinator" | "connectorPort">) {
    this.directory = parts.directory;
    this.hosts = parts.hosts;
    this.coordinator = parts.coordinator;
    this.connectorPort = parts.connectorPort;
    this.#ended = new AbortController();
    this.client = clientFor(parts.coordinator.url, parts.coordinator.adminToken, this.#ended.signal);
    // What a server holds can only be asked while it lives, and anybody may kill it.
    this.#notes = setInterval(() => this.#noteSharedMemory(), NOTE_EVERY_MS);
  }

  /**
   * Copies the pristine members into `directory`, and starts everything. The dataservice is being founded when this
   * returns. `startServers` is what happens before there is any agent: as a rule all servers start read-only.
   */
  static async start(
    directory: string,
    pristine: Pristine,
    startServers: StartServers = startReadOnly,
  ): Promise<DemoCluster> {
    makeDirectory(directory);
    const members = await cloneMembers(directory, pristine);
    const [coordinator, [connectorPort = 0]] = await Promise.all([
      startCoordinator(join(directory, "coordinator")),
      fixedPorts(1),
      startServers(members, pristine),
    ]);
    const tokens = await createDataservice(coordinator);
    const hosts = [...members.map(({ name }) => name), ROUTER].map((name) => {
      const member = members.find((each) => each.name === name);
      return new DemoHost({
        name,
        dataservice: DATASERVICE,
        directory: join(directory, `${name}-agent`),
        coordinatorUrl: coordinator.url,
        token: tokens.get(name) ?? "",
        server: member ? { member, binDirectory: pristine.binDirectory, account: pristine.account } : null,
        connector: name === ROUTER ? { port: connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS } : null,
      });
    });
    const cluster = new DemoCluster({
      directory,
      coordinator,
      connectorPort,
      hosts: new Map(hosts.map((host) => [host.name, host])),
    });
    await Promise.all(hosts.map((host) => host.startAgent()));
    return cluster;
  }

  /** Throws an Error that names the hosts there are. */
  host(name: string): DemoHost {
    const host = this.hosts.get(name);
    if (!host) throw new Error(`there is no host '${name}': the hosts are ${[...this.hosts.keys()].join(", ")}`);
    return host;
  }

  /** Every member's server, for those who go straight to it. */
  get servers(): { member: string; port: number }[] {
    return [...this.hosts.values()].flatMap(({ name, plan }) =>
      plan.server ? [{ member: name, port: plan.server.member.port }] : [],
    );
  }

  status(): Promise<Status> {
    return this.client.status(DATASERVICE);
  }

  /** Waits until a primary lives in an epoch after `afterEpoch`. */
  untilPrimary({ afterEpoch, deadlineMs = ONLINE_MS }: { afterEpoch: number; deadlineMs?: number }): Promise<Status> {
    return this.#untilStatus("a primary", deadlineMs, (status) => {
      if (status.primary === null) return { missing: "there is none" };
      if (status.epoch <= afterEpoch) return { missing: `it is still '${status.primary}' of epoch ${status.epoch}` };
      return { found: status };
    });
  }

  /** Waits until all but the excused are ONLINE: a primary, replicas that stream from it, and the connector. */
  untilOnline(excused: (status: Status) => readonly string[] = () => [], deadlineMs = ONLINE_MS): Promise<Status> {
    return this.#untilStatus("the whole dataservice ONLINE", deadlineMs, (status) => {
      const missing = missingOf(status, excused(status));
      return missing.length === 0 ? { found: status } : { missing: missing.join("; ") };
    });
  }

  /** Ends everything and removes it, once. Returns what is left in spite of that. */
  end(): Promise<string[]> {
    this.#end ??= this.#takeDown();
    return this.#end;
  }

  async #takeDown(): Promise<string[]> {
    clearInterval(this.#notes);
    this.#ended.abort();
    this.#noteSharedMemory();
    const hosts = [...this.hosts.values()];
    await Promise.all([...hosts.map((host) => host.endAgent()), this.coordinator.end()]);
    const none: SharedMemory = { files: [], segments: [] };
    return clearDirectory(this.directory, hosts.map((host) => host.sharedMemory).reduce(joinSharedMemory, none));
  }

  #untilStatus<T>(what: string, deadlineMs: number, judge: (status: Status) => Look<T>): Promise<T> {
    return until(what, { deadlineMs, everyMs: LOOK_EVERY_MS }, async () => {
      try {
        return judge(await this.status());
      } catch (error) {
        return { missing: (error as Error).message };
      }
    });
  }

  #noteSharedMemory(): void {
    for (const host of this.hosts.values()) host.noteSharedMemory();
  }
}

/** Passed through by every account, listed by its owner alone. */
function makeDirectory(path: string): string {
  mkdirSync(path, { mode: 0o711 });
  return path;
}

async function cloneMembers(directory: string, { members, account }: Pristine): Promise<DemoMember[]> {
  return Promise.all(
    members.map(async (member) => {
      const home = join(directory, member.name);
      const clone = {
        ...member,
        dataDirectory: join(home, "data"),
        socketDirectory: join(home, "socket"),
        logFile: join(home, "postgres.log"),
      };
      for (const path of [home, clone.socketDirectory]) {
        mkdirSync(path, { mode: 0o700 });
        if (account) chownSync(path, account.uid, account.gid);
      }
      await copy("cp", ["-a", "--reflink=auto", member.dataDirectory, clone.dataDirectory], {
        timeout: COPY_TIMEOUT_MS,
      });
      return clone;
    }),
  );
}

/** Starts servers as an operator would before there is an agent: read-only. */
export async function startReadOnly(
  members: readonly DemoMember[],
  pristine: Pick<Pristine, "binDirectory" | "account">,
): Promise<void> {
  await Promise.all(members.map((member) => startServer(member, pristine)));
}

/** Until founded, agents only observe: they start nothing. */
async function startServer(
  member: DemoMember,
  { binDirectory, account }: Pick<Pristine, "binDirectory" | "account">,
): Promise<void> {
  const engine = new PostgresEngine({
    dataDirectory: member.dataDirectory,
    binDirectory,
    socketDirectory: member.socketDirectory,
    listenHost: member.host,
    port: member.port,
    user: "postgres",
    database: "postgres",
    replicationUser: "postgres",
    passwordFile: null,
    applicationName: member.name,
    runAs: account,
    probeTimeoutMs: 1_000,
    logFile: member.logFile,
    log: pino({ level: "silent" }),
  });
  const outcome = await engine.start(SERVER_START_MS);
  await engine.close();
  if (!outcome.ok) throw new Error(`the server of ${member.name} does not start (${outcome.code}): ${outcome.detail}`);
}

async function createDataservice(coordinator: DemoCoordinator): Promise<Map<string, string>> {
  const client = clientFor(coordinator.url, coordinator.adminToken, AbortSignal.timeout(COPY_TIMEOUT_MS));
  const { tokens } = await client.create({
    name: DATASERVICE,
    members: MEMBERS.map((name) => ({ name })),
    primary: FIRST_PRIMARY,
    routers: [ROUTER],
    settings: { budget: BUDGET },
  });
  return new Map(tokens.map(({ host, token }) => [host, token]));
}

function missingOf(status: Status, except: readonly string[]): string[] {
  if (!status.founded) return ["it is not founded yet"];
  if (status.primary === null) return ["there is no primary"];
  const members = status.datasources
    .filter(({ member }) => !except.includes(member))
    .filter(({ state, replicator }) => state !== "online" || replicator.state !== "online")
    .map(({ member, state, replicator }) => `${member} is ${state}, its replicator ${replicator.state}`);
  const router = status.routers.find(({ host }) => host === ROUTER)?.state ?? "not heard of";
  const isRouterMissing = router !== "online" && !except.includes(ROUTER);
  return isRouterMissing ? [...members, `the connector of ${ROUTER} is ${router}`] : members;
}

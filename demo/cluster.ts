/** A whole dataservice on one machine: a coordinator, three members with their agents, and a host with the connector. */
import { join } from "node:path";
import type { Settings } from "#shared/domain/settings.ts";
import type { Status } from "#shared/protocol/api.ts";
import type { Client } from "../cli/client.ts";
import type { KernelDoor } from "./agent-config.ts";
import { clientFor, DemoCoordinator } from "./coordinator.ts";
import { DemoHost } from "./host.ts";
import { fixedPorts } from "./ports.ts";
import type { DemoMember, SharedMemory } from "./postgres.ts";
import { cloneMembers, makeDirectory, MEMBERS, type Pristine } from "./pristine.ts";
import { runRex, type Ended } from "./rex.ts";
import { startReadOnly } from "./server.ts";
import { createToken } from "./tokens.ts";
import { until, type Look } from "./until.ts";
import { clearDirectory, joinSharedMemory } from "./workshop.ts";

export const DATASERVICE = "alpha";
export const FIRST_PRIMARY = MEMBERS[0];
export const ROUTER = "app1";
export const HOLD_TIMEOUT_MS = 15_000;

/** A visitor may play for longer than the default budget of failovers lasts. */
const BUDGET = 1_000;
const CREATE_MS = 30_000;
const ONLINE_MS = 60_000;
const LOOK_EVERY_MS = 50;
const NOTE_EVERY_MS = 1_000;
/** A command may follow a whole switch or recovery. */
const REX_MS = 120_000;

/** Brings the servers up, in whatever state the agents are to find them. */
export type StartServers = (members: readonly DemoMember[], pristine: Pristine) => Promise<void>;

/** What the dataservice is created with otherwise than by default. */
export interface CreateOptions {
  durability?: "async" | "sync";
  sync?: { k: number; onLoss: "block" | "degrade" };
  settings?: Partial<Settings>;
}

export interface StartOptions {
  startServers?: StartServers | undefined;
  create?: CreateOptions;
  kernelDoor?: KernelDoor | undefined;
}

export class DemoCluster {
  readonly directory: string;
  readonly hosts: ReadonlyMap<string, DemoHost>;
  readonly coordinator: DemoCoordinator;
  readonly connectorPort: number;
  /** Where readers find a replica. */
  readonly readOnlyPort: number;
  readonly client: Client;
  readonly #ended: AbortController;
  readonly #notes: NodeJS.Timeout;
  #end: Promise<string[]> | null = null;

  private constructor(
    parts: Pick<DemoCluster, "directory" | "hosts" | "coordinator" | "connectorPort" | "readOnlyPort">,
  ) {
    this.directory = parts.directory;
    this.hosts = parts.hosts;
    this.coordinator = parts.coordinator;
    this.connectorPort = parts.connectorPort;
    this.readOnlyPort = parts.readOnlyPort;
    this.#ended = new AbortController();
    this.client = clientFor(parts.coordinator.url, parts.coordinator.adminToken, this.#ended.signal);
    // What a server holds can only be asked while it lives, and anybody may kill it.
    this.#notes = setInterval(() => this.#noteSharedMemory(), NOTE_EVERY_MS);
  }

  /**
   * Copies the pristine members into `directory`, and starts everything. The dataservice is being founded when this
   * returns.
   */
  static async start(
    directory: string,
    pristine: Pristine,
    { startServers = startReadOnly, create = {}, kernelDoor }: StartOptions = {},
  ): Promise<DemoCluster> {
    const { binDirectory, account, cloneCommand } = pristine;
    makeDirectory(directory);
    const members = await cloneMembers(directory, pristine);
    const [coordinator, [connectorPort = 0, readOnlyPort = 0]] = await Promise.all([
      DemoCoordinator.start(join(directory, "coordinator")),
      fixedPorts(2),
      startServers(members, pristine),
    ]);
    const tokens = await createDataservice(coordinator, create);
    const hosts = [...members.map(({ name }) => name), ROUTER].map((name) => {
      const member = members.find((each) => each.name === name);
      return new DemoHost({
        name,
        dataservice: DATASERVICE,
        directory: join(directory, `${name}-agent`),
        coordinatorUrl: coordinator.url,
        token: tokens.get(name) ?? "",
        server: member ? { member, binDirectory, account, cloneCommand, kernelDoor } : null,
        connector: name === ROUTER ? { port: connectorPort, readOnlyPort, holdTimeoutMs: HOLD_TIMEOUT_MS } : null,
      });
    });
    const cluster = new DemoCluster({
      directory,
      coordinator,
      connectorPort,
      readOnlyPort,
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

  /** Runs the console as a process of its own, by default with all rights. */
  rex(words: readonly string[], { stdin, token }: { stdin?: string; token?: string } = {}): Promise<Ended> {
    return runRex(words, {
      environment: this.rexEnvironment(token),
      timeoutMs: REX_MS,
      ...(stdin === undefined ? {} : { stdin }),
    });
  }

  /** The text of a new token that may operate, or only look. */
  async createToken(kind: "operator" | "viewer", label?: string): Promise<string> {
    const { url, adminToken } = this.coordinator;
    const spec = { kind, ...(label === undefined ? {} : { label }) };
    return (await createToken({ url, adminToken, dataservice: DATASERVICE }, spec)).token;
  }

  /** What a console finds this dataservice by. */
  rexEnvironment(token = this.coordinator.adminToken): Record<string, string> {
    return { REX_URL: this.coordinator.url, REX_TOKEN: token, REX_SERVICE: DATASERVICE };
  }

  /** Waits until a primary lives in an epoch after `afterEpoch`. */
  untilPrimary({ afterEpoch, deadlineMs = ONLINE_MS }: { afterEpoch: number; deadlineMs?: number }): Promise<Status> {
    return this.#untilStatus("a primary", deadlineMs, (status) => {
      if (status.primary === null) return { missing: "there is none" };
      if (status.epoch <= afterEpoch) return { missing: `it is still '${status.primary}' of epoch ${status.epoch}` };
      return { found: status };
    });
  }

  /** Waits until a failover has to ask only those who acknowledge now; in asynchronous mode that is so at once. */
  untilSettled(deadlineMs = ONLINE_MS): Promise<Status> {
    return this.#untilStatus("a settled sync set", deadlineMs, (status) =>
      status.durability.settled ? { found: status } : { missing: JSON.stringify(status.durability) },
    );
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

async function createDataservice(coordinator: DemoCoordinator, create: CreateOptions): Promise<Map<string, string>> {
  const client = clientFor(coordinator.url, coordinator.adminToken, AbortSignal.timeout(CREATE_MS));
  const { tokens } = await client.create({
    name: DATASERVICE,
    members: MEMBERS.map((name) => ({ name })),
    primary: FIRST_PRIMARY,
    routers: [ROUTER],
    ...create,
    settings: { budget: BUDGET, ...create.settings },
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

/** One host of the demo: its agent and guardian as processes, and its server where it carries one. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serverProcesses } from "../agent/engine/postgres/processes.ts";
import { agentConfig, STATE_DIRECTORY, type HostPlan } from "./agent-config.ts";
import { OwnedChild } from "./child.ts";
import { freezeAll, thawAll } from "./frost.ts";
import { sharedMemoryOf, type SharedMemory } from "./postgres.ts";
import { REX } from "./rex.ts";
import { launchServer, stopServer, type StopMode } from "./server.ts";
import { until } from "./until.ts";
import { guardianIn, joinSharedMemory, killProcess } from "./workshop.ts";

const END_GRACE_MS = 3_000;
const KILL_DEADLINE_MS = 20_000;
const KILL_LOOK_MS = 2;
const SERVER_START_MS = 30_000;
const SERVER_LOOK_MS = 20;

export class DemoHost {
  readonly name: string;
  readonly plan: HostPlan;
  /** What its servers held when it was last looked at. */
  sharedMemory: SharedMemory = { files: [], segments: [] };
  #agent: OwnedChild | null = null;
  #isFrozen = false;

  /** Writes the agent's configuration; starts nothing. */
  constructor(plan: HostPlan) {
    this.name = plan.name;
    this.plan = plan;
    mkdirSync(plan.directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(plan.directory, "token"), `${plan.token}\n`, { mode: 0o600 });
    writeFileSync(this.configPath, agentConfig(plan), { mode: 0o600 });
  }

  get configPath(): string {
    return join(this.plan.directory, "agent.toml");
  }

  get isAgentRunning(): boolean {
    return this.#agent?.isRunning ?? false;
  }

  get agentPid(): number | null {
    return this.isAgentRunning ? (this.#agent?.pid ?? null) : null;
  }

  /** The process that holds the lease's deadline when the agent cannot; null where there is none. */
  get guardianPid(): number | null {
    return guardianIn(join(this.plan.directory, STATE_DIRECTORY));
  }

  /** The processes of its server. */
  get servers(): number[] {
    return this.plan.server ? serverProcesses(this.plan.server.member.dataDirectory) : [];
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  async startAgent(): Promise<void> {
    const { directory, name } = this.plan;
    this.#agent = await OwnedChild.start({
      name: `the agent of ${name}`,
      command: process.execPath,
      args: [REX, "agent", "--config", this.configPath],
      cwd: directory,
      logFile: join(directory, "agent.log"),
    });
  }

  /** The agent speaks to its coordinator at another address from now on: it is restarted for that. */
  async reachCoordinatorAt(url: string): Promise<void> {
    writeFileSync(this.configPath, agentConfig({ ...this.plan, coordinatorUrl: url }), { mode: 0o600 });
    await this.#agent?.end(END_GRACE_MS);
    await this.startAgent();
  }

  /** Why the agent is gone, with the end of its log; null while it runs. */
  async agentFailure(): Promise<string | null> {
    if (!this.#agent || this.#agent.isRunning) return null;
    return `${this.#agent.name} ended (${await this.#agent.ended}):\n${this.#agent.logTail()}`;
  }

  /** SIGKILL to every process of the server, and to nothing else. Returns how many there were. */
  async kill(): Promise<number> {
    this.noteSharedMemory();
    const killed = new Set<number>();
    // The postmaster may have forked once more between the look and its death.
    await until(`killing the server of ${this.name}`, { deadlineMs: KILL_DEADLINE_MS, everyMs: KILL_LOOK_MS }, () => {
      const pids = this.servers;
      for (const pid of pids) {
        killProcess(pid);
        killed.add(pid);
      }
      return pids.length === 0 ? { found: true } : { missing: `processes ${pids.join(", ")} are still there` };
    });
    return killed.size;
  }

  /** The host goes down: agent, guardian and server. Returns how many processes of the server there were. */
  async crash(): Promise<number> {
    this.killAgent();
    this.killGuardian();
    const killed = await this.kill();
    await this.#agent?.ended;
    this.#isFrozen = false;
    return killed;
  }

  /** SIGKILL to the agent alone: its guardian and its server live on. */
  killAgent(): void {
    this.#agent?.kill();
  }

  /** SIGKILL to the guardian alone; an agent that lives starts another. */
  killGuardian(): void {
    const pid = this.guardianPid;
    if (pid !== null) killProcess(pid);
  }

  /** SIGKILL to agent and guardian: nobody on the host fences the server any more. */
  killAgents(): void {
    this.killAgent();
    this.killGuardian();
  }

  /** SIGSTOP to everything on the host, as if its machine had been paused. Returns how many processes stand still. */
  async freeze(): Promise<number> {
    this.noteSharedMemory();
    this.#isFrozen = true;
    return (await freezeAll(`freezing ${this.name}`, () => this.#processes())).length;
  }

  /** SIGCONT to everything on the host, in random order. */
  thaw(): void {
    thawAll(this.#processes());
    this.#isFrozen = false;
  }

  /**
   * Brings the host back. An agent starts the server, read-only, when it comes up; one that runs beside a stopped server
   * is therefore started anew. Returns what was done, in words.
   */
  async start(): Promise<string> {
    if (this.isAgentRunning && (!this.plan.server || this.servers.length > 0)) return `${this.name} is up already`;
    const wasRunning = this.isAgentRunning;
    if (wasRunning) await this.#agent?.end(END_GRACE_MS);
    await this.startAgent();
    const done = `the agent of ${this.name} was ${wasRunning ? "started anew" : "started"}`;
    if (!this.plan.server) return done;
    await this.#untilServerStarted();
    return `${done}, and has started the server, read-only`;
  }

  async #untilServerStarted(): Promise<void> {
    await until(`the server of ${this.name}`, { deadlineMs: SERVER_START_MS, everyMs: SERVER_LOOK_MS }, async () => {
      const failure = await this.agentFailure();
      if (failure !== null) throw new Error(failure);
      return this.servers.length > 0 ? { found: true } : { missing: "its agent has not started it" };
    });
  }

  /** Starts the server by hand: see `launchServer`. */
  async launchServer(): Promise<void> {
    const server = this.#serverOrThrow();
    await launchServer(server.member, server);
  }

  /** Stops the server by hand, as `pg_ctl stop` would. */
  async stopServer(mode: StopMode = "fast"): Promise<void> {
    this.noteSharedMemory();
    await stopServer(this.#serverOrThrow().member, mode);
  }

  /** Ends the agent as an operator would: its guardian and its server stay. */
  async endAgent(): Promise<void> {
    // Whoever stands still hears no request.
    if (this.#isFrozen) this.killAgent();
    await this.#agent?.end(END_GRACE_MS);
  }

  noteSharedMemory(): void {
    if (!this.plan.server) return;
    this.sharedMemory = joinSharedMemory(this.sharedMemory, sharedMemoryOf(this.plan.server.member.dataDirectory));
  }

  #processes(): number[] {
    return [this.agentPid, this.guardianPid].filter((pid) => pid !== null).concat(this.servers);
  }

  #serverOrThrow(): NonNullable<HostPlan["server"]> {
    if (!this.plan.server) throw new Error(`${this.name} carries no database server: name a member`);
    return this.plan.server;
  }
}

/** One host of the demo: its agent as a process, and its server where it carries one. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serverProcesses } from "../agent/engine/postgres/processes.ts";
import { OwnedChild } from "./child.ts";
import { REX } from "./coordinator.ts";
import { sharedMemoryOf, type Account, type DemoMember, type SharedMemory } from "./postgres.ts";
import { until } from "./until.ts";
import { joinSharedMemory, killProcess } from "./workshop.ts";

const END_GRACE_MS = 3_000;
const KILL_DEADLINE_MS = 5_000;
const KILL_LOOK_MS = 2;
const SERVER_START_MS = 15_000;
const SERVER_LOOK_MS = 20;

export interface HostPlan {
  name: string;
  dataservice: string;
  /** Of the host's own files. */
  directory: string;
  coordinatorUrl: string;
  token: string;
  server: { member: DemoMember; binDirectory: string; account: Account } | null;
  connector: { port: number; holdTimeoutMs: number } | null;
}

export class DemoHost {
  readonly name: string;
  readonly plan: HostPlan;
  /** What its servers held when it was last looked at. */
  sharedMemory: SharedMemory = { files: [], segments: [] };
  #agent: OwnedChild | null = null;

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

  /** The processes of its server. */
  get servers(): number[] {
    return this.plan.server ? serverProcesses(this.plan.server.member.dataDirectory) : [];
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

  /** Why the agent is gone, with the end of its log; null while it runs. */
  async agentFailure(): Promise<string | null> {
    if (!this.#agent || this.#agent.isRunning) return null;
    return `${this.#agent.name} ended (${await this.#agent.ended}):\n${this.#agent.logTail()}`;
  }

  /** SIGKILL to every process of the server. Returns how many there were. */
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

  /** The host goes down: the agent first, and the server with it. Returns how many processes of the server there were. */
  async crash(): Promise<number> {
    this.#agent?.kill();
    const killed = await this.kill();
    await this.#agent?.ended;
    return killed;
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

  async endAgent(): Promise<void> {
    await this.#agent?.end(END_GRACE_MS);
  }

  noteSharedMemory(): void {
    if (!this.plan.server) return;
    this.sharedMemory = joinSharedMemory(this.sharedMemory, sharedMemoryOf(this.plan.server.member.dataDirectory));
  }
}

/** The agent's configuration file. Text is quoted as JSON, which TOML reads alike. */
export function agentConfig(plan: HostPlan): string {
  const { server, connector } = plan;
  const lines = [
    `dataservice = ${JSON.stringify(plan.dataservice)}`,
    `host = ${JSON.stringify(plan.name)}`,
    `coordinator = ${JSON.stringify(plan.coordinatorUrl)}`,
    `token_file = "token"`,
    `state_directory = "state"`,
  ];
  if (server) {
    const { member, binDirectory, account } = server;
    lines.push(
      "",
      "[server]",
      `data_directory = ${JSON.stringify(member.dataDirectory)}`,
      `bin_directory = ${JSON.stringify(binDirectory)}`,
      `socket_directory = ${JSON.stringify(member.socketDirectory)}`,
      `host = ${JSON.stringify(member.host)}`,
      `port = ${member.port}`,
      `log_file = ${JSON.stringify(member.logFile)}`,
      ...(account ? [`run_as = "nobody"`] : []),
    );
  }
  if (connector)
    lines.push("", "[connector]", `port = ${connector.port}`, `hold_timeout_ms = ${connector.holdTimeoutMs}`);
  return `${lines.join("\n")}\n`;
}

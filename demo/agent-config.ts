/** What a host of the demo is, and the configuration file of its agent. */
import type { Account, DemoMember } from "./postgres.ts";

export type KernelDoor = "auto" | "off" | "require";

export interface HostPlan {
  name: string;
  dataservice: string;
  /** Of the host's own files. */
  directory: string;
  coordinatorUrl: string;
  token: string;
  /** Without a clone command a diverged server is not laid out anew. */
  server: {
    member: DemoMember;
    binDirectory: string;
    account: Account;
    cloneCommand?: string;
    /** The agent's own choice when left out. */
    kernelDoor?: KernelDoor | undefined;
  } | null;
  /** Without a port for readers there is no such door. */
  connector: { port: number; readOnlyPort?: number; holdTimeoutMs: number } | null;
}

/** Where the agent keeps its state, beside its configuration file. */
export const STATE_DIRECTORY = "state";

/** The agent's configuration file. Text is quoted as JSON, which TOML reads alike. */
export function agentConfig(plan: HostPlan): string {
  const { server, connector } = plan;
  const lines = [
    `dataservice = ${JSON.stringify(plan.dataservice)}`,
    `host = ${JSON.stringify(plan.name)}`,
    `coordinator = ${JSON.stringify(plan.coordinatorUrl)}`,
    `token_file = "token"`,
    `state_directory = "${STATE_DIRECTORY}"`,
    ...(server ? serverTable(server) : []),
    ...(connector ? connectorTable(connector) : []),
  ];
  return `${lines.join("\n")}\n`;
}

function serverTable(server: NonNullable<HostPlan["server"]>): string[] {
  const { member, binDirectory, account, cloneCommand, kernelDoor } = server;
  return [
    "",
    "[server]",
    `data_directory = ${JSON.stringify(member.dataDirectory)}`,
    `bin_directory = ${JSON.stringify(binDirectory)}`,
    `socket_directory = ${JSON.stringify(member.socketDirectory)}`,
    `host = ${JSON.stringify(member.host)}`,
    `port = ${member.port}`,
    `log_file = ${JSON.stringify(member.logFile)}`,
    ...(kernelDoor === undefined ? [] : [`kernel_door = "${kernelDoor}"`]),
    ...(account ? [`run_as = "nobody"`] : []),
    ...(cloneCommand === undefined ? [] : [`rebuild = "clone"`, `clone_command = ${JSON.stringify(cloneCommand)}`]),
  ];
}

function connectorTable({ port, readOnlyPort, holdTimeoutMs }: NonNullable<HostPlan["connector"]>): string[] {
  return [
    "",
    "[connector]",
    `port = ${port}`,
    ...(readOnlyPort === undefined ? [] : [`read_only_port = ${readOnlyPort}`]),
    `hold_timeout_ms = ${holdTimeoutMs}`,
  ];
}

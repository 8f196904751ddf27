/** Whether there can be a kernel door on this host, and what an agent begins with. */
import { readlinkSync, statSync } from "node:fs";
import type { Logger } from "pino";
import type { LeaseDoor } from "#shared/core/member/state.ts";
import { readClocks } from "../clocks.ts";
import { ConfigError, type AgentConfig, type ServerConfig } from "../config.ts";
import type { EngineCheck } from "../engine/engine.ts";
import { postmasterSeen } from "../engine/postgres/processes.ts";
import { KernelDoor, type DoorPort } from "./kernel-door.ts";
import { doorTable } from "./ruleset.ts";

interface FoundDoor {
  port: DoorPort;
  /** What the member's machine begins with: nothing is known of a door that an earlier agent may have left. */
  asFound: LeaseDoor;
}

/** The door of a server; null where the kernel knows of none. Throws a ConfigError where one is required and cannot be. */
export async function findDoor(config: AgentConfig, server: ServerConfig, log: Logger): Promise<FoundDoor | null> {
  const door = doorOf(config, server);
  const { why, canWork } = await judge(door, server);
  const isRequired = server.kernel_door === "require";
  if (why !== null && isRequired) throw new ConfigError([`server.kernel_door = "require": ${why}`]);
  if (why !== null && server.kernel_door === "auto") log.warn({ why }, "no kernel door: going on without");
  if (!canWork) return null;
  const isAble = why === null && server.kernel_door !== "off";
  return { port: door, asFound: { isAble, isRequired, asked: null, askedId: 0, stands: null } };
}

/** A line of `--check`. */
export async function checkDoor(config: AgentConfig, server: ServerConfig): Promise<EngineCheck> {
  const name = "kernel door";
  const door = doorOf(config, server);
  const table = `table inet ${doorTable({ ...config, port: server.port })}`;
  if (server.kernel_door === "off") return { name, ok: true, detail: `switched off by server.kernel_door` };
  const { why } = await judge(door, server);
  if (why === null) return { name, ok: true, detail: `${table} shuts the server's port when the lease ends` };
  const without = "going on without, a failover from a silent host waits for the fence, fence_ms";
  return { name, ok: server.kernel_door === "auto", detail: `none, ${without}: ${why}` };
}

function doorOf(config: AgentConfig, server: ServerConfig): KernelDoor {
  return new KernelDoor({ table: doorTable({ ...config, port: server.port }), port: server.port }, readClocks);
}

/** `why`: what stands against counting on a door, null when nothing does; `canWork`: whether there can be one at all. */
async function judge(door: KernelDoor, server: ServerConfig): Promise<{ why: string | null; canWork: boolean }> {
  const outcome = await door.probe();
  if (outcome.ok) return { why: whySocketOpen(server) ?? whyElsewhere(server), canWork: true };
  return { why: whyRefused(outcome), canWork: false };
}

function whyRefused({ code, detail }: { code: string; detail: string }): string {
  switch (code) {
    case "nft-missing":
      return `the program nft is not there (${detail}): install nftables`;
    case "nft-not-started":
      return `the program nft cannot be started (${detail}): give the agent more of what this host is short of`;
    default:
      return `the kernel takes no rules from this account (${detail}): run the agent as root or with CAP_NET_ADMIN`;
  }
}

/** Who comes through the Unix socket passes no door. */
function whySocketOpen({ socket_directory: directory, data_directory }: ServerConfig): string | null {
  try {
    const { uid, mode } = statSync(directory);
    if ((mode & 0o077) === 0 && uid === statSync(data_directory).uid) return null;
    return `${directory} can be entered by others, who would bypass it: give the server's account a directory of mode 700`;
  } catch (error) {
    return `${directory} cannot be read (${(error as NodeJS.ErrnoException).code}): create it with mode 700`;
  }
}

/** A door in another network namespace than the server's is none. */
function whyElsewhere({ data_directory: directory }: ServerConfig): string | null {
  const postmaster = postmasterSeen(directory);
  if (postmaster === null) return null;
  try {
    const [own, its] = ["self", postmaster.pid].map((pid) => readlinkSync(`/proc/${pid}/ns/net`));
    return own === its ? null : "the server lives in another network namespace: run the agent in the same";
  } catch (error) {
    return `the server's network namespace cannot be seen (${(error as NodeJS.ErrnoException).code}): run the agent as root`;
  }
}

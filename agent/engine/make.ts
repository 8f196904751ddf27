/** The engine that a configuration names. */
import { execFileSync } from "node:child_process";
import type { Logger } from "pino";
import { ConfigError, type ServerConfig } from "../config.ts";
import type { Engine } from "./engine.ts";
import type { RebuildOptions } from "./postgres/options.ts";
import { CannotSeeProcesses, serverProcesses } from "./postgres/processes.ts";
import { PostgresEngine } from "./postgres/postgres-engine.ts";

/** Makes the engine of a server section; `host` names this member to its upstream. */
export function makeEngine(server: ServerConfig, host: string, log: Logger): Engine {
  mustSeeProcesses(server.data_directory);
  return new PostgresEngine({
    dataDirectory: server.data_directory,
    binDirectory: server.bin_directory,
    socketDirectory: server.socket_directory,
    listenHost: server.host,
    port: server.port,
    user: server.user,
    database: server.database,
    replicationUser: server.replication_user ?? server.user,
    passwordFile: server.password_file ?? null,
    applicationName: host,
    runAs: server.run_as === undefined ? accountOfRoot() : accountOf(server.run_as),
    probeTimeoutMs: server.probe_timeout_ms,
    logFile: server.log_file,
    rebuild: rebuildOf(server),
    log,
  });
}

function rebuildOf(server: ServerConfig): RebuildOptions | null {
  const { rebuild: kind, clone_command: command = "", keep_directory: keepDirectory } = server;
  switch (kind) {
    case "refuse":
      return null;
    case "rewind":
      return { kind, keepDirectory };
    case "clone":
      return { kind, keepDirectory, command };
  }
}

/** An agent that cannot see its server's processes could never vouch for their end. */
function mustSeeProcesses(dataDirectory: string): void {
  try {
    serverProcesses(dataDirectory);
  } catch (error) {
    if (!(error instanceof CannotSeeProcesses)) throw error;
    throw new ConfigError([`server.data_directory = "${dataDirectory}": ${error.message}`]);
  }
}

/** PostgreSQL refuses to run as root: an agent that does must know to whom to drop. */
function accountOfRoot(): null {
  if (process.getuid?.() === 0) {
    throw new ConfigError([
      `server.run_as is missing: the agent runs as root and the server must not: name its account`,
    ]);
  }
  return null;
}

function accountOf(name: string): { uid: number; gid: number } | null {
  try {
    const uid = Number(
      execFileSync("id", ["-u", name], { encoding: "utf8", timeout: 5_000, stdio: ["ignore", "pipe", "ignore"] }),
    );
    const gid = Number(
      execFileSync("id", ["-g", name], { encoding: "utf8", timeout: 5_000, stdio: ["ignore", "pipe", "ignore"] }),
    );
    return process.getuid?.() === uid ? null : { uid, gid };
  } catch {
    throw new ConfigError([`server.run_as = "${name}": no such account: name the one that owns the data directory`]);
  }
}

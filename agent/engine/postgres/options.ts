/** What an engine must know of its server. */
import type { Logger } from "pino";

/** What may be done with a data directory whose log has diverged. */
export type RebuildOptions = { keepDirectory: string } & (
  | { kind: "rewind" }
  /** `command` is run by `/bin/sh -c` as the server's account. */
  | { kind: "clone"; command: string }
);

export interface PostgresOptions {
  dataDirectory: string;
  /** Where `postgres` itself lies; the wrappers (`pg_ctl`) are not used. */
  binDirectory: string;
  /** The directory of the server's Unix socket: the way the agent itself talks to it. */
  socketDirectory: string;
  /** Where clients and replicas reach this server; `listen_addresses` stays the operator's own setting. */
  listenHost: string;
  port: number;
  /** A superuser role. */
  user: string;
  database: string;
  /** The role that replicas stream as. */
  replicationUser: string;
  /** A libpq password file, readable for the server's account; null where none is needed. */
  passwordFile: string | null;
  /** The member's name: what its stream is called on its upstream. */
  applicationName: string;
  /** The account that the server runs as when the agent runs as root; null to run it as the agent's own. */
  runAs: { uid: number; gid: number } | null;
  probeTimeoutMs: number;
  /** The server's stdout and stderr are appended to this file. */
  logFile: string;
  /** Further arguments of `postgres`, e.g. `["-c", "config_file=..."]` where the configuration lies elsewhere. */
  extraArguments?: string[];
  /** How a diverged data directory may be laid out anew; null or absent to have that refused. */
  rebuild?: RebuildOptions | null;
  log: Logger;
}

/** The kernel's limit for the path of a Unix socket. */
const SOCKET_PATH_BYTES = 107;

/** Where the server listens for its own host. */
export function socketPathOf({ socketDirectory, port }: Pick<PostgresOptions, "socketDirectory" | "port">): string {
  return `${socketDirectory}/.s.PGSQL.${port}`;
}

/** Throws a RangeError that names the field, its value and the remedy. */
export function assertOptions(options: PostgresOptions): void {
  const socket = socketPathOf(options);
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES) {
    throw new RangeError(
      `socketDirectory = "${options.socketDirectory}": ${socket} is longer than ${SOCKET_PATH_BYTES} bytes: use a shorter path`,
    );
  }
}

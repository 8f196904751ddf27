/** The agent's configuration file. Every complaint names the key, its value and the remedy. */
import { readFileSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { parse as parseToml, TomlError } from "smol-toml";
import { z } from "zod";
import { zName } from "#shared/protocol/wire.ts";

const zPort = z.int().min(1, "must be a port, 1 to 65535").max(65_535, "must be a port, 1 to 65535");
/** 0 lets the system choose. */
const zOpenPort = z.int().min(0).max(65_535);
const zText = z.string().min(1, "must not be empty");

const zServer = z.strictObject({
  engine: z.literal("postgres").default("postgres"),
  data_directory: zText,
  bin_directory: zText,
  socket_directory: zText,
  host: zText.default("127.0.0.1"),
  port: zPort,
  user: zText.default("postgres"),
  database: zText.default("postgres"),
  replication_user: zText.optional(),
  password_file: zText.optional(),
  /** The account that the server runs as; needed when the agent runs as root. */
  run_as: zText.optional(),
  log_file: zText,
  /** What an operator's `recover` may do with this server once its log has diverged. */
  rebuild: z.enum(["refuse", "rewind", "clone"]).default("refuse"),
  /** Makes a copy of the primary in $INTERREX_TARGET_DIRECTORY; needed for `rebuild = "clone"`. */
  clone_command: zText.optional(),
  /** Where the log that a rebuild gives up is kept; by default `diverged` in the state directory. */
  keep_directory: zText.optional(),
  probe_timeout_ms: z.int().min(50).max(60_000).default(500),
  /** Whether the kernel ends the right to write with the lease: where it can, never, or nothing is opened without. */
  kernel_door: z.enum(["auto", "off", "require"]).default("auto"),
});

const zConnector = z
  .strictObject({
    host: zText.default("127.0.0.1"),
    port: zOpenPort,
    /** Where readers come in; without it there is no door for them. */
    read_only_port: zOpenPort.optional(),
    hold_timeout_ms: z.int().min(0).max(600_000).default(15_000),
  })
  .refine(({ port, read_only_port }) => port === 0 || port !== read_only_port, {
    path: ["read_only_port"],
    error: "is the port of the writers already: choose another",
  });

const zPeer = z.strictObject({
  /** Where the other agents reach this one; the server's host when left out. */
  host: zText.optional(),
  port: z.int().min(0).max(65_535).default(0),
});

const zConfig = z.strictObject({
  dataservice: zName,
  host: zName,
  coordinator: z.url({ protocol: /^https?$/, error: "must be an http or https address" }),
  token: zText.optional(),
  token_file: zText.optional(),
  state_directory: zText,
  fence_ms: z.int().min(100).max(60_000).default(1_500),
  poll_timeout_ms: z.int().min(50).max(10_000).default(500),
  log_level: z.enum(["debug", "info", "warn", "error"]).default("info"),
  server: zServer.optional(),
  connector: zConnector.optional(),
  peer: zPeer.optional(),
});

const TABLES: Record<string, z.ZodObject | undefined> = { server: zServer, connector: zConnector, peer: zPeer };

export type ServerConfig = z.infer<typeof zServer> & { keep_directory: string };
export type AgentConfig = Omit<z.infer<typeof zConfig>, "token" | "token_file" | "server"> & {
  token: string;
  server?: ServerConfig;
};

/** The configuration cannot be used; one line per complaint. */
export class ConfigError extends Error {
  readonly lines: string[];
  constructor(lines: string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/** Reads and checks a configuration file. Relative paths in it are relative to the file. */
export function readConfig(path: string): AgentConfig {
  const raw = readToml(path);
  const parsed = zConfig.safeParse(raw);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.flatMap((issue) => complaints(path, issue, raw)));
  const { token: inline, token_file, server, ...config } = parsed.data;
  if (!server && !config.connector) {
    throw new ConfigError([`${path}: neither [server] nor [connector] is there: add the one this host carries`]);
  }
  const base = dirname(resolve(path));
  const token = readToken(path, base, inline, token_file);
  const state_directory = within(base, config.state_directory);
  return {
    ...config,
    token,
    state_directory,
    ...(server && { server: placeServer(server, { path, base, state_directory }) }),
  };
}

interface Place {
  path: string;
  base: string;
  state_directory: string;
}

/** The server's section with its paths made whole. */
function placeServer(server: z.infer<typeof zServer>, { path, base, state_directory }: Place): ServerConfig {
  if (server.rebuild === "clone" && server.clone_command === undefined) {
    throw new ConfigError([`${path}: server.rebuild = "clone" needs server.clone_command: add it, ${CLONE_EXAMPLE}`]);
  }
  const data_directory = within(base, server.data_directory);
  const keep_directory = within(base, server.keep_directory ?? join(state_directory, "diverged"));
  if (`${keep_directory}/`.startsWith(`${data_directory}/`)) {
    throw new ConfigError([
      `${path}: server.keep_directory = "${keep_directory}" is in the data directory, which a rebuild replaces: choose one outside`,
    ]);
  }
  return {
    ...server,
    data_directory,
    keep_directory,
    bin_directory: within(base, server.bin_directory),
    socket_directory: within(base, server.socket_directory),
    log_file: within(base, server.log_file),
    ...(server.password_file && { password_file: within(base, server.password_file) }),
  };
}

const CLONE_EXAMPLE = `for example 'pg_basebackup -h "$INTERREX_SOURCE_HOST" -p "$INTERREX_SOURCE_PORT" -U "$INTERREX_SOURCE_USER" -D "$INTERREX_TARGET_DIRECTORY" -X stream -c fast'`;

function within(base: string, path: string): string {
  return isAbsolute(path) ? path : resolve(base, path);
}

function readToml(path: string): unknown {
  try {
    return parseToml(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof TomlError) throw new ConfigError([`${path}:${error.line}: ${error.message.split("\n")[0]}`]);
    throw new ConfigError([`${path}: cannot be read (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`]);
  }
}

function readToken(path: string, base: string, inline: string | undefined, file: string | undefined): string {
  if ((inline === undefined) === (file === undefined)) {
    throw new ConfigError([
      `${path}: give one of token and token_file: the token that creating the dataservice printed`,
    ]);
  }
  if (inline !== undefined) return inline;
  const tokenPath = within(base, file ?? "");
  try {
    if ((statSync(tokenPath).mode & 0o077) !== 0) {
      throw new ConfigError([`${path}: token_file = "${file}" is readable by others: chmod 600 it`]);
    }
    return readFileSync(tokenPath, "utf8").trim();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError([`${path}: token_file = "${file}" cannot be read (${code}): write the agent's token there`]);
  }
}

function complaints(path: string, issue: z.core.$ZodIssue, raw: unknown): string[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => {
      const table = issue.path.join(".");
      const known = Object.keys((TABLES[table] ?? zConfig).shape);
      return `${path}: ${[...issue.path, key].join(".")} is no key of this file: ${suggestion(key, known)}`;
    });
  }
  const key = issue.path.join(".");
  const value = issue.path.reduce<unknown>((at, part) => (at as Record<PropertyKey, unknown> | undefined)?.[part], raw);
  if (value === undefined) return [`${path}: ${key} is missing: add it`];
  const shown = /token|password/.test(key) ? "..." : JSON.stringify(value);
  return [`${path}: ${key} = ${shown}: ${issue.message}`];
}

function suggestion(key: string, known: string[]): string {
  const nearest = closest(key, known);
  return distance(key, nearest) <= 3 ? `did you mean ${nearest}?` : `known are ${known.join(", ")}`;
}

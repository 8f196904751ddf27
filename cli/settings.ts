/** Where the coordinator is and who asks: from flags, then the environment, then the configuration file. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "smol-toml";
import { isName, NAME_RULE } from "#shared/domain/names.ts";
import { failure } from "./failure.ts";

/** The flags that every command takes. */
export interface Flags {
  url?: string;
  token?: string;
  tokenFile?: string;
  service?: string;
  config?: string;
  /** Seconds. */
  timeout?: string;
  /** Seconds. */
  wait?: string;
  json?: boolean;
  yes?: boolean;
}

export interface Settings {
  url: URL | null;
  token: string | null;
  service: string | null;
  /** How long one request may take. */
  requestTimeoutMs: number;
  /** How long an operation is followed. */
  followMs: number;
}

type Environment = Record<string, string | undefined>;

const DEFAULT_TIMEOUT_S = 10;
const DEFAULT_WAIT_S = 120;

/** Resolves the settings; throws a Failure that names the field, its value and the remedy. */
export function resolveSettings(flags: Flags, environment: Environment): Settings {
  const file = readConfig(flags.config);
  const token =
    flags.token ??
    fromFile(flags.tokenFile) ??
    nonEmpty(environment["REX_TOKEN"]) ??
    file.token ??
    fromFile(file.token_file);
  return {
    url: parseUrl(flags.url ?? nonEmpty(environment["REX_URL"]) ?? file.url),
    token: token ?? null,
    service: parseService(
      flags.service ?? nonEmpty(environment["REX_SERVICE"]) ?? file.service ?? serviceOfToken(token),
    ),
    requestTimeoutMs: parseSeconds("--timeout", flags.timeout, DEFAULT_TIMEOUT_S),
    followMs: parseSeconds("--wait", flags.wait, DEFAULT_WAIT_S),
  };
}

/** A duration in milliseconds from a flag in seconds. */
export function parseSeconds(flag: string, text: string | undefined, fallbackS: number): number {
  if (text === undefined) return fallbackS * 1_000;
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value <= 0 || value > 86_400) {
    throw failure("usage", `${flag} is '${text}'`, "give seconds, more than 0 and at most 86400");
  }
  return value * 1_000;
}

/** A token names its dataservice, so that an operator with one need not say it again. */
function serviceOfToken(token: string | undefined): string | undefined {
  const match = /^rex_[a-z]+_([^_]+)_[^_]+_[^_]+$/.exec(token ?? "");
  return match?.[1] !== undefined && isName(match[1]) ? match[1] : undefined;
}

interface ConfigFile {
  url?: string;
  token?: string;
  token_file?: string;
  service?: string;
}

const CONFIG_KEYS = ["url", "token", "token_file", "service"] as const satisfies (keyof ConfigFile)[];

/** Only a file that was asked for must exist. */
function readConfig(named: string | undefined): ConfigFile {
  const path = named ?? join(homedir(), ".config", "rex.toml");
  const text = readText(path, named !== undefined);
  if (text === null) return {};
  const table = parseToml(path, text);
  for (const [key, value] of Object.entries(table)) {
    if (!(CONFIG_KEYS as readonly string[]).includes(key)) {
      throw failure("invalid-configuration", `${path} has an unknown key '${key}'`, `use ${CONFIG_KEYS.join(", ")}`);
    }
    if (typeof value !== "string") {
      throw failure("invalid-configuration", `${key} in ${path} is no text`, `write ${key} = "..."`);
    }
  }
  return table;
}

function parseToml(path: string, text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    // The parser quotes the faulty line, which may hold the token: only the place is told.
    const { line } = error as { line?: number };
    throw failure(
      "invalid-configuration",
      `${path} is no TOML${line === undefined ? "" : ` (line ${line})`}`,
      "correct the line",
    );
  }
}

function fromFile(path: string | undefined): string | undefined {
  return path === undefined ? undefined : nonEmpty(readText(path, true)?.trim());
}

function readText(path: string, isRequired: boolean): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && !isRequired) return null;
    throw failure(
      "invalid-configuration",
      `${path} cannot be read (${code ?? "unknown"})`,
      "name a file that exists and that you may read",
    );
  }
}

function parseUrl(text: string | undefined): URL | null {
  if (text === undefined) return null;
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol)) {
    throw failure(
      "invalid-configuration",
      `the coordinator's url is '${text}'`,
      "give one such as https://rex.example.com",
    );
  }
  return url;
}

function parseService(text: string | undefined): string | null {
  if (text === undefined) return null;
  if (!isName(text)) throw failure("usage", `the dataservice is '${text}'`, `give ${NAME_RULE}`);
  return text;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}

/** A small real HTTP server that speaks the API with fixed pictures, and the console as a real process against it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  zCreate,
  zOperatorCommand,
  zTokenSpec,
  zWebhookSpec,
  type EventLine,
  type OperationStatus,
  type Status,
  type TokenLine,
  type WebhookLine,
} from "#shared/protocol/api.ts";
import { problem } from "#shared/protocol/errors.ts";

export const TOKEN = "rex_operator_alpha_k1_sesame";

/** What one request is answered with. */
export interface Answer {
  status: number;
  body: unknown;
}

export interface ApiServer {
  url: string;
  /** `POST /v1/dataservices {"name":...}`, in order. */
  requests: string[];
  status: Status;
  events: EventLine[];
  /** The operation's pictures, one a request; the last one stays. */
  operation: OperationStatus[];
  tokens: TokenLine[];
  webhooks: WebhookLine[];
  /** Answers instead of the ordinary answer while it gives one; null makes the server hold the request. */
  override: ((request: string) => Answer | null | undefined) | null;
  close(): Promise<void>;
}

export async function startApi(status: Status): Promise<ApiServer> {
  const server = createServer((request, response) => void handle(api, request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const api: ApiServer = {
    url: `http://127.0.0.1:${port}`,
    requests: [],
    status,
    events: [],
    operation: [],
    tokens: [],
    webhooks: [],
    override: null,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return api;
}

async function handle(api: ApiServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  const line = `${request.method} ${request.url}${body && ` ${body}`}`;
  api.requests.push(line);
  const override = api.override?.(line);
  if (override === null) return;
  const isAllowed = request.headers.authorization === `Bearer ${TOKEN}`;
  const answer =
    override ??
    (isAllowed
      ? route(api, `${request.method} ${request.url}`, body)
      : refuse("unauthorized", "the token is not known"));
  response.writeHead(answer.status, { "content-type": "application/json" });
  response.end(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
}

export function refuse(code: Parameters<typeof problem>[0], detail: string): Answer {
  const body = problem(code, detail);
  return { status: body.status, body };
}

function route(api: ApiServer, request: string, body: string): Answer {
  const base = "/v1/dataservices/alpha";
  const [path = ""] = request.split("?");
  switch (path) {
    case `GET ${base}`:
      return { status: 200, body: api.status };
    case `GET ${base}/events`: {
      const after = Number(/after=([0-9]+)/.exec(request)?.[1]);
      // Two a page, so that whoever reads all of them has to ask again.
      const page = api.events.filter(({ id }) => id > after).slice(0, 2);
      return { status: 200, body: { events: page, last: api.events.at(-1)?.id ?? 0 } };
    }
    case `GET ${base}/operations`:
      return { status: 200, body: { operations: api.operation } };
    case `GET ${base}/operations/7`:
      return { status: 200, body: api.operation.length > 1 ? api.operation.shift() : api.operation[0] };
    case `POST ${base}/commands`:
      zOperatorCommand.parse(JSON.parse(body));
      return { status: 202, body: { operation: api.operation.shift() } };
    case "POST /v1/dataservices": {
      const { name, members } = zCreate.parse(JSON.parse(body));
      return {
        status: 201,
        body: {
          name,
          tokens: members.map((member) => ({ host: member.name, token: `rex_agent_${name}_${member.name}_s3cret` })),
        },
      };
    }
    case `GET ${base}/tokens`:
      return { status: 200, body: { tokens: api.tokens } };
    case `POST ${base}/tokens`: {
      const spec = zTokenSpec.parse(JSON.parse(body));
      const line = { host: null, label: null, ...spec, id: "k2", createdWallMs: 0 };
      return { status: 201, body: { ...line, token: `rex_${spec.kind}_alpha_k2_s3cret` } };
    }
    case `GET ${base}/webhooks`:
      return { status: 200, body: { webhooks: api.webhooks } };
    case `POST ${base}/webhooks`: {
      const { url, events = null } = zWebhookSpec.parse(JSON.parse(body));
      return { status: 201, body: { id: "w1", url, events, createdWallMs: 0, secret: "whsec_s3cret" } };
    }
    case `DELETE ${base}/tokens/k2`:
    case `DELETE ${base}/webhooks/w1`:
      return { status: 204, body: "" };
    default:
      return refuse("not-found", `there is no ${request}`);
  }
}

export interface Ended {
  status: number | null;
  out: string;
  err: string;
}

export interface RexOptions {
  /** Standard input; none by default. */
  input?: string;
  environment?: Record<string, string>;
  node?: string;
  /** Sends SIGINT once the output contains this. */
  interruptAt?: string;
  home?: string;
}

/** One compile cache for all: most of a short command's time is compiling. */
const CACHE = mkdtempSync(join(tmpdir(), "rex-cache-"));

export function removeCache(): void {
  rmSync(CACHE, { recursive: true, force: true });
}

const ENTRY = fileURLToPath(new URL("../../cli/rex.mjs", import.meta.url));
const DEADLINE_MS = 20_000;

/** Runs `rex` to its end; killed after the deadline. */
export async function rex(args: string[], options: RexOptions = {}): Promise<Ended> {
  const { PATH = "" } = process.env;
  const child = spawn(options.node ?? process.execPath, [ENTRY, ...args], {
    env: { PATH, HOME: options.home ?? "/nonexistent", XDG_CACHE_HOME: CACHE, ...options.environment },
    timeout: DEADLINE_MS,
    killSignal: "SIGKILL",
  });
  const ended: Ended = { status: null, out: "", err: "" };
  let isInterrupted = false;
  const heard = () => {
    if (isInterrupted || options.interruptAt === undefined || !`${ended.out}${ended.err}`.includes(options.interruptAt))
      return;
    isInterrupted = true;
    child.kill("SIGINT");
  };
  child.stdout.on("data", (chunk: Buffer) => ((ended.out += chunk.toString()), heard()));
  child.stderr.on("data", (chunk: Buffer) => ((ended.err += chunk.toString()), heard()));
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  const [status] = (await once(child, "close")) as [number | null];
  return { ...ended, status };
}

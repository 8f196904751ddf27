/** The HTTP API, asked with deadlines; every refusal and every silence becomes a Failure that says what to do. */
import { z } from "zod";
import {
  zAccepted,
  zCreated,
  zEvents,
  zOperation,
  zStatus,
  zTokenCreated,
  zTokens,
  zWebhookCreated,
  zWebhooks,
} from "#shared/protocol/api.ts";
import type {
  Created,
  Events,
  OperationStatus,
  Status,
  TokenCreated,
  TokenLine,
  TokenSpec,
  WebhookCreated,
  WebhookLine,
  WebhookSpec,
  zCreate,
  zOperatorCommand,
} from "#shared/protocol/api.ts";
import { ERRORS, type ErrorCode } from "#shared/protocol/errors.ts";
import { Failure, failure, REMEDIES } from "./failure.ts";
import type { Settings } from "./settings.ts";

/** What a creation is asked with: defaults may be left out. */
export type CreateRequest = z.input<typeof zCreate>;
/** A command as it is sent: unforced unless it says so. */
export type CommandRequest = z.input<typeof zOperatorCommand>;

export interface Client {
  status(service: string): Promise<Status>;
  /** The next events after the one numbered `after`, a page at most; `last` is the newest there is. */
  events(service: string, after: number): Promise<Events>;
  operations(service: string): Promise<OperationStatus[]>;
  operation(service: string, op: number): Promise<OperationStatus>;
  /** Gives a command; answers the operation that carries it out. */
  command(service: string, command: CommandRequest): Promise<OperationStatus>;
  create(dataservice: CreateRequest): Promise<Created>;
  tokens(service: string): Promise<TokenLine[]>;
  /** The text of the token is in this answer and nowhere else. */
  createToken(service: string, token: TokenSpec): Promise<TokenCreated>;
  revokeToken(service: string, id: string): Promise<void>;
  webhooks(service: string): Promise<WebhookLine[]>;
  /** The secret is in this answer and nowhere else. */
  createWebhook(service: string, webhook: WebhookSpec): Promise<WebhookCreated>;
  deleteWebhook(service: string, id: string): Promise<void>;
}

/** The most that the coordinator gives at once. */
const EVENTS_PAGE = 1_000;

const zOperations = z.strictObject({ operations: z.array(zOperation) });

/** `signal` ends every request that is still under way. */
export function createClient(settings: Settings, signal: AbortSignal): Client {
  const ask = async (request: Request) =>
    parseJson(await send(settings, signal, request), settings.url?.origin ?? "the coordinator");
  const get = (path: string) => ask({ method: "GET", path });
  const post = (path: string, body: unknown) => ask({ method: "POST", path, body });
  const remove = async (path: string) => void (await send(settings, signal, { method: "DELETE", path }));
  const service = (name: string) => `/v1/dataservices/${name}`;
  return {
    status: async (name) => checked(zStatus, await get(service(name))),
    events: async (name, after) =>
      checked(zEvents, await get(`${service(name)}/events?after=${after}&limit=${EVENTS_PAGE}`)),
    operations: async (name) => checked(zOperations, await get(`${service(name)}/operations`)).operations,
    operation: async (name, op) => checked(zOperation, await get(`${service(name)}/operations/${op}`)),
    command: async (name, command) => checked(zAccepted, await post(`${service(name)}/commands`, command)).operation,
    create: async (dataservice) => checked(zCreated, await post("/v1/dataservices", dataservice)),
    tokens: async (name) => checked(zTokens, await get(`${service(name)}/tokens`)).tokens,
    createToken: async (name, token) => checked(zTokenCreated, await post(`${service(name)}/tokens`, token)),
    revokeToken: (name, id) => remove(`${service(name)}/tokens/${encodeURIComponent(id)}`),
    webhooks: async (name) => checked(zWebhooks, await get(`${service(name)}/webhooks`)).webhooks,
    createWebhook: async (name, webhook) => checked(zWebhookCreated, await post(`${service(name)}/webhooks`, webhook)),
    deleteWebhook: (name, id) => remove(`${service(name)}/webhooks/${encodeURIComponent(id)}`),
  };
}

interface Request {
  method: "GET" | "POST" | "DELETE";
  path: string;
  body?: unknown;
}

/** Sends one request; answers the text of a success, throws a Failure for everything else. */
async function send(settings: Settings, signal: AbortSignal, request: Request): Promise<string> {
  const { url } = settings;
  if (!url) {
    throw failure(
      "invalid-configuration",
      "no coordinator is named",
      "give --url, REX_URL, or url in ~/.config/rex.toml",
    );
  }
  const deadline = AbortSignal.timeout(settings.requestTimeoutMs);
  try {
    const response = await fetch(new URL(request.path, url), {
      method: request.method,
      headers: headersFor(settings.token, request),
      body: request.body === undefined ? null : JSON.stringify(request.body),
      // A redirect could carry the token to another host.
      redirect: "error",
      signal: AbortSignal.any([signal, deadline]),
    });
    const text = await response.text();
    if (!response.ok) throw refusal(response.status, text, url);
    return text;
  } catch (error) {
    throw error instanceof Failure
      ? error
      : silence(error, { settings, request, url, isInterrupted: signal.aborted, isLate: deadline.aborted });
  }
}

function headersFor(token: string | null, request: Request): Record<string, string> {
  return {
    accept: "application/json",
    ...(request.body === undefined ? {} : { "content-type": "application/json" }),
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  };
}

/** The Failure for an answer that is no success. */
function refusal(status: number, text: string, url: URL): Failure {
  const problem = zProblem.safeParse(jsonOrNull(text));
  if (!problem.success) {
    return new Failure({
      code: "unexpected-answer",
      detail: `${url.origin} answered with status ${status} and no problem details`,
      remedy:
        status >= 500 ? "try again; see the coordinator's log" : "check --url: it must be a coordinator's address",
      retryable: status >= 500,
    });
  }
  const { code, detail, retryable } = problem.data;
  const isKnown = Object.hasOwn(ERRORS, code);
  return new Failure({
    code: isKnown ? (code as ErrorCode) : "unexpected-answer",
    detail: isKnown ? detail : `${code}: ${detail}`,
    remedy: isKnown ? REMEDIES[code as ErrorCode] : "upgrade rex: this refusal is newer than it",
    retryable,
  });
}

const zProblem = z.object({ code: z.string(), detail: z.string(), retryable: z.boolean() });

interface Silence {
  settings: Settings;
  request: Request;
  url: URL;
  isInterrupted: boolean;
  isLate: boolean;
}

/** The Failure for no answer at all. A command that got none may have been heard all the same. */
function silence(error: unknown, { settings, request, url, isInterrupted, isLate }: Silence): Failure {
  const maybe =
    request.method === "GET" ? "" : "; it may have been carried out all the same: look before you repeat it";
  if (isInterrupted) {
    return failure("interrupted", `interrupted while asking ${url.origin}`, maybe.slice(2));
  }
  if (isLate) {
    return new Failure({
      code: "timed-out",
      detail: `${url.origin} did not answer within ${settings.requestTimeoutMs / 1_000} s`,
      remedy: `try again, or raise --timeout${maybe}`,
      retryable: true,
    });
  }
  return new Failure({
    code: "unreachable",
    detail: `${url.origin} cannot be reached (${causeOf(error)})`,
    remedy: `check --url, the network and that the coordinator runs${maybe}`,
    retryable: true,
  });
}

/** `fetch` hides the system's word in a chain of causes. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause !== undefined) return causeOf(error.cause);
  const { code } = error as NodeJS.ErrnoException;
  return code ?? error.message;
}

function parseJson(text: string, origin: string): unknown {
  const value = jsonOrNull(text);
  if (value === null) {
    throw failure(
      "unexpected-answer",
      `${origin} answered with something that is no JSON`,
      "check --url: it must be a coordinator's address",
    );
  }
  return value;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * The value, once it has the documented shape. Fields that a newer coordinator added are no reason to leave an operator
 * without a console.
 */
function checked<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const offence = result.error.issues.find(({ code }) => code !== "unrecognized_keys");
  if (!offence) return value as z.output<S>;
  const place = offence.path.join(".") || "the answer";
  throw failure(
    "unexpected-answer",
    `the coordinator's answer is not of the documented shape: ${place}: ${offence.message}`,
    "upgrade rex or the coordinator",
  );
}

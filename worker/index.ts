/**
 * The Worker: the HTTP API in front of one object per dataservice.
 *
 * What can be refused without an object is refused here: junk and forged tokens, shapes, sizes, versions. An object is
 * reached only by somebody whom we gave a token, and brought into being only by a creation.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import type { Create, EventLine } from "#shared/protocol/api.ts";
import { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION } from "#shared/domain/version.ts";
import { serveTokens, serveWebhooks } from "./access.ts";
import { callerOf, type Caller } from "./auth.ts";
import { Coordinator } from "./coordinator.ts";
import { refuseCreation } from "./creation.ts";
import { docsPage } from "./docs.ts";
import { missingSecret, type Env } from "./env.ts";
import { macsOf, type Macs } from "./mac.ts";
import { BODY_LIMIT_BYTES, issueDetail, problemResponse } from "./problems.ts";
import { coordinator, refusal, registry, type App } from "./reach.ts";
import { Registry } from "./registry.ts";
import { signed } from "./reply-signature.ts";
import {
  changeDurability,
  changePolicy,
  commandDataservice,
  createDataservice,
  deleteDataservice,
  listDataservices,
  listEvents,
  listOperations,
  pollDataservice,
  showDataservice,
  showHealth,
  showOperation,
} from "./routes.ts";
import type { StoredEvent } from "./store.ts";

export { Coordinator, Registry };

const app = new OpenAPIHono<App>({
  defaultHook: async (result, c) => {
    if (result.success) return;
    const [issue] = result.error.issues;
    const input = await inputOf(result.target, c);
    const unknownCommand = result.target === "json" ? unsupportedCommand(c, input) : null;
    if (unknownCommand !== null) return problemResponse(c, "not-supported", unknownCommand);
    return problemResponse(
      c,
      "invalid-request",
      issue ? issueDetail(issue, input) : "the request is not of the documented shape",
    );
  },
});

/** Derived keys of the secret this isolate was given; the derivation is not repeated for every request. */
let derived: { secret: string; macs: Macs } | null = null;

function macsFor(secret: string): Macs {
  if (derived?.secret !== secret) derived = { secret, macs: macsOf(secret) };
  return derived.macs;
}

const authenticated: MiddlewareHandler<App> = async (c, next) => {
  const missing = missingSecret(c.env);
  if (missing !== null) return problemResponse(c, "coordinator-unavailable", missing);
  const caller = callerOf(c.req.header("Authorization"), c.env.ADMIN_TOKEN, macsFor(c.env.SECRET));
  if (!caller) {
    return problemResponse(
      c,
      "unauthorized",
      "Authorization: no valid token: send 'Bearer' and a token of this coordinator",
    );
  }
  const refused = refuseScope(caller, c.req.path);
  if (refused !== null) return problemResponse(c, "forbidden", refused);
  c.set("caller", caller);
  return next();
};

/** A token opens nothing outside its own dataservice. */
function refuseScope(caller: Caller, path: string): string | null {
  if (caller.kind === "admin") return null;
  const { id, dataservice } = caller.token;
  const asked = /^\/v1\/dataservices\/([^/]+)/.exec(path)?.[1] ?? null;
  if (asked === dataservice) return null;
  return asked === null
    ? `token ${id} belongs to dataservice '${dataservice}': creating and listing them needs the administrator's token`
    : `token ${id} belongs to dataservice '${dataservice}', not to '${asked}'`;
}

const limited = bodyLimit({
  maxSize: BODY_LIMIT_BYTES,
  onError: (c) =>
    problemResponse(c, "payload-too-large", `the body is larger than ${BODY_LIMIT_BYTES} bytes: send less`),
});

/** Before the schema, because another version may well have another shape. */
const spokenProtocol: MiddlewareHandler<App> = async (c, next) => {
  const body: unknown = await c.req.json();
  const protocol = typeof body === "object" && body !== null && "protocol" in body ? body.protocol : undefined;
  const isOther = typeof protocol === "number" && (protocol < OLDEST_PROTOCOL_VERSION || protocol > PROTOCOL_VERSION);
  if (!isOther) return next();
  return problemResponse(
    c,
    "unsupported-protocol",
    `protocol: ${protocol} is not spoken here: this coordinator speaks ${OLDEST_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}; upgrade the older side`,
  );
};

// Bodies are read only for those who may send one, and only so far.
app.use("/v1/*", authenticated, limited);
app.on("POST", "/v1/dataservices/:s/poll", signed, spokenProtocol);

app.openapi(createDataservice, async (c) => {
  const create: Create = c.req.valid("json");
  const refused = refuseCreation(create);
  if (refused) return refusal(c, refused) as never;
  await registry(c).add(create.name);
  const answer = await coordinator(c, create.name).create(create);
  return answer.ok ? c.json(answer.value, 201) : (refusal(c, answer) as never);
});

app.openapi(listDataservices, async (c) => c.json(await registry(c).list(), 200));

app.openapi(deleteDataservice, async (c) => {
  const { s } = c.req.valid("param");
  const { confirm, force } = c.req.valid("query");
  if (confirm !== s) {
    const detail = `confirm: '${confirm ?? ""}' is not '${s}': a deletion cannot be undone, so name it twice: ?confirm=${s}`;
    return problemResponse(c, "confirmation-missing", detail) as never;
  }
  const answer = await coordinator(c, s).remove(c.var.caller, force === "true");
  if (answer.ok) await registry(c).remove(s, answer.value);
  else if (answer.code === "unknown-dataservice" && c.var.caller.kind === "admin") await registry(c).remove(s, null);
  return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
});

app.openapi(showDataservice, async (c) => {
  const answer = await coordinator(c, c.req.valid("param").s).status(c.var.caller);
  return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
});

app.openapi(pollDataservice, async (c) => {
  const { s } = c.req.valid("param");
  const poll = c.req.valid("json");
  if (poll.dataservice !== s) {
    const detail = `dataservice: '${poll.dataservice}' is not '${s}', to which this poll was sent: poll your own dataservice`;
    return problemResponse(c, "invalid-request", detail) as never;
  }
  const answer = await coordinator(c, s).poll(c.var.caller, poll);
  return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
});

app.openapi(commandDataservice, async (c) => {
  const answer = await coordinator(c, c.req.valid("param").s).command(c.var.caller, c.req.valid("json"));
  return answer.ok ? c.json({ operation: answer.value }, 202) : (refusal(c, answer) as never);
});

app.openapi(changePolicy, async (c) => {
  const { s } = c.req.valid("param");
  const { policy } = c.req.valid("json");
  const answer = await coordinator(c, s).command(c.var.caller, { command: "set-policy", policy });
  return answer.ok ? c.json({ operation: answer.value }, 202) : (refusal(c, answer) as never);
});

app.openapi(changeDurability, async (c) => {
  const { s } = c.req.valid("param");
  const change = c.req.valid("json");
  const answer = await coordinator(c, s).command(c.var.caller, { command: "set-durability", ...change });
  return answer.ok ? c.json({ operation: answer.value }, 202) : (refusal(c, answer) as never);
});

app.openapi(listOperations, async (c) => {
  const answer = await coordinator(c, c.req.valid("param").s).operations(c.var.caller);
  return answer.ok ? c.json({ operations: answer.value }, 200) : (refusal(c, answer) as never);
});

app.openapi(showOperation, async (c) => {
  const { s, op } = c.req.valid("param");
  const answer = await coordinator(c, s).operation(c.var.caller, op);
  return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
});

app.openapi(listEvents, async (c) => {
  const { after, limit } = c.req.valid("query");
  const answer = await coordinator(c, c.req.valid("param").s).events(c.var.caller, after, limit);
  if (!answer.ok) return refusal(c, answer) as never;
  return c.json({ events: answer.value.events.map(eventLine), last: answer.value.last }, 200);
});

serveTokens(app);
serveWebhooks(app);

app.openapi(showHealth, (c) => {
  const missing = missingSecret(c.env);
  if (missing !== null) return problemResponse(c, "coordinator-unavailable", missing) as never;
  return c.json({ status: "ok" as const, protocol: PROTOCOL_VERSION }, 200);
});

app.openAPIRegistry.registerComponent("securitySchemes", "token", { type: "http", scheme: "bearer" });
app.doc31("/openapi.json", {
  openapi: "3.1.0",
  info: { title: "Interrex coordinator", version: "1", description: "Who is primary, and who may write." },
});
app.get("/docs", (c) => c.html(docsPage()));

app.notFound((c) =>
  problemResponse(c, "not-found", `${c.req.method} ${c.req.path} is no route of this API: /docs lists them`),
);

app.onError((error, c) => {
  if (error instanceof SyntaxError || (error instanceof HTTPException && error.status < 500)) {
    return problemResponse(
      c,
      "invalid-request",
      "the whole body: it is no JSON: send one JSON object as application/json",
    );
  }
  // Whatever else went wrong, went wrong on the way to the object or in it: the caller cannot know what it did.
  console.error(JSON.stringify({ message: "request failed", path: c.req.path, error: String(error) }));
  return problemResponse(c, "coordinator-unavailable", "the dataservice's object did not answer: try again");
});

function eventLine({ id, wallMs, reason }: StoredEvent): EventLine {
  const { kind, ...data } = reason;
  return { id, wallMs, kind, data };
}

async function inputOf(target: string, c: Context): Promise<unknown> {
  switch (target) {
    case "json":
      return c.req.json();
    case "query":
      return c.req.query();
    default:
      return c.req.param();
  }
}

/** A well-formed request for a command that is not offered; null for anything else. */
function unsupportedCommand(c: Context, input: unknown): string | null {
  if (!c.req.path.endsWith("/commands") || typeof input !== "object" || input === null) return null;
  const offered = commandDataservice.request.body.content["application/json"].schema.options.map(
    (option) => option.shape.command.value as string,
  );
  const command = "command" in input ? input.command : undefined;
  if (typeof command !== "string" || offered.includes(command)) return null;
  return `command: '${command.slice(0, 40)}' is not supported: use one of ${offered.join(", ")}`;
}

export default app satisfies ExportedHandler<Env>;

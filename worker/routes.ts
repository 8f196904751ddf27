/** The routes of the HTTP API as OpenAPI describes them, tokens and webhooks aside. What they do stands in `index.ts`. */
import { createRoute, z } from "@hono/zod-openapi";
import {
  zAccepted,
  zCreate,
  zCreated,
  zDataservices,
  zDurabilityChange,
  zEvents,
  zOperation,
  zOperatorCommand,
  zPolicyChange,
  zStatus,
} from "#shared/protocol/api.ts";
import { zName, zPoll, zReply } from "#shared/protocol/wire.ts";
import {
  createToken,
  createWebhook,
  deleteWebhook,
  listDeliveries,
  listTokens,
  listWebhooks,
  retryDelivery,
  revokeToken,
} from "./access-routes.ts";
import { body, json, refused, SECURITY, zNumber, zPath } from "./route-parts.ts";

export const createDataservice = createRoute({
  method: "post",
  path: "/v1/dataservices",
  summary: "Create a dataservice",
  description: "Names its members and the first primary. Answers one token for each agent: they are shown this once.",
  security: SECURITY,
  request: { body: body(zCreate) },
  responses: { 201: json(zCreated, "Created"), ...refused },
});

export const listDataservices = createRoute({
  method: "get",
  path: "/v1/dataservices",
  summary: "Every dataservice, and the newest deletions",
  description: "Needs the administrator's token.",
  security: SECURITY,
  responses: { 200: json(zDataservices, "By name"), ...refused },
});

export const deleteDataservice = createRoute({
  method: "delete",
  path: "/v1/dataservices/{s}",
  summary: "Delete a dataservice",
  description:
    "Needs the administrator's token. Nothing of its state, events and tokens is left; the servers are not touched, but an agent that still holds a lease fences its server when that ends.",
  security: SECURITY,
  request: {
    params: zPath,
    query: z.object({
      confirm: zName.optional().describe("the dataservice's name once more"),
      force: z.enum(["true", "false"]).default("false").describe("also while a primary reigns"),
    }),
  },
  responses: { 200: json(zDataservices.shape.deleted.element, "Deleted"), ...refused },
});

export const showDataservice = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}",
  summary: "The whole picture of a dataservice",
  security: SECURITY,
  request: { params: zPath },
  responses: { 200: json(zStatus, "What `ls` shows"), ...refused },
});

export const pollDataservice = createRoute({
  method: "post",
  path: "/v1/dataservices/{s}/poll",
  summary: "An agent's report and its answer",
  description:
    "The token must be the one of the host that the poll speaks for. The header `interrex-reply` of the answer is an HMAC-SHA256 under that token, in base64url, over the JSON text of `[\"interrex-reply-1\", the poll's body, the answer's body]`.",
  security: SECURITY,
  request: { params: zPath, body: body(zPoll) },
  responses: { 200: json(zReply, "Lease, commands, routes"), ...refused },
});

export const commandDataservice = createRoute({
  method: "post",
  path: "/v1/dataservices/{s}/commands",
  summary: "Ask for an operation",
  security: SECURITY,
  request: { params: zPath, body: body(zOperatorCommand) },
  responses: { 202: json(zAccepted, "Accepted: follow the operation"), ...refused },
});

export const changePolicy = createRoute({
  method: "put",
  path: "/v1/dataservices/{s}/policy",
  summary: "Set the policy",
  description: "The same as the command `set-policy`.",
  security: SECURITY,
  request: { params: zPath, body: body(zPolicyChange) },
  responses: { 202: json(zAccepted, "Accepted: follow the operation"), ...refused },
});

export const changeDurability = createRoute({
  method: "put",
  path: "/v1/dataservices/{s}/durability",
  summary: "Set the durability",
  description:
    "The same as the command `set-durability`. `durability` in the picture of the dataservice says what is promised (`mode`) and what it is on its way to (`goal`).",
  security: SECURITY,
  request: { params: zPath, body: body(zDurabilityChange) },
  responses: { 202: json(zAccepted, "Accepted: follow the operation"), ...refused },
});

export const listOperations = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/operations",
  summary: "The newest operations, newest first",
  security: SECURITY,
  request: { params: zPath },
  responses: { 200: json(z.strictObject({ operations: z.array(zOperation) }), "Operations"), ...refused },
});

export const showOperation = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/operations/{op}",
  summary: "One operation with its transcript",
  security: SECURITY,
  request: { params: zPath.extend({ op: zNumber }) },
  responses: { 200: json(zOperation, "The operation"), ...refused },
});

export const listEvents = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/events",
  summary: "What happened, oldest first",
  security: SECURITY,
  request: {
    params: zPath,
    query: z.object({
      after: z.coerce
        .number()
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .default(0)
        .describe("only events with a greater id"),
      limit: z.coerce.number().int().min(1).max(1_000).default(100),
    }),
  },
  responses: { 200: json(zEvents, "Events, and the newest id there is"), ...refused },
});

export const showHealth = createRoute({
  method: "get",
  path: "/healthz",
  summary: "Whether this coordinator answers",
  responses: { 200: json(z.strictObject({ status: z.literal("ok"), protocol: z.int() }), "It does"), ...refused },
});

/** Every route, in the order in which the documentation lists them. */
export const ROUTES = [
  createDataservice,
  listDataservices,
  showDataservice,
  deleteDataservice,
  pollDataservice,
  commandDataservice,
  changePolicy,
  changeDurability,
  listOperations,
  showOperation,
  listEvents,
  createToken,
  listTokens,
  revokeToken,
  createWebhook,
  listWebhooks,
  deleteWebhook,
  listDeliveries,
  retryDelivery,
  showHealth,
] as const;

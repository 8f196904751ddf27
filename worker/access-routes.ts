/** The routes of tokens and webhooks as OpenAPI describes them. What they do stands in `access.ts`. */
import { createRoute, z } from "@hono/zod-openapi";
import {
  zDeliveries,
  zDelivery,
  zToken,
  zTokenCreated,
  zTokens,
  zTokenSpec,
  zWebhook,
  zWebhookCreated,
  zWebhooks,
  zWebhookSpec,
} from "#shared/protocol/api.ts";
import { body, json, refused, SECURITY, zNumber, zPath } from "./route-parts.ts";

const zId = z.string().regex(/^[0-9a-f]{12}$/, { error: "must be the id that the list shows" });
const zOne = zPath.extend({ id: zId });

export const createToken = createRoute({
  method: "post",
  path: "/v1/dataservices/{s}/tokens",
  summary: "Make a token",
  description:
    "Its text is shown this once. An agent's can be replaced without a gap: make the second, give it to the agent, revoke the first.",
  security: SECURITY,
  request: { params: zPath, body: body(zTokenSpec) },
  responses: { 201: json(zTokenCreated, "Made"), ...refused },
});

export const listTokens = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/tokens",
  summary: "The live tokens, oldest first",
  security: SECURITY,
  request: { params: zPath },
  responses: { 200: json(zTokens, "Without their texts"), ...refused },
});

export const revokeToken = createRoute({
  method: "delete",
  path: "/v1/dataservices/{s}/tokens/{id}",
  summary: "Revoke a token",
  description: "It is refused from the next request on.",
  security: SECURITY,
  request: { params: zOne },
  responses: { 200: json(zToken, "Revoked"), ...refused },
});

export const createWebhook = createRoute({
  method: "post",
  path: "/v1/dataservices/{s}/webhooks",
  summary: "Have events delivered",
  description:
    "By the Standard Webhooks specification; the secret is shown this once. Each event is delivered at least once and in order: repetitions carry the same `webhook-id`.",
  security: SECURITY,
  request: { params: zPath, body: body(zWebhookSpec) },
  responses: { 201: json(zWebhookCreated, "Its creation is the first event that it is told"), ...refused },
});

export const listWebhooks = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/webhooks",
  summary: "The webhooks, oldest first",
  security: SECURITY,
  request: { params: zPath },
  responses: { 200: json(zWebhooks, "Without their secrets"), ...refused },
});

export const deleteWebhook = createRoute({
  method: "delete",
  path: "/v1/dataservices/{s}/webhooks/{id}",
  summary: "Delete a webhook and what is pending for it",
  security: SECURITY,
  request: { params: zOne },
  responses: { 200: json(zWebhook, "Deleted"), ...refused },
});

export const listDeliveries = createRoute({
  method: "get",
  path: "/v1/dataservices/{s}/webhooks/{id}/deliveries",
  summary: "What is pending, was delivered lately, and was given up",
  security: SECURITY,
  request: { params: zOne },
  responses: { 200: json(zDeliveries, "At most 100 of each"), ...refused },
});

export const retryDelivery = createRoute({
  method: "post",
  path: "/v1/dataservices/{s}/webhooks/{id}/deliveries/{n}/retry",
  summary: "Deliver a dead letter after all",
  security: SECURITY,
  request: { params: zOne.extend({ n: zNumber }) },
  responses: { 202: json(zDelivery, "Pending again"), ...refused },
});

/** Tokens and webhooks over HTTP. */
import type { OpenAPIHono } from "@hono/zod-openapi";
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
import { allowsInsecureWebhooks } from "./env.ts";
import { coordinator, refusal, type App } from "./reach.ts";
import { refuseWebhook } from "./webhooks.ts";

export function serveTokens(app: OpenAPIHono<App>): void {
  app.openapi(createToken, async (c) => {
    const answer = await coordinator(c, c.req.valid("param").s).createToken(c.var.caller, c.req.valid("json"));
    return answer.ok ? c.json(answer.value, 201) : (refusal(c, answer) as never);
  });

  app.openapi(listTokens, async (c) => {
    const answer = await coordinator(c, c.req.valid("param").s).tokens(c.var.caller);
    return answer.ok ? c.json({ tokens: answer.value }, 200) : (refusal(c, answer) as never);
  });

  app.openapi(revokeToken, async (c) => {
    const { s, id } = c.req.valid("param");
    const answer = await coordinator(c, s).revokeToken(c.var.caller, id);
    return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
  });
}

export function serveWebhooks(app: OpenAPIHono<App>): void {
  app.openapi(createWebhook, async (c) => {
    const spec = c.req.valid("json");
    const refused = refuseWebhook(spec, allowsInsecureWebhooks(c.env));
    if (refused) return refusal(c, refused) as never;
    const answer = await coordinator(c, c.req.valid("param").s).createWebhook(c.var.caller, spec);
    return answer.ok ? c.json(answer.value, 201) : (refusal(c, answer) as never);
  });

  app.openapi(listWebhooks, async (c) => {
    const answer = await coordinator(c, c.req.valid("param").s).webhooks(c.var.caller);
    return answer.ok ? c.json({ webhooks: answer.value }, 200) : (refusal(c, answer) as never);
  });

  app.openapi(deleteWebhook, async (c) => {
    const { s, id } = c.req.valid("param");
    const answer = await coordinator(c, s).deleteWebhook(c.var.caller, id);
    return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
  });

  app.openapi(listDeliveries, async (c) => {
    const { s, id } = c.req.valid("param");
    const answer = await coordinator(c, s).deliveries(c.var.caller, id);
    return answer.ok ? c.json(answer.value, 200) : (refusal(c, answer) as never);
  });

  app.openapi(retryDelivery, async (c) => {
    const { s, id, n } = c.req.valid("param");
    const answer = await coordinator(c, s).retryDelivery(c.var.caller, id, n);
    return answer.ok ? c.json(answer.value, 202) : (refusal(c, answer) as never);
  });
}

/** The signature on an answer to an agent: made with the token that the agent itself presented. */
import { createHmac } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { REPLY_SIGNATURE_HEADER, signedPartOf } from "#shared/protocol/reply-signature.ts";
import { bearerOf } from "./auth.ts";
import type { App } from "./reach.ts";

/** Signs replies; refusals carry no authority, and no signature. Stands before whatever else reads the body. */
export const signed: MiddlewareHandler<App> = async (c, next) => {
  const poll = await c.req.text();
  await next();
  const token = bearerOf(c.req.header("Authorization"));
  if (c.res.status !== 200 || token === null) return;
  const reply = await c.res.clone().text();
  const signature = createHmac("sha256", token).update(signedPartOf(poll, reply)).digest("base64url");
  c.res.headers.set(REPLY_SIGNATURE_HEADER, signature);
};

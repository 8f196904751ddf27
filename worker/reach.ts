/** From a request to the object that answers it, and from its refusal to the response. */
import type { Context } from "hono";
import type { Refused } from "./answer.ts";
import type { Caller } from "./auth.ts";
import type { Coordinator } from "./coordinator.ts";
import type { Env } from "./env.ts";
import { problemResponse } from "./problems.ts";
import type { Registry } from "./registry.ts";

export type App = { Bindings: Env; Variables: { caller: Caller } };

/** The object of a dataservice. A call that failed is not repeated for us: an old poll must not arrive late. */
export function coordinator(c: Context<App>, dataservice: string): DurableObjectStub<Coordinator> {
  return c.env.COORDINATOR.getByName(dataservice, { retry: { maxRetries: 0 } });
}

export function registry(c: Context<App>): DurableObjectStub<Registry> {
  return c.env.REGISTRY.getByName("registry");
}

export function refusal(c: Context<App>, { code, detail }: Refused): Response {
  return problemResponse(c, code, detail);
}

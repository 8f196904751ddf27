/** What the descriptions of routes have in common. */
import { z } from "@hono/zod-openapi";
import { ERRORS, type ErrorCode } from "#shared/protocol/errors.ts";
import { zName } from "#shared/protocol/wire.ts";

const zProblem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
    detail: z.string(),
    retryable: z.boolean(),
  })
  .openapi("Problem");

export const zPath = z.object({ s: zName.describe("the dataservice's name") });
export const zNumber = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER);

export const SECURITY = [{ token: [] }];

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});
export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { "application/json": { schema } },
});
export const refused = {
  default: { description: "Refused", content: { "application/problem+json": { schema: zProblem } } },
};

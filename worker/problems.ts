/** Refusals as RFC 9457 problem details: what was wrong, with which value, and what to do. */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import { problem, type ErrorCode } from "#shared/protocol/errors.ts";

/** The largest request body, in bytes. */
export const BODY_LIMIT_BYTES = 262_144;

/** A value is shown this long in a problem's detail. */
const SHOWN_LENGTH = 80;

export function problemResponse(c: Context, code: ErrorCode, detail: string): Response {
  const body = problem(code, detail);
  if (code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  return c.body(JSON.stringify(body), body.status as ContentfulStatusCode, {
    "Content-Type": "application/problem+json",
  });
}

/** The first issue of a refused input in words: the field's path, its value, what is allowed. */
export function issueDetail(issue: z.core.$ZodIssue, input: unknown): string {
  const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
  const field = path.length === 0 ? "the whole body" : path.map(String).join(".");
  return `${field}: ${shown(valueAt(input, path))} is not accepted: ${allowed(issue)}`;
}

function allowed(issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") return "there is no such field: leave it out";
  if (issue.code === "invalid_value") return `use one of ${issue.values.map(shown).join(", ")}`;
  return issue.message;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => {
    const isObject = typeof value === "object" && value !== null;
    return isObject && Object.hasOwn(value, key) ? (value as Record<PropertyKey, unknown>)[key] : undefined;
  }, input);
}

function shown(value: unknown): string {
  // What is not JSON (nothing, a symbol, a bigint of a schema's own) cannot have come from a body.
  const text = typeof value === "bigint" ? `${value}` : (JSON.stringify(value) ?? "nothing");
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}

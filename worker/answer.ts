/** What an object's method returns: a value, or an expected refusal. Refusals are no errors and cross the RPC as data. */
import type { ErrorCode } from "#shared/protocol/errors.ts";

export interface Refused {
  ok: false;
  code: ErrorCode;
  detail: string;
}

export type Answer<T> = { ok: true; value: T } | Refused;

export function refuse(code: ErrorCode, detail: string): Refused {
  return { ok: false, code, detail };
}

/** A holder that hears no coordinator asks for a promise; the answer leaves when the promise is on the disk. */
import { zPromiseRequest } from "#shared/protocol/wire.ts";
import { readJson } from "../json-text.ts";
import type { PeerAnswer, PeerDesk, PeerRequest } from "./requests.ts";

export const PROMISE = { method: "POST", path: "/promise" } as const;

export async function answerPromise({ from, body }: PeerRequest, { onPromise }: PeerDesk): Promise<PeerAnswer> {
  const request = readJson(body, zPromiseRequest);
  // Nobody asks for somebody else.
  if (!request || request.holder !== from) return { status: 400 };
  const refusal = await onPromise(request);
  return refusal === null ? { status: 200 } : { status: 409, body: JSON.stringify({ refusal }) };
}

/** A holder that hears no coordinator asks for a promise; the answer leaves when the promise is on the disk. */
import type { PromiseRequest } from "#shared/domain/messages.ts";
import { zPromiseRequest } from "#shared/protocol/wire.ts";
import type { PeerAnswer, PeerDesk, PeerRequest } from "./requests.ts";

export const PROMISE = { method: "POST", path: "/promise" } as const;

export async function answerPromise({ from, body }: PeerRequest, { onPromise }: PeerDesk): Promise<PeerAnswer> {
  const request = readRequest(body);
  // Nobody asks for somebody else.
  if (!request || request.holder !== from) return { status: 400 };
  const refusal = await onPromise(request);
  return refusal === null ? { status: 200 } : { status: 409, body: JSON.stringify({ refusal }) };
}

function readRequest(body: string): PromiseRequest | null {
  try {
    return zPromiseRequest.safeParse(JSON.parse(body)).data ?? null;
  } catch {
    return null;
  }
}

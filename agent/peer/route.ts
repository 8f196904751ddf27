/** The primary's own agent proves to a connector that its reign stands, for as long as it may write for certain. */
import type { Route } from "#shared/domain/messages.ts";
import { zRoute } from "#shared/protocol/wire.ts";
import { readJson } from "../json-text.ts";
import type { PeerAnswer, PeerDesk } from "./requests.ts";

export const ROUTE = { method: "POST", path: "/route" } as const;

export function answerRoute({ route }: Pick<PeerDesk, "route">): PeerAnswer {
  const known = route();
  return known ? { status: 200, body: JSON.stringify(known) } : { status: 404 };
}

/** The route in an answer; null when it is none. */
export function readRoute(body: string): Route | null {
  return readJson(body, zRoute);
}

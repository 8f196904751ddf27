/** A replica's agent says to a connector whether its server may be read from, when no coordinator does. */
import type { Upstream } from "#shared/domain/messages.ts";
import { zReaderQuestion, zUpstream } from "#shared/protocol/wire.ts";
import { readJson } from "../json-text.ts";
import type { PeerAnswer, PeerDesk, PeerRequest } from "./requests.ts";

export const READER = { method: "POST", path: "/reader" } as const;

export function answerReader(
  { body }: Pick<PeerRequest, "body">,
  { readable }: Pick<PeerDesk, "readable">,
): PeerAnswer {
  const question = readJson(body, zReaderQuestion);
  if (!question) return { status: 400 };
  const target = readable(question);
  return target ? { status: 200, body: JSON.stringify(target) } : { status: 404 };
}

/** The server in an answer; null when it names none. */
export function readReader(body: string): Upstream | null {
  return readJson(body, zUpstream);
}

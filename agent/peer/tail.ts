/**
 * The end of a dead primary's log, from its agent to the one that succeeds it: raw bytes of the segments, a piece at a
 * time. Read-only, and only of a server that is dead and whose epoch is released. What is answered is signed like every
 * answer, because it goes into a server's log.
 */
import { z } from "zod";
import type { LogPoint } from "#shared/domain/messages.ts";
import type { Lsn } from "#shared/domain/position.ts";
import { readJson } from "../json-text.ts";
import type { PeerAnswer, PeerDesk, PeerRequest } from "./requests.ts";

export const TAIL = { method: "POST", path: "/tail" } as const;

const LONGEST_PIECE_BYTES = 4 * 1_024 * 1_024;
/** A piece travels in base 64. */
export const LONGEST_ANSWER_BYTES = Math.ceil(LONGEST_PIECE_BYTES / 3) * 4;

const zLsn = z.string().regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/);
const zTailRequest = z.strictObject({
  epoch: z.int().min(1),
  /** How far the log is wanted in the end. */
  until: z.strictObject({ timeline: z.int().min(1), lsn: zLsn }),
  from: zLsn,
  bytes: z.int().min(1).max(LONGEST_PIECE_BYTES),
});

/** One piece. */
export interface TailRequest {
  epoch: number;
  until: LogPoint;
  from: Lsn;
  bytes: number;
}

export async function answerTail(
  { body }: Pick<PeerRequest, "body">,
  { giveTail }: Pick<PeerDesk, "giveTail">,
): Promise<PeerAnswer> {
  const wanted = readJson(body, zTailRequest);
  if (!wanted) return { status: 400 };
  const piece = await giveTail(wanted);
  return piece ? { status: 200, body: piece.toString("base64") } : { status: 409 };
}

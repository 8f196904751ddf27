/** What agents may ask of each other: one entry for each request. */
import { answerNudge } from "./nudge.ts";

/** An authentic request. */
export interface PeerRequest {
  method: string;
  path: string;
  /** The host that sent it. */
  from: string;
  body: string;
}

export interface PeerAnswer {
  status: number;
}

/** What a request may touch of this agent. */
export interface PeerDesk {
  /** Poll at once: something may have happened. */
  onNudge: () => void;
}

/** Answers a request. Nothing that is not authentic comes here. */
export function answerPeer(request: PeerRequest, desk: PeerDesk): PeerAnswer {
  if (request.path === "/nudge" && request.method === "POST") return answerNudge(desk);
  return { status: 404 };
}

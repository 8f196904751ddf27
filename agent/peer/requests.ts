/** What agents may ask of each other: one entry for each request. */
import type { PromiseRequest, ReaderQuestion, Route, Upstream } from "#shared/domain/messages.ts";
import { answerNudge, NUDGE } from "./nudge.ts";
import { answerPromise, PROMISE } from "./promise.ts";
import { answerReader, READER } from "./reader.ts";
import { answerRoute, ROUTE } from "./route.ts";
import { answerTail, TAIL, type TailRequest } from "./tail.ts";

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
  body?: string;
}

/** What a request may touch of this agent. */
export interface PeerDesk {
  /** Poll at once: something may have happened. */
  onNudge: () => void;
  /** Settles when the promise is kept, with null, or is refused; rejects when it could not be kept. */
  onPromise: (request: PromiseRequest) => Promise<string | null>;
  /** Where this host's server may be written to, and for how long for certain; null when it may not. */
  route: () => Route | null;
  /** Where this host's server may be read from; null when it may not. */
  readable: (question: ReaderQuestion) => Upstream | null;
  /** A piece of this host's log; null when it may not be given. */
  giveTail: (wanted: TailRequest) => Promise<Buffer | null>;
}

/** Answers a request. Nothing that is not authentic comes here. */
export async function answerPeer(request: PeerRequest, desk: PeerDesk): Promise<PeerAnswer> {
  if (request.method !== "POST") return { status: 404 };
  switch (request.path) {
    case NUDGE.path:
      return answerNudge(desk);
    case PROMISE.path:
      return answerPromise(request, desk);
    case ROUTE.path:
      return answerRoute(desk);
    case READER.path:
      return answerReader(request, desk);
    case TAIL.path:
      return answerTail(request, desk);
    default:
      return { status: 404 };
  }
}

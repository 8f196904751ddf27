/** A hint to poll at once. It says nothing about what happened: only the coordinator's reply does. */
import type { PeerAnswer, PeerDesk } from "./requests.ts";

export const NUDGE = { method: "POST", path: "/nudge", body: "" } as const;

export function answerNudge({ onNudge }: Pick<PeerDesk, "onNudge">): PeerAnswer {
  onNudge();
  return { status: 204 };
}

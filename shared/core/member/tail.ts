/** What a member gives to the one that succeeds it. */
import type { LogPoint } from "../../domain/messages.ts";
import { lsnDistance } from "../../domain/position.ts";
import type { Epoch } from "../../domain/reign.ts";
import type { MemberState } from "./state.ts";

/** What is asked for: of the log of `epoch`, up to `until`. */
export interface TailClaim {
  epoch: Epoch;
  until: LogPoint;
}

/**
 * Whether the log on this disk may be read out: only of a server that is dead, whose epoch this member has released, and
 * no further than where that log ends.
 */
export function mayGiveTail({ durable, phase, live }: MemberState, { epoch, until }: TailClaim): boolean {
  const { report, tail } = live.view;
  const isDead = phase.kind === "closed" && report.state === "stopped" && !durable.isDamaged;
  if (!isDead || tail === null || durable.attempted !== epoch || durable.released < epoch) return false;
  return until.timeline === tail.timeline && lsnDistance(tail.lsn, until.lsn) >= 0n;
}

/**
 * The furthest place that this member's log was seen to reach, and a log that is shorter than that (SPEC: ID-14).
 *
 * What a server has flushed it never loses by itself: not by a crash, not by a restart. One whose log ends earlier than it
 * once did stands on an older copy of its data directory, and lacks what it may have acknowledged.
 */
import { furthest, hasReached } from "../../domain/position.ts";
import { setDurable, type Work } from "./work.ts";

/**
 * Takes note of how far the log reaches now. What an unfounded member holds nobody counts on; and what a dead server has
 * left may be in the kernel's memory alone, and end with the host.
 */
export function noteFurthest(work: Work): void {
  const { durable, live } = work;
  const { position, report } = live.view;
  if (!durable.founded || durable.isDamaged || position === null || report.state === "stopped") return;
  const mark = furthest(durable.furthest, position);
  if (mark !== durable.furthest) setDurable(work, { furthest: mark });
}

/** Whether a server that accepts writes has less than it was seen to have; says so. */
export function hasLostLog(work: Work): boolean {
  const { report, position } = work.live.view;
  const { furthest: mark } = work.durable;
  if (report.state !== "running" || !report.writable || position === null || mark === null) return false;
  if (hasReached(position, mark)) return false;
  work.reasons.push({ kind: "log-lost", had: mark, has: position });
  return true;
}

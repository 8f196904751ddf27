/**
 * A replica's own word to connectors that it may be read from (SPEC: READ-2). It is asked for only while no coordinator
 * answers, and under the proof of a reign that the primary's own agent has given: a replica on an island with a primary
 * that is none any more finds nobody who asks.
 */
import type { ReaderQuestion, Upstream } from "../../domain/messages.ts";
import { receiverOf } from "./poll.ts";
import type { MemberState } from "./state.ts";

/** Where this member's server may be read from; null when it may not, or does not stream from that primary now. */
export function readableUnder(state: MemberState, { primary, epoch, maxLatencyMs }: ReaderQuestion): Upstream | null {
  const { durable, live, phase } = state;
  const { report, latencyMs } = live.view;
  // One that is being promoted is none any more, so that nobody writes through a door for readers.
  if (phase.kind !== "closed" || durable.isDamaged || durable.epochSeen > epoch) return null;
  if (report.state !== "running" || !report.inRecovery || report.writable) return null;
  const receiver = receiverOf(state);
  if (receiver.state !== "streaming" || receiver.upstream !== primary) return null;
  if (latencyMs === null || latencyMs > maxLatencyMs) return null;
  return { member: durable.host, ...live.endpoint };
}

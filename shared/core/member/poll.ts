/** What a host says of itself in one poll. */
import type { Clocks } from "../../domain/clocks.ts";
import type { ConnectorReport, Endpoint, Poll, Receiver } from "../../domain/messages.ts";
import { PROTOCOL_VERSION } from "../../domain/version.ts";
import { declaresDoor } from "./door.ts";
import { remainingMs } from "./lease.ts";
import { promiseLeftMs } from "./promises.ts";
import type { MemberState } from "./state.ts";
import { isSynced } from "./sync.ts";

interface Sending {
  seq: number;
  clocks: Clocks;
  connector: ConnectorReport | null;
  /** Where this agent's peer channel listens. */
  peer: Endpoint | null;
}

/** The poll of a host that carries only a connector: the same head, no server. */
export function routerPollOf(state: Pick<MemberState, "durable" | "live">, sending: Sending): Poll {
  return { ...headOf(state, sending), hasLeaseDoor: false, leaseRemainingMs: null, server: null, results: [] };
}

/** The poll number `seq`, made of the state at the moment of sending. */
export function pollOf(state: MemberState, sending: Sending): Poll {
  const { durable, live, phase } = state;
  const { lease } = durable;
  return {
    ...headOf(state, sending),
    hasLeaseDoor: declaresDoor(state),
    leaseRemainingMs: lease ? Math.max(0, remainingMs(lease, live.bootId, sending.clocks)) : null,
    server: {
      phase: phase.kind,
      endpoint: live.endpoint,
      engine: "postgres",
      engineVersion: live.view.engineVersion,
      systemId: live.view.systemId,
      report: live.view.report,
      position: live.view.position,
      isWhole: live.view.isWhole,
      furthest: durable.furthest,
      applied: live.view.applied,
      latencyMs: live.view.latencyMs,
      receiver: receiverOf(state),
      lookedAfter: live.lookedAfter,
      shutdownLsn: live.view.shutdownLsn,
      tail: durable.isDamaged ? null : live.view.tail,
      door: phase.kind === "open" && phase.shut !== null ? "shut" : "open",
      isDamaged: durable.isDamaged,
      sync: isSynced(state) ? durable.syncSet : null,
    },
    results: live.results,
  };
}

function headOf(
  { durable, live }: Pick<MemberState, "durable" | "live">,
  { seq, clocks, connector, peer }: Sending,
): Omit<Poll, "hasLeaseDoor" | "leaseRemainingMs" | "server" | "results"> {
  return {
    protocol: PROTOCOL_VERSION,
    dataservice: durable.dataservice,
    host: durable.host,
    startCount: durable.startCount,
    seq,
    nonce: live.nonce,
    nonceClocks: live.nonceClocks,
    clocks,
    epochSeen: durable.epochSeen,
    opSeen: durable.opSeen,
    attempted: durable.attempted,
    ownEpoch: durable.ownEpoch,
    released: durable.released,
    releaseCause: durable.releaseCause,
    version: durable.version,
    mac: durable.mac,
    incarnation: durable.incarnation,
    place: live.place,
    fenceMs: live.fenceMs,
    electorateVersion: durable.electorate.version,
    policyVersion: durable.policyVersion,
    syncSeen: durable.syncSet.version,
    connector,
    peer,
    promises: promisesOf(durable, { bootId: live.bootId, clocks }),
  };
}

function promisesOf({ promise }: MemberState["durable"], now: { bootId: string; clocks: Clocks }): Poll["promises"] {
  if (!promise) return [];
  const remaining = Math.ceil(promiseLeftMs(promise, now.bootId, now.clocks));
  return remaining > 0 ? [{ holder: promise.holder, epoch: promise.epoch, remainingMs: remaining }] : [];
}

/** The server's own replication, in the dataservice's words. */
export function receiverOf({ durable, live }: Pick<MemberState, "durable" | "live">): Receiver {
  const { streaming, configured } = live.view.receiver;
  if (streaming) return { state: "streaming", upstream: nameOf(durable.upstream, configured) };
  if (configured) return { state: "ended", upstream: nameOf(durable.upstream, configured) };
  // Only a freeze that was carried out counts: until then the server may yet begin to receive.
  return live.frozenOp === null ? { state: "none" } : { state: "frozen", op: live.frozenOp };
}

function nameOf(upstream: (Endpoint & { member: string }) | null, configured: Endpoint | null): string | null {
  if (!upstream || !configured) return null;
  return upstream.host === configured.host && upstream.port === configured.port ? upstream.member : null;
}

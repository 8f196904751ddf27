/** The answer to an admitted poll: lease, commands, routes, and when to come again. */
import { PROTOCOL_VERSION } from "../../domain/version.ts";
import type { Lease, Peer, Poll, Route, Upstream } from "../../domain/messages.ts";
import type { HostName, MemberName } from "../../domain/names.ts";
import { expiryWaitMs } from "../../domain/settings.ts";
import { callsOf, doorOf } from "./calls.ts";
import { commandsFor, isPromotion } from "./goals.ts";
import { grant, isEndless, isThirdUsed, issueNonce } from "./lease.ts";
import { paceOf } from "./pace.ts";
import { isGrantedElsewhere } from "./place.ts";
import { isHolder, isRestoring, voucherOf } from "./restoring.ts";
import type { LeaseRecord, ReplyBody } from "./state.ts";
import { isHolding } from "./switch.ts";
import { isSilent } from "./datasources.ts";
import { syncFor } from "./sync.ts";
import { member, setHost, type Work } from "./work.ts";

/** Builds the reply; a lease or a command in it makes the step one that must be confirmed by a write. */
export function replyTo(work: Work, poll: Poll): ReplyBody {
  const commands = commandsFor(work, poll);
  const promotes = commands.some(isPromotion);
  const lease = leaseFor(work, poll, promotes);
  const writers = readWriteRoute(work);
  const door = doorOf(writers);
  const call = callsOf(work, poll.host, door);
  if (poll.connector) setHost(work, poll.host, { door });
  const { live, nonce } = issueNonce(work.live, poll.host, work.lease?.serial ?? 0);
  work.live = live;
  return {
    protocol: PROTOCOL_VERSION,
    answersSeq: poll.seq,
    nonce,
    version: work.durable.version,
    voucher: voucherOf(work.durable),
    nextPollMs: paceOf(work, poll),
    policy: work.durable.policy,
    policyVersion: work.durable.policyVersion,
    lease,
    leaseEndedEpoch: endedEpoch(work, poll),
    commands,
    // Stored when it was first told, and never told twice under one version: a stale object can only repeat it.
    sync: isRestoring(work) ? null : syncFor(work, poll.host),
    routes: poll.connector ? routesOf(work, writers) : [],
    call,
    peers: peersOf(work, poll.host),
  };
}

function leaseFor(work: Work, poll: Poll, promotes: boolean): Lease | null {
  const { phase } = work.durable;
  if (phase.kind !== "reigning" || phase.primary !== poll.host || !poll.server) return null;
  if (isRestoring(work) && !isHolder(work, poll)) return null;
  if (isGrantedElsewhere(work, phase.epoch, poll.place)) return null;
  const extends_ =
    phase.opened && poll.attempted === phase.epoch && poll.server.phase === "open" && isExtensionDue(work, poll);
  // While the server is being opened the lease is extended too: a slow promotion must not outlive it.
  const opening =
    !phase.opened && poll.attempted === phase.epoch && poll.leaseRemainingMs !== null && isThirdUsed(work, poll);
  if (!promotes && !extends_ && !opening) return null;
  const { ttlMs } = work.durable.settings;
  const position = phase.opened ? poll.server.position : (work.lease?.position ?? null);
  const fenceMs = Math.max(poll.fenceMs, work.durable.settings.fenceMs);
  const { hasLeaseDoor, place } = poll;
  grant(work, { member: poll.host, epoch: phase.epoch, ttlMs, fenceMs, hasLeaseDoor, place, position });
  const { electorate } = work.durable;
  const promiseBindsMs = expiryWaitMs({ ttlMs, fenceMs, hasLeaseDoor }, work.durable.settings);
  return {
    epoch: phase.epoch,
    ttlMs,
    hasLeaseDoor,
    electorateVersion: electorate.version,
    electorate: electorate.members,
    promiseBindsMs,
  };
}

/** A holder that has lost its kernel door, or has one again, is granted a lease that says so at once. */
function isExtensionDue(work: Work, poll: Poll): boolean {
  return isThirdUsed(work, poll) || work.lease?.hasLeaseDoor !== poll.hasLeaseDoor;
}

/** The authoritative refusal: this host still counts on a lease whose reign is over. */
function endedEpoch(work: Work, poll: Poll): number | null {
  if (!poll.server || poll.attempted === 0 || poll.released >= poll.attempted) return null;
  const { phase } = work.durable;
  const reigns = phase.kind === "reigning" && phase.primary === poll.host && phase.epoch === poll.attempted;
  const mayReturn = phase.kind === "founding" || (phase.kind === "deposing" && phase.epoch === poll.attempted);
  if (reigns || mayReturn || isRestoring(work)) return null;
  work.confirm = true;
  return poll.attempted;
}

/** The connectors' proof that the epoch stands: never longer than what is left of the holder's lease. */
function readWriteRoute(work: Work): Route | null {
  const { durable } = work;
  const { phase, epoch } = durable;
  const hold = durable.plan?.kind === "switch" && isHolding(durable.plan.step);
  const closed: Route = { service: "read-write", epoch, target: null, hold, validMs: 0 };
  const isReigned = phase.kind === "reigning" && phase.opened && work.lease?.epoch === epoch;
  if (!isReigned || !work.lease) return isRestoring(work) ? null : closed;
  const { endpoint } = member(work, phase.primary);
  const validMs = provenForMs(work, phase.primary, work.lease);
  // What an earlier incarnation has proved stands until the holder itself has been heard.
  if (validMs === null) return null;
  // Over by our count, and not ended: its members may have promised, and its own agent proves what we cannot.
  if (validMs <= 0 && !hold && isHolderOpen(work, phase.primary)) return null;
  if (!endpoint || validMs <= 0) return closed;
  return { service: "read-write", epoch, target: { member: phase.primary, ...endpoint }, hold, validMs };
}

function isHolderOpen({ live }: Work, holder: MemberName): boolean {
  return live.hosts[holder]?.poll.server?.phase === "open";
}

/**
 * How long the holder may write for certain; null when this incarnation knows nothing of it yet. A lease that was
 * inherited may have begun at any time before: the holder's own word then counts.
 */
function provenForMs(work: Work, holder: MemberName, { ttlMs }: LeaseRecord): number | null {
  const { at, leaseAt, hosts } = work.live;
  const heard = hosts[holder];
  if (!heard) return null;
  // What a coordinator of the past believes is no proof against anybody.
  if (heard.poll.server?.phase !== "open") return isRestoring(work) ? null : 0;
  if (isEndless(work)) return ttlMs;
  const isInherited = leaseAt === 0;
  const leftMs = isInherited ? heard.handledAt + (heard.poll.leaseRemainingMs ?? 0) - at : leaseAt + ttlMs - at;
  return Math.floor(Math.min(leftMs, ttlMs));
}

/** The connectors' routes; of what is not known yet nothing is said, and what was said before stands for its time. */
function routesOf(work: Work, writers: Route | null): Route[] {
  const readOnly = isReaderUnheard(work) ? null : readOnlyRoute(work);
  return [writers, readOnly].filter((route) => route !== null);
}

/** Whether a replica that is read from has not been heard by this incarnation, which is too young to say why. */
function isReaderUnheard({ durable, live }: Work): boolean {
  if (live.at >= durable.settings.silentMs) return false;
  return Object.values(durable.members).some(
    ({ name, role, state }) => role === "replica" && state === "online" && !live.hosts[name],
  );
}

/**
 * The replicas that may be read from. The one that is being promoted is none any more, so that nobody writes through a
 * door for readers; the proof runs out like any other when nothing is heard.
 */
function readOnlyRoute(work: Work): Route {
  const { durable, live } = work;
  const { epoch, members, phase, settings } = durable;
  const targets = Object.values(members).flatMap((record): Upstream[] => {
    const server = live.hosts[record.name]?.poll.server;
    const isReader = record.role === "replica" && record.state === "online" && record.endpoint !== null;
    const isCrowned = phase.kind === "reigning" && phase.primary === record.name;
    const isReadable = server?.report.state === "running" && server.report.inRecovery;
    const isFresh = (server?.latencyMs ?? Infinity) <= settings.maxLatencyMs && !isSilent(work, record.name);
    return isReader && !isCrowned && isReadable && isFresh && record.endpoint
      ? [{ member: record.name, ...record.endpoint }]
      : [];
  });
  const { maxLatencyMs, ttlMs: validMs } = settings;
  return { service: "read-only", epoch, targets, maxLatencyMs, validMs };
}

/** The other agents that were heard lately and can be spoken to. */
function peersOf(work: Work, name: HostName): Peer[] {
  const peers: Peer[] = [];
  for (const [host, { poll }] of Object.entries(work.live.hosts)) {
    if (host !== name && poll.peer && !isSilent(work, host)) peers.push({ host, endpoint: poll.peer });
  }
  return peers;
}

/** The answer to an admitted poll: lease, commands, routes, and when to come again. */
import { PROTOCOL_VERSION } from "../../domain/version.ts";
import type { Lease, Poll, Route } from "../../domain/messages.ts";
import { commandsFor, isPromotion } from "./goals.ts";
import { expiryAt, grant, isThirdUsed, issueNonce } from "./lease.ts";
import { nextDeadlineAt } from "./deadline.ts";
import type { ReplyBody } from "./state.ts";
import { member, type Work } from "./work.ts";

/** After its stream broke, a replica is kept at the operation's pace for this long: a failover may be near. */
const STALL_WATCH_MS = 10_000;

/** A dataservice that was just created is likely to be founded soon: for this long its agents come often. */
const FOUNDING_WATCH_MS = 30_000;

/** Builds the reply; a lease or a command in it makes the step one that must be confirmed by a write. */
export function replyTo(work: Work, poll: Poll): ReplyBody {
  const commands = commandsFor(work, poll);
  const promotes = commands.some(isPromotion);
  const lease = leaseFor(work, poll, promotes);
  const { live, nonce } = issueNonce(work.live, poll.host, work.lease?.serial ?? 0);
  work.live = live;
  return {
    protocol: PROTOCOL_VERSION,
    answersSeq: poll.seq,
    nonce,
    version: work.durable.version,
    nextPollMs: paceOf(work, poll),
    policy: work.durable.policy,
    policyVersion: work.durable.policyVersion,
    lease,
    leaseEndedEpoch: endedEpoch(work, poll),
    commands,
    routes: poll.connector ? [readWriteRoute(work)] : [],
  };
}

function leaseFor(work: Work, poll: Poll, promotes: boolean): Lease | null {
  const { phase } = work.durable;
  if (phase.kind !== "reigning" || phase.primary !== poll.host || !poll.server) return null;
  const extends_ =
    phase.opened && poll.attempted === phase.epoch && poll.server.phase === "open" && isThirdUsed(work, poll);
  // While the server is being opened the lease is extended too: a slow promotion must not outlive it.
  const opening =
    !phase.opened && poll.attempted === phase.epoch && poll.leaseRemainingMs !== null && isThirdUsed(work, poll);
  if (!promotes && !extends_ && !opening) return null;
  if (work.live.behindMembers && promotes) return null;
  const { ttlMs } = work.durable.settings;
  const position = phase.opened ? poll.server.position : (work.lease?.position ?? null);
  const fenceMs = Math.max(poll.fenceMs, work.durable.settings.fenceMs);
  grant(work, { member: poll.host, epoch: phase.epoch, ttlMs, fenceMs, position });
  const { electorate, syncSet } = work.durable;
  return { epoch: phase.epoch, ttlMs, electorateVersion: electorate.version, electorate: electorate.members, syncSet };
}

/** The authoritative refusal: this host still counts on a lease whose reign is over. */
function endedEpoch(work: Work, poll: Poll): number | null {
  if (!poll.server || poll.attempted === 0 || poll.released >= poll.attempted) return null;
  const { phase } = work.durable;
  const reigns = phase.kind === "reigning" && phase.primary === poll.host && phase.epoch === poll.attempted;
  const mayReturn = phase.kind === "founding" || (phase.kind === "deposing" && phase.epoch === poll.attempted);
  if (reigns || mayReturn || work.live.behindMembers) return null;
  work.confirm = true;
  return poll.attempted;
}

/** The connectors' proof that the epoch stands: never longer than what is left of the holder's lease. */
function readWriteRoute(work: Work): Route {
  const { phase, epoch } = work.durable;
  const closed: Route = { service: "read-write", epoch, target: null, validMs: 0 };
  if (phase.kind !== "reigning" || !phase.opened || !work.lease || work.lease.epoch !== epoch) return closed;
  const { endpoint } = member(work, phase.primary);
  const validMs = Math.floor(work.live.leaseAt + work.lease.ttlMs - work.live.at);
  if (!endpoint || validMs <= 0) return closed;
  return { service: "read-write", epoch, target: { member: phase.primary, ...endpoint }, validMs };
}

function paceOf(work: Work, poll: Poll): number {
  const { pollMs, pollInOperationMs } = work.durable.settings;
  if (isBusy(work, poll)) return pollInOperationMs;
  const deadline = nextDeadlineAt(work);
  const untilThen = deadline === null ? pollMs : deadline - work.live.at;
  return Math.max(pollInOperationMs, Math.min(pollMs, Math.ceil(untilThen)));
}

function isBusy(work: Work, poll: Poll): boolean {
  const { phase } = work.durable;
  const isOpen = phase.kind === "reigning" && phase.opened;
  if (phase.kind === "founding") return work.live.at - work.live.phaseAt < FOUNDING_WATCH_MS;
  if (!isOpen) return phase.kind !== "vacant";
  // The whole wait is over by our clock: the witness's next word decides.
  const expiry = expiryAt(work);
  if (expiry !== null && work.live.at >= expiry) return true;
  const command = work.durable.commands[poll.host];
  const isRunning = poll.results.some((result) => result.id === command?.id && result.outcome === "accepted");
  const isSent = work.live.hosts[poll.host]?.sent?.at === work.live.at;
  if (isRunning || isSent) return true;
  const stalledAt = work.live.hosts[poll.host]?.stalledAt ?? null;
  const role = work.durable.members[poll.host];
  const isWatched = role?.role === "replica" && (role.state === "online" || role.state === "offline");
  return isWatched && stalledAt !== null && work.live.at - stalledAt < STALL_WATCH_MS;
}

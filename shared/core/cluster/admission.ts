/**
 * Who may speak for a host. A poll that is not admitted changes nothing at all: a cloned machine, a second agent or a
 * late packet must not leave a trace that a decision could rest on.
 */
import type { Poll } from "../../domain/messages.ts";
import type { HostName } from "../../domain/names.ts";
import type { Voucher } from "../../domain/voucher.ts";
import { TIMELINE_LEEWAY } from "../../domain/reign.ts";
import { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION } from "../../domain/version.ts";
import { isOfAnotherLife } from "./choose.ts";
import { isOfLostTime, voucherOf } from "./restoring.ts";
import { isSameStart } from "./fork.ts";
import { isTooSoon } from "./place.ts";
import type { ClusterState, Refusal } from "./state.ts";

/** Why this poll is refused; null when it is admitted. */
export function refusePoll(state: ClusterState, poll: Poll, voucher: Voucher | null = null): Refusal | null {
  // Looked up as an own name: "constructor" is a name too, and every object has one.
  const identity = Object.hasOwn(state.durable.identities, poll.host) ? state.durable.identities[poll.host] : undefined;
  if (poll.dataservice !== state.durable.dataservice || !identity) {
    return { code: "unknown-member", detail: `host '${poll.host}' does not belong to '${state.durable.dataservice}'` };
  }
  if (poll.protocol < OLDEST_PROTOCOL_VERSION || poll.protocol > PROTOCOL_VERSION) {
    return {
      code: "unsupported-protocol",
      detail: `protocol ${poll.protocol}: this coordinator speaks ${OLDEST_PROTOCOL_VERSION} to ${PROTOCOL_VERSION}`,
    };
  }
  if (identity.isForked) return refusalOfForked(poll.host);
  if (identity.startCount > 0) {
    const isKnown = poll.incarnation === identity.incarnation || isReadmitted(state, poll);
    if (!isKnown && !isRebuilding(state, poll) && !isOfLostTime(state, voucher)) {
      if (poll.startCount <= identity.startCount) return secondAgent(poll, identity.startCount);
      return {
        code: "wrong-incarnation",
        detail: `the agent of '${poll.host}' comes with other state than the one that was enrolled: it must be readmitted`,
      };
    }
    if (isReadmitted(state, poll) && !isOfLostTime(state, voucher) && isOfAnotherLife(state.durable, poll)) {
      return {
        code: "wrong-incarnation",
        detail: `the agent of '${poll.host}' comes with the state of another dataservice (epoch ${poll.epochSeen}, operation ${poll.opSeen}; here they are ${state.durable.epoch} and ${state.durable.op}): start it with an empty state directory`,
      };
    }
    // Whoever has forgotten everything has forgotten how often it was started, too.
    if (poll.startCount < identity.startCount && !isReadmitted(state, poll)) {
      return secondAgent(poll, identity.startCount);
    }
    if (isTooSoon(state, poll)) return secondAgent(poll, identity.startCount);
  }
  const systemId = poll.server?.systemId ?? null;
  if (identity.systemId !== null && systemId !== null && systemId !== identity.systemId) {
    return {
      code: "wrong-system",
      detail: `the server of '${poll.host}' has system identifier ${systemId}, enrolled was ${identity.systemId}`,
    };
  }
  const timeline = poll.server?.position?.timeline ?? 0;
  const highest = Math.max(voucherOf(state.durable).timeline, voucher?.timeline ?? 0);
  if (highest > 0 && timeline > highest + TIMELINE_LEEWAY) {
    return {
      code: "wrong-system",
      detail: `the server of '${poll.host}' says that it is on timeline ${timeline}, and nobody here was ever beyond ${highest}`,
    };
  }
  const isMember = Object.hasOwn(state.durable.members, poll.host);
  if (isMember !== (poll.server !== null)) {
    return {
      code: "unknown-member",
      detail: isMember
        ? `'${poll.host}' is a member: its agent must have a [server] section`
        : `'${poll.host}' is a router host: its agent must not have a [server] section`,
    };
  }
  const last = state.live.hosts[poll.host]?.poll;
  if (last && isSameStart(last, poll) && poll.seq <= last.seq) {
    return { code: "stale-poll", detail: `poll ${poll.seq} of '${poll.host}': ${last.seq} has been answered` };
  }
  return null;
}

/** A new data incarnation is what a rebuild that we have asked for leaves behind. */
export function isRebuilding(state: ClusterState, poll: Poll): boolean {
  const rebuildOp = state.durable.identities[poll.host]?.rebuildOp ?? 0;
  return rebuildOp > 0 && poll.opSeen >= rebuildOp && poll.ownEpoch === 0;
}

/** An operator has said, by a recovery with force, that the agent with this other state is the right one. */
export function isReadmitted({ durable }: ClusterState, poll: Poll): boolean {
  const { incarnation, readmitOp } = durable.identities[poll.host] ?? { incarnation: null, readmitOp: 0 };
  // What was asked for ends with the operation that asked.
  const isRecovered = durable.plan?.kind === "recover" && durable.plan.op === readmitOp;
  const isReopened = durable.phase.kind === "collecting" && durable.phase.target === poll.host;
  const isWelcomed = durable.phase.kind === "vacant" && durable.phase.welcomed === poll.host;
  return incarnation !== poll.incarnation && (isWelcomed || (readmitOp > 0 && (isRecovered || isReopened)));
}

export function refusalOfForked(host: HostName): Refusal {
  return {
    code: "forked-identity",
    detail: `two agents have spoken for '${host}': end one of them, then \`set force true\` and \`datasource ${host} recover\``,
  };
}

function secondAgent(poll: Poll, seen: number): Refusal {
  return {
    code: "second-agent",
    detail: `start ${poll.startCount} of the agent of '${poll.host}': start ${seen} already speaks for this host`,
  };
}

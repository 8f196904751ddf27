/** Machines with one rule less. What they break, the checkers must see. */
import type { ClusterState, ClusterStep, DurableState } from "#shared/core/cluster/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { MemberServerReport, Poll } from "#shared/domain/messages.ts";
import type { MemberDurable, MemberState, MemberStep } from "#shared/core/member/state.ts";
import { REAL_MACHINES, type Machines } from "../../sim/machines.ts";

const { cluster, member } = REAL_MACHINES;

function withCluster(alter: (state: ClusterState) => ClusterState): Machines {
  return { member, cluster: { ...cluster, step: (state, event) => cluster.step(alter(state), event) } };
}

/** A server of which everything is heard but what `alter` makes otherwise. */
function withServer(poll: Poll, alter: (server: MemberServerReport) => Partial<MemberServerReport>): Poll {
  return { ...poll, server: poll.server && { ...poll.server, ...alter(poll.server) } };
}

/** The cluster's machine steps from durable state that is other than what is kept, which is kept as it is. */
function stepWith<K extends keyof DurableState>(
  state: ClusterState,
  event: Parameters<typeof cluster.step>[1],
  altered: Pick<DurableState, K>,
): ClusterStep {
  const durable = { ...state.durable, ...altered };
  const result = cluster.step({ ...state, durable }, event);
  if (result.state.durable === durable) return { ...result, state: { ...result.state, durable: state.durable } };
  const kept = Object.fromEntries(Object.keys(altered).map((key) => [key, state.durable[key as K]]));
  return { ...result, state: { ...result.state, durable: { ...result.state.durable, ...kept } } };
}

/** Every host has been a witness for ever: the coordinator's own clock alone decides what has expired. */
function isWitnessedAlways(state: ClusterState): ClusterState {
  const serial = state.lease?.serial ?? 0;
  const base = { monoMs: -1e15, bootMs: -1e15, wallMs: -1e15 };
  const hosts = Object.fromEntries(
    Object.entries(state.live.hosts).map(([name, host]) => [
      name,
      { ...host, witness: { startCount: host.poll.startCount, serial, base } },
    ]),
  );
  return { ...state, live: { ...state.live, hosts } };
}

function forgetWhatBinds(state: MemberState): MemberState {
  return {
    ...state,
    durable: { ...state.durable, opSeen: 0, epochSeen: state.durable.attempted },
    live: { ...state.live, answeredSeq: 0 },
  };
}

function keepWhatBinds(before: MemberDurable, after: MemberDurable): MemberDurable {
  return {
    ...after,
    opSeen: Math.max(before.opSeen, after.opSeen),
    epochSeen: Math.max(before.epochSeen, after.epochSeen),
  };
}

/** A member whose steps ask the kernel for another door than they should. */
function withDoor(alter: (result: MemberStep, clocks: Clocks) => MemberStep): Machines {
  return {
    cluster,
    member: {
      ...member,
      begin: (durable, live, clocks) => alter(member.begin(durable, live, clocks), clocks),
      step: (state, event) => alter(member.step(state, event), event.clocks),
    },
  };
}

export const MUTANTS: Record<string, Machines> = {
  "the coordinator believes its own clock alone": withCluster(isWitnessedAlways),

  "the coordinator waits for the lease, not for the fence": {
    member,
    cluster: {
      ...cluster,
      step: (state, event) => {
        const settings = { ...state.durable.settings, fenceMs: 0, marginMs: 0 };
        const lease = state.lease && { ...state.lease, fenceMs: 0 };
        const durable = { ...state.durable, settings };
        const result = cluster.step({ ...state, durable, lease }, event);
        const isUnchanged = result.state.durable === durable;
        const kept = isUnchanged ? state.durable : { ...result.state.durable, settings: state.durable.settings };
        const sameLease = result.state.lease === lease ? state.lease : result.state.lease;
        return { ...result, state: { ...result.state, durable: kept, lease: sameLease } };
      },
    },
  },

  "the holder counts its lease from the receipt of the reply": {
    cluster,
    member: {
      ...member,
      step: (state, event) => member.step(state, event.kind === "replied" ? { ...event, sent: event.clocks } : event),
    },
  },

  "the holder takes the smallest of its clocks": {
    cluster,
    member: {
      ...member,
      step: (state, event) => {
        const lease = state.durable.lease;
        if (!lease) return member.step(state, event);
        const { monoMs, bootMs, wallMs } = event.clocks;
        const { base } = lease;
        const elapsedMs = Math.min(monoMs - base.monoMs, bootMs - base.bootMs, wallMs - base.wallMs);
        const clocks = {
          monoMs: base.monoMs + elapsedMs,
          bootMs: base.bootMs + elapsedMs,
          wallMs: base.wallMs + elapsedMs,
        };
        return member.step(state, { ...event, clocks });
      },
    },
  },

  "a member obeys late replies and lower operations": {
    cluster,
    member: {
      ...member,
      step: (state, event) => {
        if (event.kind !== "replied") return member.step(state, event);
        const result = member.step(forgetWhatBinds(state), event);
        const durable = keepWhatBinds(state.durable, result.state.durable);
        return { ...result, fsync: true, state: { ...result.state, durable } };
      },
    },
  },

  "what a member vouched for is not synced": {
    cluster,
    member: {
      ...member,
      step: (state, event) => ({ ...member.step(state, event), fsync: false }),
    },
  },

  "an epoch is called released as soon as its fence begins": {
    cluster,
    member: {
      ...member,
      step: (state, event) => {
        const result = member.step(state, event);
        const { phase, durable } = result.state;
        if (phase.kind !== "fencing" || durable.released >= phase.releases) return result;
        return {
          ...result,
          fsync: true,
          state: { ...result.state, durable: { ...durable, released: phase.releases } },
        };
      },
    },
  },

  "a switch crowns its target without a look at what the old primary wrote last": withCluster((state) => {
    const { plan, phase } = state.durable;
    if (plan?.kind !== "switch" || phase.kind !== "collecting" || phase.cause !== "switch") return state;
    const host = state.live.hosts[plan.primary];
    if (!host) return state;
    const poll = withServer(host.poll, () => ({ shutdownLsn: "0/0" }));
    return { ...state, live: { ...state.live, hosts: { ...state.live.hosts, [plan.primary]: { ...host, poll } } } };
  }),

  "a lease without an end has one as soon as MAINTENANCE is over": {
    member,
    cluster: {
      ...cluster,
      step: (state, event) =>
        state.durable.endlessBelow > 0 ? stepWith(state, event, { endlessBelow: 0 }) : cluster.step(state, event),
    },
  },

  "a reopening in MAINTENANCE that fails hands over": {
    member,
    cluster: {
      ...cluster,
      step: (state, event) => {
        const { policy, phase } = state.durable;
        const isReopening = phase.kind === "collecting" || (phase.kind === "reigning" && !phase.opened);
        if (policy !== "maintenance" || !isReopening || event.kind === "command") return cluster.step(state, event);
        const result = stepWith(state, event, { policy: "automatic" });
        const { answer } = result;
        if (answer.kind !== "reply") return result;
        return { ...result, answer: { ...answer, reply: { ...answer.reply, policy } } };
      },
    },
  },

  "nobody's log is compared with the line that reigns": {
    member,
    cluster: {
      ...cluster,
      step: (state, event) => {
        const heard = event.kind === "poll" ? { ...event, poll: { ...event.poll, ownEpoch: 0 } } : event;
        const newest = state.durable.reigns.at(-1);
        if (!newest?.fork) return cluster.step(state, heard);
        const reigns = state.durable.reigns.map((reign) => (reign === newest ? { ...reign, fork: null } : reign));
        const result = cluster.step({ ...state, durable: { ...state.durable, reigns } }, heard);
        const { durable } = result.state;
        const restored = durable.reigns.map((reign) =>
          reign.epoch === newest.epoch && reign.fork === null ? { ...reign, fork: newest.fork } : reign,
        );
        const isUnchanged = durable.version === state.durable.version;
        return {
          ...result,
          state: { ...result.state, durable: isUnchanged ? state.durable : { ...durable, reigns: restored } },
        };
      },
    },
  },

  "a member says that it has a door, and there is none": withDoor((result) => {
    const { leaseDoor } = result.state.live;
    const live = { ...result.state.live, leaseDoor: { ...leaseDoor, stands: leaseDoor.asked } };
    const effects = result.effects.filter(({ kind }) => kind !== "door");
    return { ...result, effects, state: { ...result.state, live } };
  }),

  "a door is set for a whole lease from when it is set": withDoor((result, clocks) => ({
    ...result,
    effects: result.effects.map((effect) =>
      effect.kind === "door" && effect.wish.kind === "lease"
        ? { ...effect, wish: { ...effect.wish, lease: { ...effect.wish.lease, base: clocks } } }
        : effect,
    ),
  })),
};

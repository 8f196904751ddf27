/** The machines under attack. A mutant replaces one of these functions by a worse one. */
import { nextDeadline, step as clusterStep } from "#shared/core/cluster/step.ts";
import type { ClusterEvent, ClusterState, ClusterStep } from "#shared/core/cluster/state.ts";
import { begin, nextDeadlineMs, step as memberStep } from "#shared/core/member/step.ts";
import type { MemberDurable, MemberEvent, MemberLive, MemberState, MemberStep } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";

export interface Machines {
  cluster: {
    step: (state: ClusterState, event: ClusterEvent) => ClusterStep;
    nextDeadline: (state: ClusterState) => number | null;
  };
  member: {
    begin: (durable: MemberDurable, live: MemberLive, clocks: Clocks) => MemberStep;
    step: (state: MemberState, event: MemberEvent) => MemberStep;
    nextDeadlineMs: (state: MemberState, clocks: Clocks) => number | null;
  };
}

export const REAL_MACHINES: Machines = {
  cluster: { step: clusterStep, nextDeadline },
  member: { begin, step: memberStep, nextDeadlineMs },
};

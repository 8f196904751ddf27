/** Whatever a member has been through, its next poll is of the protocol: a poll that is not would be refused whole. */
import { describe, expect, test } from "vitest";
import { pollOf } from "#shared/core/member/poll.ts";
import { zPoll } from "#shared/protocol/wire.ts";
import { clocksAt } from "./builders.ts";
import { memberEvents, memberPhases, type MemberEventKind, type MemberPhaseKind } from "./member-events.ts";

const orders = ["told-to-promote", "told-to-adopt", "told-to-fence", "told-to-follow"] as const;

describe.each(Object.keys(memberPhases) as MemberPhaseKind[])("a member that was %s", (phase) => {
  test.each(orders)("%s, and then anything", (order) => {
    for (const event of Object.keys(memberEvents) as MemberEventKind[]) {
      const member = memberPhases[phase]();
      memberEvents[order](member);
      memberEvents[event](member);
      const sent = pollOf(member.state, { seq: 1_000, clocks: clocksAt(member.atMs), connector: null, peer: null });
      const { error } = zPoll.safeParse(sent);
      expect([event, error?.issues ?? []]).toEqual([event, []]);
    }
  });
});

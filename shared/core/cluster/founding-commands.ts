/** What operators may ask of a dataservice that is not founded yet, and what keeps it from being founded. */
import type { MemberName } from "../../domain/names.ts";
import { type Answer, type Told, refused, setAtOnce } from "./answers.ts";
import { forgetWord, isForked, refusedAsForked, settleFork } from "./fork.ts";
import { judgeFounding } from "./founding.ts";
import type { FoundingObstacle } from "./reason.ts";
import type { ClusterState, OperatorRequest, PhaseOf } from "./state.ts";
import { type Work, because, setIdentity, setMember, setPhase, setState } from "./work.ts";

/** What may be asked before the founding: another first primary, and by force an agent that has lost its state. */
export function beforeFounding(work: Work, phase: PhaseOf<"founding">, request: OperatorRequest, how: Told): Answer {
  if (request.kind === "failover" && request.to !== null) return nameFirst(work, phase, { primary: request.to, how });
  const { dataservice } = work.durable;
  if (request.kind === "datasource-recover") {
    const { member } = request;
    if (how.force) return forgetAgent(work, member, how);
    if (isForked(work, member)) return refusedAsForked(work, member);
  }
  return refused("not-founded", `dataservice '${dataservice}' is not founded yet: ${foundingOf(work, phase).detail}`);
}

/**
 * Another first primary. The one that was named until now is its owner's, and as a rule a primary already: a server of
 * that kind comes back writable, and only force goes past it where it is not seen to be in recovery.
 */
function nameFirst(
  work: Work,
  { primary: before }: PhaseOf<"founding">,
  { primary, how: { force, tell } }: { primary: MemberName; how: Told },
): Answer {
  const report = work.live.hosts[before]?.poll.server?.report;
  const isReplica = report?.state === "running" && report.inRecovery;
  if (primary !== before && !isReplica && !force) {
    return refused(
      "needs-force",
      `the server of '${before}@${work.durable.dataservice}' is not seen to be in recovery: started again it may accept writes. End it for good, then \`set force true\` and \`failover to ${primary}\``,
    );
  }
  tell();
  return setAtOnce(work, "failover", (op) => {
    for (const { name, role: from } of Object.values(work.durable.members)) {
      const to = name === primary ? "primary" : "replica";
      if (from === to) continue;
      setMember(work, name, { role: to });
      because(work, { kind: "role-changed", op, member: name, from, to }, op);
    }
    setPhase(work, { kind: "founding", primary, isForced: force });
  });
}

/** Nobody reigns, and nobody has promised anything to this coordinator: whoever comes next with its token is the member. */
function forgetAgent(work: Work, name: MemberName, { tell }: Told): Answer {
  tell();
  return setAtOnce(work, "datasource-recover", () => {
    if (isForked(work, name)) settleFork(work, name);
    setState(work, name, "offline", { kind: "none" });
    setIdentity(work, name, { startCount: 0, incarnation: null, place: null, systemId: null });
    forgetWord(work, name);
  });
}

export interface FoundingView {
  /** Whose agents have not reported yet, or not for a while. */
  waitsFor: MemberName[];
  /** What stands in the way though all have reported, and the members that it is about. */
  obstacle: FoundingObstacle | null;
  members: MemberName[];
  /** The same in words, with the remedy. */
  detail: string;
}

/** What keeps the dataservice from being founded. */
export function foundingOf(state: ClusterState, phase: PhaseOf<"founding">): FoundingView {
  const verdict = judgeFounding(state, phase);
  switch (verdict.kind) {
    case "ready":
      return { waitsFor: [], obstacle: null, members: [], detail: "it is being founded" };
    case "waiting": {
      const { missing: waitsFor } = verdict;
      return { waitsFor, obstacle: null, members: [], detail: `waiting for reports of ${waitsFor.join(", ")}` };
    }
    case "blocked": {
      const { why: obstacle, members } = verdict;
      return { waitsFor: [], obstacle, members, detail: OBSTACLES[obstacle](phase.primary, members.join(", ")) };
    }
  }
}

const OBSTACLES: Record<FoundingObstacle, (primary: MemberName, members: string) => string> = {
  "several-systems": () => "its members' servers are of several systems: they cannot replicate from each other",
  "member-has-an-epoch": (_, members) =>
    `${members} belonged to a dataservice before: if it is this one, whose coordinator has lost its storage, create it as restored`,
  "another-member-is-writable": (primary, members) => `${members} accepts writes, and ${primary} is to be the primary`,
  "another-member-is-unclear": (_, members) =>
    `the server of ${members} does not answer, and may be writable: let it answer, or stop it for certain`,
  "primary-not-running": (primary) =>
    `start the server of ${primary}, or name another first primary: \`failover to MEMBER\``,
  "another-member-is-ahead": (primary, members) =>
    `${members} holds what ${primary} lacks: name it, \`failover to MEMBER\`, or give that up, \`set force true\` and \`failover to ${primary}\``,
};

/** When the coordinator's machine must be woken though nobody speaks. */
import { isOperatorsWord } from "../../domain/datasource.ts";
import { recoveryDeadlines } from "./recover.ts";
import type { ClusterState, MemberRecord } from "./state.ts";
import { phaseDeadline } from "./succession.ts";
import { switchDeadlines } from "./switch.ts";

/** The next moment, in `at`, at which a tick can change something; null when only events can. */
export function nextDeadlineAt(state: ClusterState): number | null {
  const moments = [phaseDeadline(state), ...planned(state), ...silences(state), ...restarts(state)].filter(
    (moment): moment is number => moment !== null && moment > state.live.at,
  );
  return moments.length === 0 ? null : Math.min(...moments);
}

function planned(state: ClusterState): number[] {
  const { plan } = state.durable;
  if (!plan) return [];
  return plan.kind === "switch" ? switchDeadlines(state, plan) : recoveryDeadlines(state);
}

function silences(state: ClusterState): number[] {
  if (state.durable.phase.kind === "founding" || state.durable.policy === "maintenance") return [];
  return Object.values(state.durable.members)
    .filter((record) => record.role === "replica" && mayFallSilent(record))
    .map((record) => (state.live.hosts[record.name]?.handledAt ?? 0) + state.durable.settings.silentMs);
}

/** Whether a silence would change the record: a shun, an operator's word and a silence already told stay as they are. */
function mayFallSilent({ state, reason }: MemberRecord): boolean {
  return state !== "shunned" && !isOperatorsWord(reason) && reason.kind !== "manager-stopped";
}

function restarts(state: ClusterState): number[] {
  return Object.values(state.live.restarts).map((restart) => restart.notBefore);
}

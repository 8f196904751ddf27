/** When the coordinator's machine must be woken though nobody speaks. */
import { isOperatorsWord } from "../../domain/datasource.ts";
import { durabilityDeadline } from "./durability.ts";
import { recoveryDeadlines } from "./recover.ts";
import type { ClusterState, MemberRecord } from "./state.ts";
import { phaseDeadline } from "./succession.ts";
import { switchDeadlines } from "./switch.ts";

/** The next moment, in `at`, at which a tick can change something; null when only events can. */
export function nextDeadlineAt(state: ClusterState): number | null {
  let next = Infinity;
  const consider = (moment: number | null): void => {
    if (moment !== null && moment > state.live.at && moment < next) next = moment;
  };
  consider(phaseDeadline(state));
  for (const moment of planned(state)) consider(moment);
  consider(durabilityDeadline(state));
  considerSilences(state, consider);
  for (const { notBefore } of Object.values(state.live.restarts)) consider(notBefore);
  return next === Infinity ? null : next;
}

function planned(state: ClusterState): readonly number[] {
  const { plan } = state.durable;
  if (!plan) return NO_MOMENTS;
  return plan.kind === "switch" ? switchDeadlines(state, plan) : recoveryDeadlines(state);
}

const NO_MOMENTS: readonly number[] = [];

function considerSilences({ durable, live }: ClusterState, consider: (moment: number) => void): void {
  const { phase, electorate, settings } = durable;
  if (phase.kind === "reigning" && phase.opened) {
    // Who falls silent is struck off the electorate, in every policy.
    for (const name of electorate.members) {
      if (name !== phase.primary) consider((live.hosts[name]?.handledAt ?? 0) + settings.silentMs);
    }
  }
  if (durable.phase.kind === "founding" || durable.policy === "maintenance") return;
  for (const record of Object.values(durable.members)) {
    if (record.role !== "replica" || !mayFallSilent(record)) continue;
    consider((live.hosts[record.name]?.handledAt ?? 0) + durable.settings.silentMs);
  }
}

/** Whether a silence would change the record: a shun, an operator's word and a silence already told stay as they are. */
function mayFallSilent({ state, reason }: MemberRecord): boolean {
  return state !== "shunned" && !isOperatorsWord(reason) && reason.kind !== "manager-stopped";
}

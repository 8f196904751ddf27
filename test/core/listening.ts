/** What a dataservice tells, kept for a test to look at. */
import type { Reason } from "#shared/core/cluster/reason.ts";
import type { ClusterStep, OperationRecord } from "#shared/core/cluster/state.ts";
import { step } from "#shared/core/cluster/step.ts";
import type { Command, Route } from "#shared/domain/messages.ts";
import { poll, ROUTER, type Cluster } from "./builders.ts";

export interface Told {
  reasons: Reason[];
  /** Every operation's record, as often as it was written. */
  records: OperationRecord[];
  /** Every command that left with a reply, and for whom. */
  commands: { host: string; command: Command }[];
}

/** Keeps everything that the dataservice tells from now on. */
export function listen(cluster: Cluster): Told {
  const told: Told = { reasons: [], records: [], commands: [] };
  const { stepWith = step } = cluster;
  cluster.stepWith = (state, event) => {
    const result = stepWith(state, event);
    told.reasons.push(...result.reasons);
    told.records.push(...result.effects.flatMap((effect) => (effect.kind === "operation" ? [effect.record] : [])));
    if (event.kind === "poll") {
      told.commands.push(...commandsIn(result).map((command) => ({ host: event.poll.host, command })));
    }
    return result;
  };
  return told;
}

/** The reasons of one kind, in order. */
export function reasonsOf<K extends Reason["kind"]>({ reasons }: Pick<Told, "reasons">, kind: K) {
  return reasons.filter((reason): reason is Extract<Reason, { kind: K }> => reason.kind === kind);
}

/** How the last operation of a kind ended: its code, `succeeded`, or `running`. */
export function endOf({ records }: Told, kind: OperationRecord["kind"]): string {
  const last = records.findLast((record) => record.kind === kind);
  if (!last) return "never begun";
  return last.state === "failed" ? last.code : last.state;
}

export function commandsIn({ answer }: ClusterStep): Command[] {
  return answer.kind === "reply" ? answer.reply.commands : [];
}

/** The kinds of the commands that `host` was given, in order; those that were repeated once. */
export function givenTo({ commands }: Told, host: string): Command["kind"][] {
  const given = commands.filter((one) => one.host === host).map(({ command }) => command);
  const isFirst = ({ id }: Command, index: number): boolean => given.findIndex((other) => other.id === id) === index;
  return given.filter(isFirst).map(({ kind }) => kind);
}

/** What the router host is told of one service now. */
export function routeOf<S extends Route["service"]>(cluster: Cluster, service: S): Extract<Route, { service: S }> {
  const { answer } = poll(cluster, ROUTER);
  const routes = answer.kind === "reply" ? answer.reply.routes : [];
  const route = routes.find((one): one is Extract<Route, { service: S }> => one.service === service);
  if (!route) throw new Error(`nothing is said of ${service}`);
  return route;
}

/** Why a request was refused; "accepted" when it was not. */
export function refusalOf({ answer }: ClusterStep): string {
  return answer.kind === "refused" ? answer.refusal.code : answer.kind;
}

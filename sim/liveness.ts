/**
 * L1: when nothing breaks any more, the dataservice comes to rest in a state that is as good as it can be without a
 * person. What it may rest in besides a whole reign is named, and counted.
 */
import { isOperatorsWord } from "#shared/domain/datasource.ts";
import { ancestry, lastOpenedEpoch } from "#shared/domain/reign.ts";
import type { AbortCode } from "#shared/core/cluster/reason.ts";
import type { DurableState, MemberRecord, PhaseOf } from "#shared/core/cluster/state.ts";
import type { Host } from "./host.ts";

/** Failovers that stop here wait for a person, by design. */
const NEEDS_A_PERSON: ReadonlySet<AbortCode> = new Set([
  "candidates-diverged",
  "loss-exceeds-limit",
  "failover-budget-spent",
  "operators-word",
  "upstream-writable",
  "read-quorum-missing",
  "coordinator-restored",
]);

export type Rest =
  /** A primary is open, and whoever can streams from it; `aside` are members that need a repair. */
  { kind: "reigning"; aside: string[] } | { kind: "needs-a-person"; code: string } | { kind: "unsettled"; why: string };

/** Where the dataservice stands, by what is stored and what the servers do. */
export function restOf(durable: DurableState, hosts: Host[]): Rest {
  const { phase } = durable;
  if (phase.kind === "vacant") return vacancy(durable, hosts, phase);
  if (phase.kind === "founding" && !holdsAll(hosts)) return { kind: "needs-a-person", code: "another-member-is-ahead" };
  if (phase.kind === "collecting" && !hasEligible(durable, hosts))
    return { kind: "needs-a-person", code: "nobody-left" };
  if (phase.kind !== "reigning" || !phase.opened) return { kind: "unsettled", why: `phase ${phase.kind}` };
  const primary = hosts.find((host) => host.name === phase.primary);
  if (!primary?.server.accepts) return { kind: "unsettled", why: `${phase.primary} reigns and accepts no writes` };
  if (durable.durabilityChange !== null) return { kind: "unsettled", why: "the durability is being changed" };
  if (durable.durability === "async" && primary.server.syncNames.k > 0)
    return { kind: "unsettled", why: `${phase.primary} waits for others, and nobody has asked for that` };
  const aside: string[] = [];
  for (const host of hosts) {
    if (host === primary) continue;
    const reason = whyNotStreaming(durable, host, primary);
    if (reason === null) continue;
    if (!reason.isAccepted)
      return { kind: "unsettled", why: `${host.name} does not stream from ${primary.name}: ${reason.why}` };
    aside.push(reason.why);
  }
  return { kind: "reigning", aside };
}

/** The member whose log every other's is part of. */
export function holdsAll(hosts: Host[]): Host | undefined {
  return hosts.find(({ server }) => hosts.every((other) => other.server.isPrefixOf(server)));
}

function vacancy(durable: DurableState, hosts: Host[], { code, cause }: PhaseOf<"vacant">): Rest {
  if (NEEDS_A_PERSON.has(code)) return { kind: "needs-a-person", code };
  if (!hasEligible(durable, hosts)) return { kind: "needs-a-person", code: "nobody-left" };
  // An operator named somebody who could not: the operator has been told, and decides.
  const wasNamed = code === "target-behind" || (code === "target-not-eligible" && cause !== "lease-lost");
  if (wasNamed) return { kind: "needs-a-person", code };
  return { kind: "unsettled", why: `vacant: ${code}` };
}

/** Whether an elector is of this line, and neither shunned for having been followed nor put aside by an operator. */
function hasEligible(durable: DurableState, hosts: Host[]): boolean {
  return hosts.some((host) => {
    // Whoever the last primary went on without is elected by nobody but a person.
    if (!durable.electorate.members.includes(host.name)) return false;
    const { reason } = durable.members[host.name] as MemberRecord;
    const isShunned =
      reason.kind === "failed-over-to" || (reason.kind === "failover-aborted" && !isLastHolder(durable, host));
    const isOut = isOperatorsWord(reason) || isShunned || host.disk.written.isDamaged;
    const { lost = null, isStray = false } = durable.identities[host.name] ?? {};
    if (isOut || lost !== null || hasForgotten(durable, host) || !isOfThisLine(durable, host)) return false;
    // What a coordinator that was restored to the past knows nothing of is promoted by nobody but a person.
    if (isStray) return false;
    // Everybody's memory was lost, the coordinator's too: of a line that nobody knows only a person can say what it is.
    if (!durable.reigns.some(({ timeline }) => timeline >= host.server.timeline)) return false;
    // By the logs themselves: who holds what the last holder lacks is of no use without a person.
    const { phase } = durable;
    const last = hosts.find(
      ({ name }) =>
        phase.kind !== "founding" && phase.kind !== "reigning" && phase.kind !== "deposing" && name === phase.deposed,
    );
    return !last || host === last || host.server.isPrefixOf(last.server);
  });
}

/** Whether it was given the newest epoch, or the newest that was seen open: whoever could not be opened before waits for a person. */
function isLastHolder({ reigns, epoch }: DurableState, { name }: Host): boolean {
  const lastOpened = lastOpenedEpoch(reigns, epoch);
  return reigns.some((reign) => reign.member === name && (reign.epoch === epoch || reign.epoch === lastOpened));
}

/** Whether its agent has lost its state, and nobody has readmitted it. */
function hasForgotten({ identities }: DurableState, { name, disk }: Host): boolean {
  return identities[name]?.incarnation !== disk.written.incarnation;
}

/** Whether the last epoch in which a member may have written is an ancestor of the current one. */
function isOfThisLine(durable: DurableState, host: Host): boolean {
  const ownEpoch = Math.max(host.disk.written.ownEpoch, durable.identities[host.name]?.assumedEpoch ?? 0);
  return ownEpoch === 0 || ancestry(durable.reigns, durable.epoch).some((reign) => reign.epoch === ownEpoch);
}

function whyNotStreaming(
  durable: DurableState,
  host: Host,
  primary: Host,
): { why: string; isAccepted: boolean } | null {
  const record = durable.members[host.name] as MemberRecord;
  if (record.state === "shunned") return { why: "shunned", isAccepted: true };
  if (isOperatorsWord(record.reason)) return { why: "operators-word", isAccepted: true };
  if (host.disk.written.isDamaged) return { why: `damaged and ${record.state}`, isAccepted: true };
  if (!isOfThisLine(durable, host)) return { why: `off-lineage and ${record.state}`, isAccepted: true };
  // Of a past that the coordinator has lost: its log may be whole all the same, and nobody can know.
  if (durable.identities[host.name]?.isStray) return { why: `stray and ${record.state}`, isAccepted: true };
  if (record.reason.kind === "diverged") {
    const isTrue = !host.server.isPrefixOf(primary.server);
    return { why: isTrue ? "diverged" : "called diverged, and is not", isAccepted: isTrue };
  }
  if (!host.server.isPrefixOf(primary.server) && host.server.stream === null)
    return { why: `diverged and ${record.state}`, isAccepted: true };
  if (host.server.stream?.upstream !== primary.server)
    return { why: `${record.state}, ${record.reason.kind}`, isAccepted: false };
  if (record.state !== "online") return { why: `streams, and is ${record.state}`, isAccepted: false };
  return null;
}

/** Every invariant can fail: a rule that no pair of states breaks guards nothing. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { assertClusterInvariants } from "#shared/core/cluster/invariants.ts";
import { voucherOf } from "#shared/core/cluster/restoring.ts";
import type { ClusterState, DurableState, LeaseRecord, OperationRecord, Plan } from "#shared/core/cluster/state.ts";
import { assertMemberInvariants } from "#shared/core/member/invariants.ts";
import type { MemberDurable, MemberPhase, MemberState } from "#shared/core/member/state.ts";
import { phases } from "./cluster-events.ts";
import { memberPhases } from "./member-events.ts";

type Pair<S> = [before: S, after: S];

/** The names of the rules, read from the source: a new rule without its violation fails here. */
function rulesIn(path: string): string[] {
  const source = readFileSync(new URL(`../../shared/core/${path}`, import.meta.url), "utf8");
  return [...source.matchAll(/^ {2}"([^"]+)":/gm)].map((match) => match[1] ?? "");
}

const sound: ClusterState = phases["reigning-opened"]().state;

/** A durable change that is sound in everything but `patch`. */
function changed(patch: Partial<DurableState>, before: ClusterState = sound): Pair<ClusterState> {
  return [before, { ...before, durable: { ...before.durable, version: before.durable.version + 1, ...patch } }];
}

function leased(patch: Partial<LeaseRecord>): Pair<ClusterState> {
  if (!sound.lease) throw new Error("the primary holds a lease");
  return [sound, { ...sound, lease: { ...sound.lease, ...patch } }];
}

function withMember(
  name: string,
  patch: Partial<DurableState["members"][string]>,
  state = sound,
): DurableState["members"] {
  const record = state.durable.members[name];
  if (!record) throw new Error(`no member ${name}`);
  return { ...state.durable.members, [name]: { ...record, ...patch } };
}

const { epoch, op, reigns, phase } = sound.durable;
const newest = reigns.at(-1);
const { db1, db2 } = sound.durable.identities;
if (!newest || phase.kind !== "reigning" || !sound.lease || !db1 || !db2) throw new Error("db2 reigns in epoch 2");
const next = { ...newest, epoch: epoch + 1, proof: "founded" as const };
const failedByOperator = changed({
  members: withMember("db4", { state: "failed", reason: { kind: "manually-failed" } }),
})[1];
const follow = {
  kind: "follow",
  id: "x",
  op,
  epoch: epoch + 1,
  deadlineMs: 1,
  upstream: { member: "db2", host: "h", port: 1 },
} as const;

const switching: Plan = { kind: "switch", op, primary: "db2", target: "db3", step: { kind: "preparing" } };

function operationOf(kind: OperationRecord["kind"]): OperationRecord {
  return { op, kind, requestedBy: "operator", state: "running", code: "", startedWallMs: 0, endedWallMs: null };
}

const [, deposing] = changed({ phase: { kind: "deposing", epoch, primary: "db2", op, cause: "operator-failed" } });

const clusterViolations: Record<string, Pair<ClusterState>> = {
  "epochs only grow, by one": changed({ epoch: epoch + 2 }),
  "operation numbers only grow": changed({ op: op - 1 }),
  "the version grows with every durable change": changed({ version: sound.durable.version }),
  "the newest reign is the newest epoch's": changed({ reigns: reigns.slice(0, -1) }),
  "every epoch has one reign": changed({ reigns: [newest, newest] }),
  "only the newest epoch reigns": changed({ phase: { ...phase, epoch: epoch - 1 } }),
  "an epoch is followed only after its end was proved": changed({
    epoch: epoch + 1,
    reigns: [...reigns, next],
    phase: { ...phase, epoch: epoch + 1 },
  }),
  "a lease is of the newest epoch or an ended one": leased({ epoch: epoch + 1 }),
  "a lease is granted to nobody but its epoch's member": leased({ member: "db3" }),
  "the lease's serial only grows": leased({ serial: sound.lease.serial - 1 }),
  "no lease is granted while its reign is being ended": [
    deposing,
    { ...deposing, lease: { ...sound.lease, serial: sound.lease.serial + 1 } },
  ],
  "what was released stays released": changed({
    identities: {
      ...sound.durable.identities,
      db1: { ...db1, released: -1, policyVersion: 0 },
    },
  }),
  "an operator's word is undone by no report": changed(
    { members: withMember("db4", { state: "online", reason: { kind: "none" } }, failedByOperator) },
    failedByOperator,
  ),
  "an online primary is the one that reigns": changed({ members: withMember("db3", { role: "primary" }) }),
  "a plan is part of the operation under way": changed({ plan: switching }),
  "a change of durability is the operation under way": changed({
    durabilityChange: { op, step: { kind: "preparing" } },
  }),
  "synchronous durability is promised only when a set of this reign is in force": changed({
    durability: "sync",
    syncSets: [{ version: 1, epoch, primary: "db2", k: 1, members: [{ name: "db3", incarnation: "x" }], from: null }],
  }),
  "a switch stops nobody before its step": changed({
    operation: operationOf("switch"),
    plan: { ...switching, step: { kind: "stopping" } },
    phase: {
      kind: "vacant",
      epoch,
      deposed: "db2",
      op,
      proof: "released",
      cause: "switch",
      code: "no-candidate",
      welcomed: null,
    },
  }),
  "confirmed policies only grow": changed({
    identities: {
      ...sound.durable.identities,
      db1: { ...db1, released: 1, policyVersion: -1 },
    },
  }),
  "a coordinator of the past mints and commands nothing": changed({
    commands: { db3: { ...follow, op, epoch } },
    restoration: { kind: "reporting", ownVersion: 1, known: voucherOf(sound.durable) },
  }),
  "nobody is heard of whom there are two": changed({
    identities: { ...sound.durable.identities, db2: { ...db2, isForked: true } },
  }),
  "commands carry no epoch or operation ahead of the state": changed({ commands: { db3: follow } }),
};

const open: MemberState = memberPhases.open().state;

function moved(durable: Partial<MemberDurable>, to: MemberPhase = open.phase, before = open): Pair<MemberState> {
  return [before, { ...before, durable: { ...before.durable, ...durable }, phase: to }];
}

const closed: MemberPhase = { kind: "closed", running: null, queued: null };
const unfounded: MemberState = { ...open, durable: { ...open.durable, founded: false } };
const attempted = open.durable.attempted;

const memberViolations: Record<string, Pair<MemberState>> = {
  "the highest epoch seen only grows": moved({ epochSeen: open.durable.epochSeen - 1 }),
  "the highest operation seen only grows": moved({ opSeen: open.durable.opSeen - 1 }),
  "the version only grows": moved({ version: open.durable.version - 1 }),
  "attempted and released only grow": moved({ released: open.durable.released - 1 }),
  "founded once, founded for ever": moved({ founded: false }),
  "an unfounded member only observes": [unfounded, unfounded],
  "a closed member has released all it attempted": moved({}, closed),
  "who is open has attempted that epoch and not released it": moved({ released: attempted }),
  "nobody attempts an epoch it has not seen": moved(
    { attempted: attempted + 1 },
    { kind: "open", epoch: attempted + 1, running: null, shut: null },
  ),
  "nobody has opened what it did not attempt": moved({ opened: attempted + 1 }),
  "who opens holds the lease of that epoch": moved(
    { lease: null },
    { kind: "opening", epoch: attempted, running: { id: 1, kind: "promote", command: null } },
  ),
  "whoever opens has its whole data directory": moved(
    { isDamaged: true },
    { kind: "opening", epoch: attempted, running: { id: 1, kind: "promote", command: null } },
  ),
  "the log of its own epoch is never of one it did not attempt": moved({ ownEpoch: attempted + 1 }),
  "the identity of a server never changes": moved({ systemId: "7300000000000000002" }),
  "released is said only out of a finished fence or a refusal": moved({ released: attempted }, closed),
};

describe("the coordinator's machine", () => {
  test("has a violation for every rule", () => {
    expect(Object.keys(clusterViolations)).toEqual(rulesIn("cluster/invariants.ts"));
  });
  test("holds at rest", () => {
    expect(() => assertClusterInvariants(sound, sound)).not.toThrow();
  });
  test.each(Object.entries(clusterViolations))("%s", (rule, [before, after]) => {
    expect(() => assertClusterInvariants(before, after)).toThrow(`invariant broken: ${rule}`);
  });
});

describe("the member's machine", () => {
  test("has a violation for every rule", () => {
    expect(Object.keys(memberViolations)).toEqual(rulesIn("member/invariants.ts"));
  });
  test("holds at rest", () => {
    expect(() => assertMemberInvariants(open, open)).not.toThrow();
  });
  test.each(Object.entries(memberViolations))("%s", (rule, [before, after]) => {
    expect(() => assertMemberInvariants(before, after)).toThrow(`invariant broken: ${rule}`);
  });
});

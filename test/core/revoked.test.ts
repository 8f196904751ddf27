/**
 * While a silent primary is suspected, its replicas are frozen one after the other, and what each has said stands until
 * the proof is complete: nothing else may thaw one of them meanwhile. (Timeline: db2 is frozen and says so; a recovery
 * has it follow db1 again; db3 and db4 freeze, and with db2's word of before the reign is over; db1 goes on acknowledging
 * with db2's help.)
 */
import { expect, test } from "vitest";
import type { OperatorRequest, RecoverPlan } from "#shared/core/cluster/state.ts";
import { ask, frozenPatch, pass, phaseOf, poll, setDurable, type Cluster } from "./builders.ts";
import { commandsIn, refusalOf } from "./listening.ts";
import { round, synchronous, talk } from "./synchronous.ts";

/** db1 is suspected, and db2 has obeyed its freeze; db3 and db4 have been told to freeze. */
function suspected(): Cluster {
  const cluster = synchronous();
  round(cluster);
  pass(cluster, 2_000);
  for (const host of ["db2", "db3", "db4"]) talk(cluster, host);
  talk(cluster, "db2", frozenPatch(cluster));
  return cluster;
}

/** A recovery of db2 is under way since before: the storage may have been written when that was not refused. */
function recovering(cluster: Cluster): RecoverPlan {
  const { durable } = cluster.state;
  const op = durable.op + 1;
  const rest = { isWhole: false, waiting: [], recovered: [], failed: [] };
  const plan: RecoverPlan = { kind: "recover", op, member: "db2", step: { kind: "following" }, ...rest };
  const ended = { code: "", startedWallMs: cluster.atMs, endedWallMs: null };
  const operation = { op, kind: "datasource-recover", requestedBy: "operator", state: "running", ...ended } as const;
  setDurable(cluster, { op, plan, operation });
  return plan;
}

const REQUESTS: OperatorRequest[] = [
  { kind: "recover" },
  { kind: "datasource-recover", member: "db2" },
  { kind: "switch", to: "db3" },
  { kind: "datasource-shun", member: "db4" },
];

test.each(REQUESTS)("a suspicion is an operation: $kind waits for its end, also by force", (request) => {
  const cluster = suspected();
  pass(cluster, 3_500);
  for (const host of ["db3", "db4"]) talk(cluster, host);
  expect(refusalOf(ask(cluster, request))).toBe("operation-under-way");
  expect(refusalOf(ask(cluster, request, { force: true }))).toBe("operation-under-way");
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", isSuspected: true });
});

test("what a suspicion has frozen is thawed by no recovery", () => {
  const cluster = suspected();
  recovering(cluster);
  pass(cluster, 2_100);
  expect(commandsIn(poll(cluster, "db2")).map(({ kind }) => kind)).not.toContain("follow");
  expect(cluster.state.durable.commands["db2"]).toMatchObject({ kind: "freeze" });
});

test("what follows `revoked` has no lower number than anything that its members were told meanwhile", () => {
  const cluster = suspected();
  const { op } = recovering(cluster);
  for (const host of ["db3", "db4"]) talk(cluster, host, frozenPatch(cluster));
  expect(phaseOf(cluster)).toMatchObject({ epoch: 1, proof: "revoked" });
  const phase = phaseOf(cluster);
  expect(phase.kind === "founding" ? 0 : phase.op).toBeGreaterThanOrEqual(op);
});

/** What carries authority, and who may be given it. */
import { expect, test } from "vitest";
import { ineligible } from "#shared/core/cluster/choose.ts";
import { DEFAULT_SETTINGS, MOST_FENCE_MS } from "#shared/domain/settings.ts";
import {
  answerInquiry,
  frozenPatch,
  pass,
  passWithout,
  poll,
  runningCluster,
  setDurable,
  silencedCluster,
  WAIT_MS,
  type Cluster,
} from "./builders.ts";

/** The electorate without one of the members, who stays a member. */
function without(cluster: Cluster, name: string): void {
  const { durable } = cluster.state;
  const members = durable.electorate.members.filter((other) => other !== name);
  setDurable(cluster, { electorate: { version: 2, members, unconfirmed: [] } });
}

test("a command that is given again is confirmed again: the reply that carries it rests on a write of its own", () => {
  const cluster = silencedCluster();
  answerInquiry(cluster, ["db2", "db3", "db4"], "read-only");
  const first = poll(cluster, "db2");
  const [given] = first.answer.kind === "reply" ? first.answer.reply.commands : [];
  expect(given).toMatchObject({ kind: "freeze" });
  pass(cluster, 600);
  const before = cluster.state.durable;
  const again = poll(cluster, "db2");
  expect(again.answer.kind === "reply" && again.answer.reply.commands[0]?.id).toBe(given?.id);
  expect(cluster.state.durable.commands["db2"]).toBe(before.commands["db2"]);
  expect(again.confirm).toBe(true);
});

test("whoever is not in the electorate is passed over, whatever it holds", () => {
  const cluster = runningCluster();
  without(cluster, "db2");
  // Time ends the reign: its holder may go by this list for longer than anybody knows.
  passWithout(cluster, WAIT_MS + 1_000, ["db1"]);
  const { phase } = cluster.state.durable;
  expect(phase.kind).toBe("collecting");
  if (phase.kind !== "collecting") return;
  expect(ineligible(cluster.state, phase, "db2")).toBe("not-in-electorate");
  answerInquiry(cluster, ["db2", "db3", "db4"], "read-only");
  pass(cluster, 50);
  for (const host of ["db3", "db4"]) poll(cluster, host);
  pass(cluster, 50);
  for (const host of ["db3", "db4"]) poll(cluster, host, frozenPatch(cluster));
  const { durable } = cluster.state;
  expect(durable.phase).toMatchObject({ kind: "reigning", epoch: 2 });
  expect(durable.reigns.at(-1)?.member).not.toBe("db2");
});

test("a promise without an end holds up succession no longer than any promise could, once its giver is silent", () => {
  const cluster = runningCluster();
  pass(cluster, 500);
  poll(cluster, "db2", { promises: [{ holder: "db1", epoch: 1, remainingMs: 1e12 }] });
  const liedAtMs = cluster.atMs;
  passWithout(cluster, 30_000, ["db1", "db2"]);
  expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 1 });
  const { ttlMs, marginMs } = DEFAULT_SETTINGS;
  passWithout(cluster, liedAtMs + ttlMs + MOST_FENCE_MS + marginMs + 3_000 - cluster.atMs, ["db1", "db2"]);
  expect(cluster.state.durable.phase.kind).not.toBe("reigning");
});

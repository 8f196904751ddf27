/** What an agent says of itself that cannot be: it harms nobody else, and no step breaks on it. */
import { describe, expect, test } from "vitest";
import { ineligible } from "#shared/core/cluster/choose.ts";
import {
  ask,
  begunPatch,
  clocksAt,
  endedPatch,
  healthyServer,
  nextPoll,
  pass,
  passWithout,
  phaseOf,
  poll,
  releasedPatch,
  REPLICAS,
  ROUTER,
  runningCluster,
  send,
  streamingPatch,
  type Cluster,
} from "./builders.ts";
import { live, restartCoordinator } from "./living.ts";

/** db1's server dies, and its replicas come with the ends of their streams. */
function failOver(cluster: Cluster): void {
  poll(cluster, "db1", releasedPatch(1));
  for (let turn = 0; turn < 5; turn += 1) {
    pass(cluster, 100);
    for (const host of REPLICAS) poll(cluster, host, endedPatch("db1"));
  }
}

describe("an agent that vouches for epochs to come", () => {
  test("lays down no more than there are, and is passed over", () => {
    const cluster = runningCluster();
    poll(cluster, "db2", { released: 99 });
    expect(cluster.state.durable.identities["db2"]?.released).toBe(1);
    expect(ineligible(cluster.state, { epoch: 1 }, "db2")).toBe("of-another-life");
    failOver(cluster);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, primary: "db3" });
  });

  test("is not readmitted: it is of another dataservice, or of this one's former life, and would obey nothing", () => {
    const cluster = runningCluster();
    passWithout(cluster, 4_000, ["db2"]);
    ask(cluster, { kind: "datasource-recover", member: "db2" }, { force: true });
    const ofAnotherLife = {
      epochSeen: 40,
      opSeen: 900,
      attempted: 40,
      released: 40,
      releaseCause: "commanded",
    } as const;
    const stranger = { ...begunPatch(9), ...ofAnotherLife, incarnation: "of-before", ...streamingPatch("db1") };
    const { answer } = poll(cluster, "db2", stranger);
    expect(answer).toMatchObject({ refusal: { code: "wrong-incarnation" } });
    expect(answer).toMatchObject({ refusal: { detail: expect.stringContaining("empty state directory") as string } });
    poll(cluster, "db2", { epochSeen: 0, opSeen: 0, attempted: 0, released: 0, releaseCause: "none" });
    expect(cluster.state.durable.identities["db2"]?.incarnation).toBe("of-before");
  });
});

describe("numbers at the end of all numbers", () => {
  const LAST = Number.MAX_SAFE_INTEGER;

  test.each([ROUTER, "db3"])("of a list of electors, told by %s, do not become ours", (host) => {
    const cluster = runningCluster();
    const { version } = cluster.state.durable.electorate;
    poll(cluster, host, { electorateVersion: LAST });
    passWithout(cluster, 12_000, ["db4"]);
    const { electorate } = cluster.state.durable;
    expect(electorate.members).not.toContain("db4");
    expect(electorate.version).toBe(version + 1);
  });

  test.each([
    ["epochs", { epochSeen: LAST }],
    ["operations", { opSeen: LAST }],
    ["versions", { version: LAST }],
    ["lists", { electorateVersion: LAST }],
    ["policies", { policyVersion: LAST }],
  ])("of %s are not believed of a lost time either, when an operator has the members' claims count", (_, claim) => {
    const cluster = runningCluster();
    restartCoordinator(cluster);
    ask(cluster, { kind: "coordinator-restored" });
    for (let second = 0; second < 9; second += 1) {
      pass(cluster, 1_000);
      poll(cluster, "db1", releasedPatch(1));
      poll(cluster, "db3", endedPatch("db1"));
      poll(cluster, "db2", claim);
    }
    expect(cluster.state.live.hosts["db2"]?.poll).toMatchObject(claim);
    expect(ask(cluster, { kind: "coordinator-restored" }, { force: true }).answer.kind).toBe("accepted");
    expect(cluster.state.durable).toMatchObject({ epoch: 1, restoration: { kind: "unconfirmed" } });
    const { op, version, policyVersion, electorate } = cluster.state.durable;
    expect(Math.max(op, version, policyVersion, electorate.version)).toBeLessThan(1_000);
  });
});

test("an older start of a router host that speaks of a server is refused, and changes nothing", () => {
  const cluster = runningCluster();
  pass(cluster, 1_000);
  poll(cluster, ROUTER, begunPatch(3));
  pass(cluster, 1_000);
  const { durable } = cluster.state;
  const odd = { startCount: 2, clocks: clocksAt(cluster.atMs), server: healthyServer(ROUTER) };
  const sent = { ...nextPoll(cluster, ROUTER), ...odd };
  expect(send(cluster, { kind: "poll", poll: sent }).answer).toMatchObject({ refusal: { code: "second-agent" } });
  expect(cluster.state.durable).toBe(durable);
});

test("one whose server can never be opened keeps nobody from being tried who holds as much", () => {
  const cluster = runningCluster();
  live(cluster, 2_000);
  const isHopeless = (host: string, kind: string) => host === "db2" && kind === "promote";
  poll(cluster, "db1", releasedPatch(1));
  live(cluster, 60_000, {
    silent: ["db1"],
    obey: (host, command) =>
      isHopeless(host, command.kind) ? { released: command.epoch, releaseCause: "promotion-failed" } : undefined,
  });
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db3", opened: true });
  expect(cluster.state.durable.reigns.map(({ member }) => member)).toEqual(["db1", "db2", "db3"]);
});

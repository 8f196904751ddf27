/** What stands against a founding: each is told once, and nothing is minted while it stands. */
import { describe, expect, test } from "vitest";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  createdCluster,
  epochOf,
  pass,
  phaseOf,
  poll,
  position,
  REPLICAS,
  STOPPED,
  WRITABLE,
  type Cluster,
  type PollPatch,
  ask,
} from "./builders.ts";
import { statusOf } from "#shared/core/cluster/status.ts";
import { listen, reasonsOf } from "./listening.ts";

const SERVING = { server: { phase: "observing", report: WRITABLE } } as const;
const OTHER_SYSTEM = "7399999999999999999";

/** Everybody reports, in good order but for what is patched; the first primary serves. */
function reported(patches: Record<string, PollPatch> = {}): Cluster {
  const cluster = createdCluster();
  for (const host of REPLICAS) poll(cluster, host, patches[host]);
  poll(cluster, "db1", patches["db1"] ?? SERVING);
  return cluster;
}

test("where nothing does, the first epoch is minted for the named primary", () => {
  const cluster = reported();
  expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db1", how: "adopt", epoch: 1 });
});

describe("a dataservice is not founded", () => {
  test.each([
    [
      "over servers of several systems",
      { db3: { server: { systemId: OTHER_SYSTEM, position: { ...position("0/3000000"), systemId: OTHER_SYSTEM } } } },
      { why: "several-systems", members: ["db1", "db2", "db3", "db4"] },
    ],
    [
      "over a member that has seen an epoch: it is a restore",
      { db2: { epochSeen: 4 } },
      { why: "member-has-an-epoch", members: ["db2"] },
    ],
    [
      "over a member that has set out to open",
      { db2: { epochSeen: 4, attempted: 4 }, db4: { opSeen: 9 } },
      { why: "member-has-an-epoch", members: ["db2", "db4"] },
    ],
    [
      "beside a server that does not answer: it may be writable",
      { db3: { server: { report: { state: "unresponsive" } } } },
      { why: "another-member-is-unclear", members: ["db3"] },
    ],
    ["beside another writable server", { db4: SERVING }, { why: "another-member-is-writable", members: ["db4"] }],
    [
      "while the named primary's server is down",
      { db1: { server: { phase: "observing", report: STOPPED } } },
      { why: "primary-not-running", members: ["db1"] },
    ],
    [
      "by promoting one who lacks what another member holds",
      { db1: { server: { phase: "observing" } }, db3: { server: { position: position("0/3000100") } } },
      { why: "another-member-is-ahead", members: ["db3"] },
    ],
    [
      "by promoting one of an older line",
      {
        db1: { server: { phase: "observing", position: position("0/3000900") } },
        db2: { server: { position: position("0/3000800", 2, [[1, "0/3000400"]]) } },
      },
      { why: "another-member-is-ahead", members: ["db2"] },
    ],
  ] as [string, Record<string, PollPatch>, object][])("%s", (_, patches, told) => {
    const cluster = createdCluster();
    const heard = listen(cluster);
    for (let turn = 0; turn < 3; turn += 1) {
      pass(cluster, 500);
      for (const host of REPLICAS) poll(cluster, host, patches[host]);
      poll(cluster, "db1", patches["db1"] ?? SERVING);
    }
    expect(phaseOf(cluster).kind).toBe("founding");
    expect(epochOf(cluster)).toBe(0);
    expect(reasonsOf(heard, "founding-blocked")).toMatchObject([told]);
    expect(heard.commands).toEqual([]);
  });

  test("by what was reported long ago: who is writable now may be another", () => {
    const cluster = createdCluster();
    for (const host of REPLICAS) poll(cluster, host);
    pass(cluster, 3 * DEFAULT_SETTINGS.pollMs + 1);
    for (const host of ["db2", "db3"]) poll(cluster, host);
    poll(cluster, "db1", SERVING);
    expect(phaseOf(cluster).kind).toBe("founding");
    poll(cluster, "db4");
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 1 });
  });
});

describe("what an operator may ask before it", () => {
  const AHEAD = { server: { position: position("0/3000100") } };
  const UNFIT: Record<string, PollPatch> = { db1: { server: { phase: "observing" } }, db3: AHEAD };

  test("is another first primary, which is promoted then", () => {
    const cluster = reported(UNFIT);
    expect(statusOf(cluster.state, "test").founding).toMatchObject({
      obstacle: "another-member-is-ahead",
      members: ["db3"],
      detail: expect.stringContaining("failover to MEMBER") as string,
    });
    expect(ask(cluster, { kind: "failover", to: "db3" }).answer.kind).toBe("accepted");
    expect(statusOf(cluster.state, "test").datasources.map(({ member, role }) => `${member} ${role}`)).toEqual([
      "db1 replica",
      "db2 replica",
      "db3 primary",
      "db4 replica",
    ]);
    poll(cluster, "db3", AHEAD);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db3", how: "promote", epoch: 1 });
    expect(statusOf(cluster.state, "test").founding).toBeNull();
  });

  test("is the one that lacks something all the same, by force, and that holds for the one that was named only", () => {
    const cluster = createdCluster();
    for (const host of ["db1", "db2", "db3"]) poll(cluster, host, UNFIT[host]);
    ask(cluster, { kind: "failover", to: "db2" }, { force: true });
    ask(cluster, { kind: "failover", to: "db1" });
    poll(cluster, "db4");
    expect(phaseOf(cluster).kind).toBe("founding");
    ask(cluster, { kind: "failover", to: "db1" }, { force: true });
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", primary: "db1", epoch: 1 });
  });

  test("is that an agent which has lost its state is taken for the member's, by force only", () => {
    const cluster = createdCluster();
    for (const host of ["db2", "db3"]) poll(cluster, host);
    const forgetful = { incarnation: "another", startCount: 7, server: { systemId: "7299999999999999999" } };
    expect(poll(cluster, "db3", forgetful).answer).toMatchObject({ refusal: { code: "wrong-incarnation" } });
    const request = { kind: "datasource-recover", member: "db3" } as const;
    expect(ask(cluster, request).answer).toMatchObject({ refusal: { code: "not-founded" } });
    expect(ask(cluster, request, { force: true }).answer.kind).toBe("accepted");
    expect(statusOf(cluster.state, "test").founding?.waitsFor).toContain("db3");
    expect(poll(cluster, "db3", forgetful).answer.kind).toBe("reply");
  });

  test("is not another first primary than one that may come back writable, but by force", () => {
    for (const report of [STOPPED, { state: "unresponsive" } as const, WRITABLE]) {
      const cluster = createdCluster();
      poll(cluster, "db1", { server: { phase: "observing", report } });
      const request = { kind: "failover", to: "db2" } as const;
      expect(ask(cluster, request).answer).toMatchObject({ refusal: { code: "needs-force" } });
      expect(phaseOf(cluster)).toMatchObject({ primary: "db1" });
      expect(ask(cluster, request, { force: true }).answer.kind).toBe("accepted");
    }
  });

  test("is nothing else, and the refusal says what the founding waits for", () => {
    const cluster = createdCluster();
    poll(cluster, "db2");
    expect(ask(cluster, { kind: "failover", to: null }).answer).toMatchObject({
      refusal: { code: "not-founded", detail: expect.stringContaining("db1, db3, db4") as string },
    });
  });
});

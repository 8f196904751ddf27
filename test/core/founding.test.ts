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
} from "./builders.ts";
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
    ["beside another writable server", { db4: SERVING }, { why: "another-member-is-writable", members: ["db4"] }],
    [
      "while the named primary's server is down",
      { db1: { server: { phase: "observing", report: STOPPED } } },
      { why: "primary-not-running", members: ["db1"] },
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

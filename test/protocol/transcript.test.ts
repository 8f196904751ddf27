import { describe, expect, it } from "vitest";
import type { Reason } from "#shared/core/cluster/reason.ts";
import { transcriptLines, transcriptOf, type ToldReason } from "#shared/protocol/transcript.ts";

/** The compiler refuses this when a reason that transcripts word has another shape in the machine. */
type TellableReason = Extract<Reason, { kind: ToldReason["kind"] }>;
const sameReasons: [TellableReason] extends [ToldReason] ? true : never = true;
const allReasons: [ToldReason["kind"]] extends [TellableReason["kind"]] ? true : never = true;

const FAILOVER: Reason[] = [
  { kind: "failover-started", op: 2, epoch: 1, deposed: "db2", cause: "server-died" },
  { kind: "positions-collecting", op: 2, mode: "natural", candidates: ["db1", "db3"] },
  { kind: "candidate-passed-over", op: 2, member: "db1", why: "not-on-lineage" },
  {
    kind: "candidate-position",
    op: 2,
    member: "db3",
    lsn: "0/3000060",
    timeline: 1,
    applied: 50_331_744,
    latencyMs: 682,
  },
  { kind: "candidate-chosen", op: 2, member: "db3", lsn: "0/3000060", timeline: 1 },
  { kind: "epoch-minted", epoch: 2, member: "db3", parent: 1, proof: "released", op: 2 },
  { kind: "primary-opened", epoch: 2, member: "db3", op: 2 },
  { kind: "failover-completed", op: 2, member: "db3", deposed: "db2", epoch: 2 },
];

describe("a transcript", () => {
  it("words the machine's own reasons", () => {
    expect([sameReasons, allReasons]).toEqual([true, true]);
  });

  it("tells a failover in the words that operators know, in their order", () => {
    expect(transcriptOf(FAILOVER, "alpha")).toEqual([
      "FAILOVER OF MASTER 'db2@alpha': SERVER DIED",
      "PASSED OVER: db1(NOT ON LINEAGE)",
      "EVALUATING SLAVE: db3(stored=50331744, applied=50331744, latency=0.682, datasource-group-id=0)",
      "SELECTED SLAVE: db3@alpha",
      "SHUNNING PREVIOUS MASTER 'db2@alpha'",
      "PUT THE NEW MASTER 'db3@alpha' ONLINE",
      "FAILOVER TO 'db3' WAS COMPLETED",
    ]);
  });

  it("grows at its end only, so that a reader may follow it", () => {
    const atOnce = transcriptOf(FAILOVER, "alpha");
    // The opening and the completion are stored together: nobody ever reads between the two.
    const readable = FAILOVER.map((_, index) => index).filter(
      (index) => FAILOVER[index]?.kind !== "failover-completed",
    );
    for (const end of readable)
      expect(atOnce.slice(0, transcriptOf(FAILOVER.slice(0, end), "alpha").length)).toEqual(
        transcriptOf(FAILOVER.slice(0, end), "alpha"),
      );
  });

  it("tells an opening that no completion follows", () => {
    const opened: Reason = { kind: "primary-opened", epoch: 1, member: "db1", op: 1 };
    expect(transcriptOf([opened], "alpha")).toEqual(["PUT THE NEW MASTER 'db1@alpha' ONLINE"]);
  });

  it("says why a failover was given up, and of whom", () => {
    const aborted: Reason = {
      kind: "failover-aborted",
      op: 2,
      deposed: "db1",
      code: "candidates-diverged",
      members: ["db2", "db3"],
    };
    expect(transcriptLines(aborted, "alpha")).toEqual([
      "FAILOVER OF 'db1@alpha' WAS ABORTED: CANDIDATES DIVERGED, db2, db3",
    ]);
  });

  it("leaves to the event log what it has no words for", () => {
    expect(transcriptLines({ kind: "coordinator-started" }, "alpha")).toEqual([]);
    expect(transcriptLines({ kind: "toString" }, "alpha")).toEqual([]);
  });
});

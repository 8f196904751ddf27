import { describe, expect, it } from "vitest";
import type { Reason, RecoverFailure, SwitchFailure } from "#shared/core/cluster/reason.ts";
import { transcriptOf, type ToldReason, type TranscriptContext } from "#shared/protocol/transcript.ts";

/** The compiler refuses this when a reason that transcripts word has another shape in the machine. */
type TellableReason = Extract<Reason, { kind: ToldReason["kind"] }>;
const sameReasons: [TellableReason] extends [ToldReason] ? true : never = true;
const allReasons: [ToldReason["kind"]] extends [TellableReason["kind"]] ? true : never = true;

/** The reasons with an operation's number that only the event log tells; the compiler names whatever is missing here. */
const UNTOLD: Record<Exclude<Extract<Reason, { op: number }>["kind"], ToldReason["kind"]>, true> = {
  "command-issued": true,
  "coordinator-restated": true,
  "epoch-minted": true,
  "positions-collecting": true,
  "primary-suspected": true,
  "suspicion-over": true,
};

function told(reasons: Reason[], given: Partial<TranscriptContext> = {}): string[] {
  return transcriptOf(reasons, { dataservice: "alpha", coordinator: "rome", operation: "failover", ...given });
}

function evaluated(op: number, member: string, progress: number, latencyMs: number): Reason {
  const lsn = `0/${progress.toString(16).toUpperCase()}`;
  return { kind: "candidate-position", op, member, lsn, timeline: 1, applied: progress, latencyMs };
}

function chosen(op: number, member: string): Reason {
  return { kind: "candidate-chosen", op, member, lsn: "0/E", timeline: 1 };
}

function lines(text: string): string[] {
  return text.trim().split("\n");
}

const FAILOVER: Reason[] = [
  { kind: "failover-started", op: 2, epoch: 1, deposed: "db2", cause: "server-died" },
  { kind: "positions-collecting", op: 2, mode: "natural", candidates: ["db1", "db3"] },
  { kind: "candidate-passed-over", op: 2, member: "db1", why: "not-on-lineage" },
  evaluated(2, "db3", 50_331_744, 682),
  chosen(2, "db3"),
  { kind: "epoch-minted", epoch: 2, member: "db3", parent: 1, proof: "released", op: 2 },
  { kind: "primary-opened", epoch: 2, member: "db3", op: 2 },
  { kind: "failover-completed", op: 2, member: "db3", deposed: "db2", epoch: 2 },
];

/** A switch from db1, as the machine tells it. */
function switchTo(target: string, { op, wallMs, evaluations }: { op: number; wallMs: number; evaluations: Reason[] }) {
  const reasons: Reason[] = [
    { kind: "operation-locked", op, policy: "automatic" },
    ...evaluations,
    chosen(op, target),
    { kind: "savepoint-created", op, operation: "switch", wallMs },
    { kind: "sessions-purging", op, member: "db1" },
    { kind: "sessions-purged", op, member: "db1", count: 0 },
    { kind: "transactions-flushing", op, member: "db1" },
    { kind: "failover-started", op, epoch: 1, deposed: "db1", cause: "switch" },
    { kind: "positions-collecting", op, mode: "natural", candidates: [target] },
    { kind: "candidate-passed-over", op, member: "db1", why: "server-down" },
    { kind: "epoch-minted", epoch: 2, member: target, parent: 1, proof: "released", op },
    { kind: "primary-opened", epoch: 2, member: target, op },
    { kind: "prior-primary-returning", op, member: "db1" },
    { kind: "switch-completed", op, member: target },
  ];
  return reasons;
}

function recovered(op: number, member: string, primary: string): Reason[] {
  return [
    { kind: "recovery-verifying", op, member },
    { kind: "recovery-verified", op, member },
    { kind: "recovery-using", op, member, primary },
    { kind: "role-changed", op, member, from: "primary", to: "replica" },
    { kind: "recovery-completed", op, member },
  ];
}

describe("a transcript", () => {
  it("words the machine's own reasons, and all that belong to an operation", () => {
    expect([sameReasons, allReasons]).toEqual([true, true]);
    for (const kind of Object.keys(UNTOLD)) expect(transcriptOf([{ kind }], CONTEXT)).toEqual([]);
  });

  it("grows at its end only, so that a reader may follow it", () => {
    for (const reasons of [FAILOVER, switchTo("db3", { op: 2, wallMs: 0, evaluations: [] })]) {
      const atOnce = told(reasons);
      // The opening and the completion are stored together: nobody ever reads between the two.
      const readable = reasons
        .map((_, index) => index)
        .filter((index) => reasons[index]?.kind !== "failover-completed");
      for (const end of readable) {
        const sofar = told(reasons.slice(0, end));
        expect(atOnce.slice(0, sofar.length)).toEqual(sofar);
      }
    }
  });

  it("leaves to the event log what it has no words for", () => {
    expect(transcriptOf([{ kind: "coordinator-started" }, { kind: "toString" }], CONTEXT)).toEqual([]);
  });
});

const CONTEXT: TranscriptContext = { dataservice: "alpha", coordinator: "rome", operation: "failover" };

describe("a switch, letter for letter but for the coordinator's name", () => {
  it("to whoever is most caught up", () => {
    const evaluations = [evaluated(2, "db3", 14, 682), evaluated(2, "db2", 14, 686)];
    const wallMs = Date.UTC(2025, 0, 27, 13, 54, 48, 999);
    expect(told(switchTo("db3", { op: 2, wallMs, evaluations }), { operation: "switch" })).toEqual(
      lines(`
SET POLICY: AUTOMATIC => MAINTENANCE
EVALUATING SLAVE: db3(stored=14, applied=14, latency=0.682, datasource-group-id=0)
EVALUATING SLAVE: db2(stored=14, applied=14, latency=0.686, datasource-group-id=0)
SELECTED SLAVE: db3@alpha
Savepoint switch_2(cluster=alpha, source=rome, created=2025/01/27 13:54:48 UTC) created
PURGE REMAINING ACTIVE SESSIONS ON CURRENT MASTER 'db1@alpha'
PURGED A TOTAL OF 0 ACTIVE SESSIONS ON MASTER 'db1@alpha'
FLUSH TRANSACTIONS ON CURRENT MASTER 'db1@alpha'
PUT THE NEW MASTER 'db3@alpha' ONLINE
PUT THE PRIOR MASTER 'db1@alpha' ONLINE AS A SLAVE
SWITCH TO 'db3@alpha' WAS SUCCESSFUL`),
    );
  });

  it("to a named member", () => {
    const wallMs = Date.UTC(2025, 0, 27, 13, 56, 7);
    const reasons = switchTo("db2", { op: 4, wallMs, evaluations: [evaluated(4, "db2", 22, 974)] });
    expect(told(reasons, { operation: "switch" })).toEqual(
      lines(`
SET POLICY: AUTOMATIC => MAINTENANCE
EVALUATING SLAVE: db2(stored=22, applied=22, latency=0.974, datasource-group-id=0)
SELECTED SLAVE: db2@alpha
Savepoint switch_4(cluster=alpha, source=rome, created=2025/01/27 13:56:07 UTC) created
PURGE REMAINING ACTIVE SESSIONS ON CURRENT MASTER 'db1@alpha'
PURGED A TOTAL OF 0 ACTIVE SESSIONS ON MASTER 'db1@alpha'
FLUSH TRANSACTIONS ON CURRENT MASTER 'db1@alpha'
PUT THE NEW MASTER 'db2@alpha' ONLINE
PUT THE PRIOR MASTER 'db1@alpha' ONLINE AS A SLAVE
SWITCH TO 'db2@alpha' WAS SUCCESSFUL`),
    );
  });
});

describe("a switch that is rolled back", () => {
  /** Every reason there is, complete by type. */
  const CODES: Record<SwitchFailure, true> = {
    "catch-up-timed-out": true,
    "target-lost": true,
    "primary-lost": true,
    "prepare-failed": true,
    "hold-timed-out": true,
    "drain-failed": true,
    "flush-timed-out": true,
    "switch-timed-out": true,
    "stop-not-clean": true,
    "target-incomplete": true,
  };

  it.each(Object.keys(CODES) as SwitchFailure[])("says the step, that it was %s, and who is the master", (code) => {
    const [line] = told([{ kind: "switch-rolled-back", op: 2, member: "db1", step: "draining", code }]);
    expect(line).toContain(`WHILE DRAINING: ${code.replaceAll("-", " ").toUpperCase()}. `);
    expect(line).toContain("'db1@alpha'");
  });

  it("before the stop has never had another master", () => {
    const reasons: Reason[] = [
      { kind: "switch-rolled-back", op: 2, member: "db1", step: "flushing", code: "flush-timed-out" },
      { kind: "operation-unlocked", op: 2, policy: "manual" },
    ];
    expect(told(reasons, { operation: "switch" })).toEqual([
      "THE SWITCH WAS ROLLED BACK WHILE FLUSHING: FLUSH TIMED OUT. 'db1@alpha' IS STILL THE MASTER",
      "REVERT POLICY: MAINTENANCE => MANUAL",
    ]);
  });

  it("after the stop opens the prior master again", () => {
    const reasons: Reason[] = [
      { kind: "failover-started", op: 2, epoch: 1, deposed: "db1", cause: "switch" },
      { kind: "switch-rolled-back", op: 2, member: "db1", step: "stopping", code: "stop-not-clean" },
      { kind: "failover-started", op: 2, epoch: 1, deposed: "db1", cause: "switch-undone" },
      chosen(2, "db1"),
      { kind: "primary-opened", epoch: 2, member: "db1", op: 2 },
    ];
    expect(told(reasons, { operation: "switch" })).toEqual([
      "THE SWITCH WAS ROLLED BACK WHILE STOPPING: STOP NOT CLEAN. 'db1@alpha' IS MADE THE MASTER AGAIN",
      "SELECTED SLAVE: db1@alpha",
      "PUT THE MASTER 'db1@alpha' ONLINE AGAIN",
    ]);
  });

  it("because the master itself has failed claims nothing about it", () => {
    const lost: Reason = { kind: "switch-rolled-back", op: 2, member: "db1", step: "preparing", code: "primary-lost" };
    expect(told([lost])).toEqual([
      "THE SWITCH WAS ROLLED BACK WHILE PREPARING: PRIMARY LOST. THE MASTER 'db1@alpha' HAS FAILED MEANWHILE",
    ]);
  });
});

describe("a failover", () => {
  it("by itself says of whom and why", () => {
    expect(told(FAILOVER)).toEqual([
      "FAILOVER OF MASTER 'db2@alpha': SERVER DIED",
      "PASSED OVER: db1(NOT ON LINEAGE)",
      "EVALUATING SLAVE: db3(stored=50331744, applied=50331744, latency=0.682, datasource-group-id=0)",
      "SELECTED SLAVE: db3@alpha",
      "SHUNNING PREVIOUS MASTER 'db2@alpha'",
      "PUT THE NEW MASTER 'db3@alpha' ONLINE",
      "FAILOVER TO 'db3' WAS COMPLETED",
    ]);
  });

  it("by hand, letter for letter but for the coordinator's name", () => {
    const op = 3;
    const block = [evaluated(op, "db1", 51, 355), evaluated(op, "db3", 51, 358), chosen(op, "db3")];
    const reasons: Reason[] = [
      { kind: "operation-locked", op, policy: "maintenance" },
      ...block,
      { kind: "failover-started", op, epoch: 1, deposed: "db2", cause: "retry" },
      { kind: "candidate-passed-over", op, member: "db2", why: "failed-by-operator" },
      ...block,
      { kind: "replicator-frozen", op, member: "db1" },
      { kind: "most-advanced", op, member: "db3" },
      { kind: "savepoint-created", op, operation: "failover", wallMs: Date.UTC(2025, 0, 28, 10, 45, 45) },
      { kind: "sessions-purging", op, member: "db2" },
      { kind: "replicator-awaited", op, member: "db2" },
      { kind: "replicator-degraded", op, member: "db2" },
      { kind: "epoch-minted", epoch: 2, member: "db3", parent: 1, proof: "released", op },
      { kind: "primary-opened", epoch: 2, member: "db3", op },
      { kind: "failover-completed", op, member: "db3", deposed: "db2", epoch: 2 },
    ];
    expect(told(reasons)).toEqual(
      lines(`
SET POLICY: MAINTENANCE => MAINTENANCE
EVALUATING SLAVE: db1(stored=51, applied=51, latency=0.355, datasource-group-id=0)
EVALUATING SLAVE: db3(stored=51, applied=51, latency=0.358, datasource-group-id=0)
SELECTED SLAVE: db3@alpha
EVALUATING SLAVE: db1(stored=51, applied=51, latency=0.355, datasource-group-id=0)
EVALUATING SLAVE: db3(stored=51, applied=51, latency=0.358, datasource-group-id=0)
SELECTED SLAVE: db3@alpha
Replicator 'db1' is now OFFLINE
THIS IS THE MOST UPTODATE SLAVE. NO ACTION IS NEEDED.
Savepoint failover_3(cluster=alpha, source=rome, created=2025/01/28 10:45:45 UTC) created
PURGE REMAINING ACTIVE SESSIONS ON CURRENT MASTER 'db2@alpha'
WAITING FOR REPLICATOR 'db2' TO REACH STATE DEGRADED
Replicator 'db2' is now in DEGRADED state
SHUNNING PREVIOUS MASTER 'db2@alpha'
PUT THE NEW MASTER 'db3@alpha' ONLINE
FAILOVER TO 'db3' WAS COMPLETED`),
    );
  });

  it("by the operator's word says that nothing else proves it", () => {
    const reasons: Reason[] = [
      { kind: "operation-locked", op: 3, policy: "automatic" },
      { kind: "failover-started", op: 3, epoch: 1, deposed: "db2", cause: "operator-asserted" },
      { kind: "candidate-passed-over", op: 3, member: "db1", why: "silent" },
    ];
    expect(told(reasons).slice(1)).toEqual([
      "'db2@alpha' IS DEAD BY THE OPERATOR'S WORD: NO PROOF IS WAITED FOR",
      "PASSED OVER: db1(SILENT)",
    ]);
  });

  it("that lacks a read quorum says whom it waits for, and what an operator went on without", () => {
    const reasons: Reason[] = [
      { kind: "read-quorum-awaited", op: 2, sets: [4], missing: ["db3"] },
      { kind: "read-quorum-overridden", op: 2, member: "db2", missing: ["db3"] },
    ];
    expect(told(reasons)).toEqual([
      "WAITING FOR WHO MAY HAVE ACKNOWLEDGED THE LAST WRITES: db3",
      "'db2@alpha' IS TAKEN AS IT IS. WRITES ACKNOWLEDGED BY db3 MAY BE LOST",
    ]);
  });

  it("that is given up says why, and of whom", () => {
    const reasons: Reason[] = [
      { kind: "upstream-asked", op: 2, member: "db2", answer: "writable" },
      { kind: "upstream-asked", op: 2, member: "db3", answer: "no-answer" },
      { kind: "failover-aborted", op: 2, deposed: "db1", code: "upstream-writable", members: ["db2"] },
    ];
    expect(told(reasons)).toEqual([
      "'db2@alpha' HEARS A PREVIOUS MASTER THAT STILL ACCEPTS WRITES",
      "'db3@alpha' HEARS NO PREVIOUS MASTER THAT ACCEPTS WRITES: NO ANSWER",
      "FAILOVER OF 'db1@alpha' WAS ABORTED: UPSTREAM WRITABLE, db2",
    ]);
  });

  it("with no completion after it tells the opening, also of who was there before", () => {
    const opened: Reason = { kind: "primary-opened", epoch: 1, member: "db1", op: 1 };
    expect(told([opened])).toEqual(["PUT THE NEW MASTER 'db1@alpha' ONLINE"]);
    const restarted: Reason = { kind: "failover-started", op: 1, epoch: 1, deposed: "db1", cause: "operator-restart" };
    expect(told([restarted, opened], { operation: "datasource-online" })).toEqual([
      "REOPENING MASTER 'db1@alpha'",
      "PUT THE MASTER 'db1@alpha' ONLINE AGAIN",
    ]);
  });
});

describe("a recovery", () => {
  it("of one former master, letter for letter", () => {
    const reasons: Reason[] = [{ kind: "recovery-started", op: 5, member: "db1" }, ...recovered(5, "db1", "db3")];
    expect(told(reasons, { operation: "datasource-recover" })).toEqual(
      lines(`
RECOVERING DATASOURCE 'db1@alpha'
VERIFYING THAT WE CAN CONNECT TO DATA SERVER 'db1'
Verified that DB server notification 'db1' is in state 'ONLINE'
DATA SERVER 'db1' IS NOW AVAILABLE FOR CONNECTIONS
RECOVERING 'db1@alpha' TO A SLAVE USING 'db3@alpha' AS THE MASTER
SETTING THE ROLE OF DATASOURCE 'db1@alpha' FROM 'master' TO 'slave'
RECOVERY OF 'db1@alpha' WAS SUCCESSFUL`),
    );
  });

  it("of the whole dataservice", () => {
    const reasons: Reason[] = [
      { kind: "service-recovering", op: 5 },
      { kind: "operation-locked", op: 5, policy: "automatic" },
      { kind: "datasource-set", op: 5, member: "host3", to: "offline" },
      { kind: "recovery-found", op: 5, member: "host2" },
      ...recovered(5, "host2", "host1").filter(({ kind }) => kind !== "role-changed"),
      { kind: "service-recovered", op: 5, count: 2 },
      { kind: "operation-unlocked", op: 5, policy: "automatic" },
    ];
    expect(told(reasons, { operation: "recover" })).toEqual(
      lines(`
RECOVERING DATASERVICE 'alpha'
SET POLICY: AUTOMATIC => MAINTENANCE
DataSource 'host3' is now OFFLINE
FOUND PHYSICAL DATASOURCE TO RECOVER: 'host2@alpha'
VERIFYING THAT WE CAN CONNECT TO DATA SERVER 'host2'
Verified that DB server notification 'host2' is in state 'ONLINE'
DATA SERVER 'host2' IS NOW AVAILABLE FOR CONNECTIONS
RECOVERING 'host2@alpha' TO A SLAVE USING 'host1@alpha' AS THE MASTER
RECOVERY OF 'host2@alpha' WAS SUCCESSFUL
RECOVERED 2 DATA SOURCES IN SERVICE 'alpha'
REVERT POLICY: MAINTENANCE => AUTOMATIC`),
    );
  });

  it("without a primary, but for the apostrophe that was always missing", () => {
    const reasons: Reason[] = [
      { kind: "service-recovering", op: 5 },
      { kind: "operation-locked", op: 5, policy: "automatic" },
      { kind: "operation-unlocked", op: 5, policy: "automatic" },
      { kind: "no-active-primary", op: 5 },
    ];
    expect(told(reasons, { operation: "recover" })).toEqual(
      lines(`
RECOVERING DATASERVICE 'alpha'
SET POLICY: AUTOMATIC => MAINTENANCE
REVERT POLICY: MAINTENANCE => AUTOMATIC
DATA SERVICE 'alpha' DOES NOT HAVE AN ACTIVE PRIMARY`),
    );
  });

  it("by a rebuild says what is given up, and how much", () => {
    const fork = { timeline: 1, lsn: "0/3000000" };
    const reasons: Reason[] = [
      { kind: "recovery-rebuilding", op: 5, member: "db1", fork, end: "0/3002000", bytes: 8_192 },
      { kind: "recovery-rebuilt", op: 5, member: "db1", how: "pg_rewind" },
    ];
    expect(told(reasons)).toEqual([
      "'db1@alpha' LEFT THE MASTER'S LOG AT 0/3000000 OF TIMELINE 1: 8192 BYTES UP TO 0/3002000 ARE ITS OWN",
      "REBUILDING 'db1@alpha'. WHAT IS ITS OWN IS KEPT ASIDE FIRST",
      "REBUILT 'db1@alpha': pg_rewind",
    ]);
  });

  /** Every reason there is, complete by type, and whether it has a remedy beyond what the detail says. */
  const FAILURES: Record<RecoverFailure, boolean> = {
    "no-active-primary": false,
    "manager-stopped": true,
    "server-does-not-start": true,
    "rebuild-refused": true,
    "rebuild-failed": true,
    "does-not-stream": false,
    "some-not-recovered": false,
    "identity-forked": false,
    "not-in-time": true,
  };

  it.each(Object.entries(FAILURES) as [RecoverFailure, boolean][])("that failed: %s", (code, hasRemedy) => {
    const [line, remedy] = told([{ kind: "recovery-failed", op: 5, member: "db1", code, detail: "as the agent says" }]);
    const words = code.replaceAll("-", " ").toUpperCase();
    expect(line).toBe(`RECOVERY OF 'db1@alpha' FAILED: ${words}, as the agent says`);
    expect(remedy !== undefined).toBe(hasRemedy);
  });
});

describe("a datasource command", () => {
  it.each<[TranscriptContext["operation"], string, "failed" | "shunned" | "offline" | "online", string]>([
    ["datasource-fail", "db2", "failed", "DataSource 'db2@alpha' set to FAILED"],
    ["datasource-shun", "host3", "shunned", "DataSource 'host3' set to SHUNNED"],
    ["datasource-welcome", "db3", "offline", "DataSource 'db3@alpha' is now OFFLINE"],
    ["datasource-recover", "host3", "offline", "DataSource 'host3' is now OFFLINE"],
    ["datasource-offline", "db3", "offline", "DataSource 'db3@alpha' is now OFFLINE"],
    ["datasource-online", "db3", "online", "DataSource 'db3@alpha' is now ONLINE"],
  ])("%s of %s", (operation, member, to, line) => {
    expect(told([{ kind: "datasource-set", op: 4, member, to }], { operation })).toEqual([line]);
  });

  it("that ends the primary's reign says no more than that", () => {
    const reasons: Reason[] = [
      { kind: "datasource-set", op: 4, member: "db1", to: "failed" },
      { kind: "primary-fencing", op: 4, epoch: 1, member: "db1", cause: "operator-failed" },
    ];
    expect(told(reasons, { operation: "datasource-fail" })).toEqual(["DataSource 'db1@alpha' set to FAILED"]);
    const slow: Reason = { kind: "primary-fencing", op: 4, epoch: 1, member: "db1", cause: "promotion-timed-out" };
    expect(told([slow])).toEqual(["FENCING 'db1@alpha': PROMOTION TIMED OUT"]);
  });
});

describe("the unusual turns of an operation", () => {
  it.each<[Reason, string]>([
    [
      { kind: "catching-up", op: 3, member: "db2", upstream: "db3" },
      "'db2@alpha' FIRST CATCHES UP FROM 'db3@alpha', WHICH IS MORE ADVANCED",
    ],
    [
      { kind: "tail-fetching", op: 3, member: "db2", from: "db1", bytes: 96 },
      "'db2@alpha' FETCHES 96 BYTES OF LOG FROM THE DISK OF THE PREVIOUS MASTER",
    ],
    [
      { kind: "tail-salvaged", op: 3, member: "db2", from: "db1", bytes: 96 },
      "'db2@alpha' HAS 96 BYTES OF LOG FROM THE DISK OF THE PREVIOUS MASTER",
    ],
    [
      { kind: "tail-lost", op: 3, member: "db2", from: "db1", bytes: 96, code: "tail-not-had" },
      "'db2@alpha' GOES ON WITHOUT 96 BYTES OF LOG THAT ARE ON THE DISK OF THE PREVIOUS MASTER",
    ],
    [
      { kind: "possible-loss", op: 3, member: "db2", bytes: 96 },
      "'db2@alpha' LACKS 96 BYTES OF THE PREVIOUS MASTER'S LOG",
    ],
    [
      { kind: "connectors-holding", op: 3, waitedFor: ["app1", "app2"] },
      "NEW CONNECTIONS DO NOT WAIT YET ON: app1, app2",
    ],
    [
      { kind: "prior-primary-not-back", op: 3, member: "db1" },
      "THE PRIOR MASTER 'db1@alpha' IS NOT BACK AS A SLAVE YET. IF IT STAYS AWAY: datasource db1 recover",
    ],
  ])("%o", (reason, line) => {
    expect(told([reason])).toEqual([line]);
  });
});

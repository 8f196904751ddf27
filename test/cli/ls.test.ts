import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PLAIN_LS, renderDatasource, renderLs, type LsOptions } from "../../cli/render/ls.ts";
import type { DatasourceStatus } from "#shared/protocol/api.ts";
import * as statuses from "./statuses.ts";

const NARROW: LsOptions = { ...PLAIN_LS, width: 76, blankLineBetweenBoxes: true, timeZone: "Europe/London" };

function screen(name: string): string {
  return readFileSync(new URL(`screens/${name}.txt`, import.meta.url), "utf8");
}

/** The head, STATUS and REASON rows without their frame. */
function headOf(datasource: DatasourceStatus, options = PLAIN_LS): string[] {
  return renderDatasource(datasource, "alpha", options)
    .split("\n")
    .slice(1, -7)
    .map((line) => line.slice(1, -1).trimEnd());
}

/** A row's text alone: one of the known screens has lost the padding at both ends. */
function unpadded(text: string): string {
  return text.replaceAll(/^\| +/gm, "|").replaceAll(/ +\|$/gm, "|");
}

describe("ls, byte for byte", () => {
  it.each([
    ["81-failover-aborted", statuses.FAILOVER_ABORTED],
    ["81-recovered", statuses.RECOVERED],
  ])("%s", (name, status) => {
    expect(renderLs(status, PLAIN_LS)).toBe(screen(name));
  });

  it.each([
    ["81-box-shunned-db3", [statuses.SHUNNED_DB3]],
    ["81-box-server-stopped", [statuses.SERVER_STOPPED]],
    ["81-box-manually-failed", [statuses.MANUALLY_FAILED]],
    ["81-boxes-failed-over", statuses.FAILED_OVER],
  ])("%s", (name, datasources) => {
    expect(datasources.map((each) => renderDatasource(each, "alpha", PLAIN_LS)).join("")).toBe(screen(name));
  });

  it.each([
    ["76-host-lost", statuses.HOST_LOST],
    ["76-host-returned", statuses.HOST_RETURNED],
  ])("%s: narrow, boxes apart, London time", (name, status) => {
    expect(renderLs(status, NARROW)).toBe(screen(name));
  });

  it("agrees with the screen that has lost its padding, once both are normalised", () => {
    expect(unpadded(renderLs(statuses.AUTOMATIC_FAILOVER, PLAIN_LS))).toBe(unpadded(screen("unpadded-failed-over")));
  });
});

describe("the rows of a datasource", () => {
  it("shows a manual shun and no REASON", () => {
    const shunned = statuses.datasource("host3", {
      state: "shunned",
      status: "shunned",
      reason: { kind: "manually-shunned" },
      sinceWallMs: Date.UTC(2013, 4, 14, 16, 12, 52),
      progress: 157_454,
      latencyMs: 1_000,
    });
    expect(headOf(shunned, NARROW)).toEqual([
      "host3(slave:SHUNNED(MANUALLY-SHUNNED), progress=157454, latency=1.000)",
      "STATUS [SHUNNED] [2013/05/14 05:12:52 PM BST]",
    ]);
  });

  it("says which component diminishes an online datasource", () => {
    const stalled = statuses.datasource("db2", {
      status: "diminished",
      replicator: { role: "replica", state: "offline", upstream: null },
      progress: 7,
      latencyMs: 5,
    });
    expect(headOf(stalled)).toEqual([
      "db2(slave:ONLINE, progress=-1, latency=-1.000)",
      "STATUS [DIMINISHED] [1970/01/01 12:00:00 AM UTC]",
      "REASON[REPLICATOR STOPPED]",
    ]);
    expect(headOf({ ...stalled, manager: { state: "stopped" } })[2]).toBe("REASON[MANAGER STOPPED]");
  });

  it.each<[DatasourceStatus["reason"], string]>([
    [{ kind: "manager-stopped" }, "db2(slave:SHUNNED(MANAGER STOPPED))"],
    [{ kind: "failsafe-shun" }, "db2(slave:SHUNNED(FAILSAFE_SHUN))"],
    [{ kind: "needs-provision" }, "db2(slave:SHUNNED(NEEDS-PROVISION))"],
    [{ kind: "diverged" }, "db2(slave:SHUNNED(DIVERGED FROM THE PRIMARY'S LOG))"],
    [{ kind: "none" }, "db2(slave:SHUNNED)"],
  ])("puts %o into words", (reason, head) => {
    expect(headOf(statuses.datasource("db2", { state: "shunned", status: "shunned", reason }))[0]).toBe(head);
  });

  it("shows in MAINTENANCE a server that is down while the STATUS stays OK", () => {
    const down = statuses.datasource("db2", {
      role: "primary",
      replicator: { role: "primary", state: "online", upstream: null },
      dataserver: { state: "stopped", engine: "postgres", version: "15.14" },
      progress: 45,
      latencyMs: 680,
      sinceWallMs: Date.UTC(2025, 0, 28, 9, 8, 4),
    });
    expect(headOf(down)).toEqual([
      "db2(master:ONLINE, progress=45, THL latency=0.680)",
      "STATUS [OK] [2025/01/28 09:08:04 AM UTC]",
    ]);
    expect(renderDatasource(down, "alpha", PLAIN_LS)).toContain("|  DATASERVER(state=STOPPED) ");
  });

  it("shows an offline datasource as a warning, and connectors that hold", () => {
    const offline = statuses.datasource("db2", { state: "offline", status: "warn" });
    expect(headOf(offline)).toEqual(["db2(slave:OFFLINE)", "STATUS [WARN] [1970/01/01 12:00:00 AM UTC]"]);
    const holding = { ...statuses.router("app1", 7, 4), state: "on-hold" as const };
    const text = renderLs({ ...statuses.RECOVERED, policy: "manual", routers: [holding] }, PLAIN_LS);
    expect(text).toContain("|connector@app1[7](ON HOLD, created=4, active=0) ");
    expect(text).toMatch(/^COORDINATOR\[db3:MANUAL:ONLINE\]$/m);
  });

  it("says that nobody can tell what a silent host's server does", () => {
    const silent = statuses.datasource("db2", { dataserver: { state: "unknown", engine: "postgres", version: "" } });
    expect(renderDatasource(silent, "alpha", PLAIN_LS)).toContain("|  DATASERVER(state=STATUS NOT AVAILABLE) ");
  });

  it("keeps every row within the frame, also when a word is longer than it", () => {
    const lines = renderLs(statuses.FAILOVER_ABORTED, { ...PLAIN_LS, width: 20 })
      .split("\n")
      .filter((line) => /^[|+]/.test(line));
    expect(lines.length).toBeGreaterThan(20);
    expect(new Set(lines.map((line) => line.length))).toEqual(new Set([22]));
  });

  it("colours the STATUS word and nothing else", () => {
    const painted = renderLs(statuses.FAILOVER_ABORTED, { ...PLAIN_LS, paint: (_word, text) => `<<${text}>>` });
    expect(painted.match(/<<.*?>>/g)).toEqual(["<<CRITICAL>>", "<<CRITICAL>>", "<<SHUNNED>>"]);
    expect(painted.replaceAll(/<<|>>/g, "")).toBe(screen("81-failover-aborted"));
  });

  it("lets no foreign text move the cursor", () => {
    const router = { ...statuses.router("db1", 1, 0), name: "connector@db1\u001b[2J\n" };
    const text = renderLs({ ...statuses.RECOVERED, routers: [router] }, PLAIN_LS);
    expect(text).toContain("|connector@db1\\u001b[2J\\u000a[1](ONLINE, created=0, active=0)");
  });
});

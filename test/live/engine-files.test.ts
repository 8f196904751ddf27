/** What the PostgreSQL engine writes and reads as text, and how it reads the end of a log. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  configuredConninfo,
  FIXED_SETTINGS,
  parseSettings,
  settle,
  writeConfiguration,
} from "../../agent/engine/postgres/configuration.ts";
import { endpointOfConninfo, primaryConninfo } from "../../agent/engine/postgres/conninfo.ts";
import { endOfLog, isLogWhole, type LogFacts } from "../../agent/engine/postgres/end-of-log.ts";
import { deleteReservedTimelines, parseHistory, reserveTimelines } from "../../agent/engine/postgres/history.ts";
import { findPassword } from "../../agent/engine/postgres/password-file.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-files-"));
});

afterEach(() => rmSync(directory, { recursive: true }));

describe("postgresql.auto.conf", () => {
  const path = () => join(directory, "postgresql.auto.conf");

  test("keeps the operator's settings, and ours win", () => {
    writeFileSync(
      path(),
      "# a comment\nwork_mem = '4MB'\nrestart_after_crash = 'on'\narchive_command = 'cp ''%p'' x'\n",
    );
    expect(writeConfiguration(directory, { kind: "unchanged" })).toBe(true);
    const settings = parseSettings(readFileSync(path(), "utf8")).map(({ name, value }) => [name, value]);
    expect(Object.fromEntries(settings)).toEqual({ work_mem: "4MB", archive_command: "cp '%p' x", ...FIXED_SETTINGS });
    expect(writeConfiguration(directory, { kind: "unchanged" })).toBe(false);
    expect(readdirSync(directory)).toEqual(["postgresql.auto.conf"]);
  });

  test("leads where it was told, and nowhere when frozen", () => {
    const conninfo = primaryConninfo(
      { host: "10.0.0.2", port: 5433 },
      { replicationUser: "o'neil x", passwordFile: "/a b/pass", applicationName: "db2" },
    );
    writeConfiguration(directory, { kind: "stream", conninfo });
    expect(configuredConninfo(directory)).toBe(conninfo);
    expect(endpointOfConninfo(conninfo)).toEqual({ host: "10.0.0.2", port: 5433 });
    writeConfiguration(directory, { kind: "frozen" });
    expect(configuredConninfo(directory)).toBe("");
    expect(endpointOfConninfo("")).toBeNull();
  });

  test("a freeze puts the operator's restore_command aside, a follow brings it back", () => {
    const before = [{ name: "restore_command", value: "fetch %f %p" }];
    const frozen = settle(settle(before, { kind: "frozen" }), { kind: "frozen" });
    expect(frozen).toContainEqual({ name: "restore_command", value: "" });
    const thawed = settle(frozen, { kind: "stream", conninfo: "host=a" });
    expect(thawed.filter(({ name }) => name.includes("restore_command"))).toEqual(before);
    const withoutOne = settle(settle([], { kind: "frozen" }), { kind: "stream", conninfo: "host=a" });
    expect(withoutOne.filter(({ name }) => name.includes("restore_command"))).toEqual([]);
  });
});

describe("timeline histories", () => {
  test("are read oldest first", () => {
    expect(parseHistory("1\t0/174B2C8\tno recovery target specified\n\n2\t1/3000060\tbefore x\n")).toEqual([
      { timeline: 1, endLsn: "0/174B2C8" },
      { timeline: 2, endLsn: "1/3000060" },
    ]);
  });

  test("that only reserve a number are deleted, real ones and the log stay", () => {
    const wal = join(directory, "pg_wal");
    mkdirSync(wal);
    writeFileSync(join(wal, "00000002.history"), "1\t0/174B2C8\tno recovery target specified\n");
    writeFileSync(join(wal, "00000003.history"), "");
    writeFileSync(join(wal, "000000020000000000000001"), "");
    deleteReservedTimelines(directory);
    expect(readdirSync(wal).toSorted()).toEqual(["00000002.history", "000000020000000000000001"]);
  });

  test("reserved numbers keep a gap that a real timeline has passed: followers ask for each in between", () => {
    const wal = join(directory, "pg_wal");
    mkdirSync(wal);
    writeFileSync(join(wal, "00000002.history"), "1\t0/3000000\tno recovery target specified\n");
    reserveTimelines(directory, { above: 1, below: 5 });
    expect(readdirSync(wal).toSorted()).toEqual(["00000002.history", "00000003.history", "00000004.history"]);
    writeFileSync(join(wal, "00000005.history"), "1\t0/3000000\tx\n2\t0/4000000\tx\n");
    reserveTimelines(directory, { above: 5, below: 7 });
    deleteReservedTimelines(directory);
    const kept = ["00000002.history", "00000003.history", "00000004.history", "00000005.history"];
    expect(readdirSync(wal).toSorted()).toEqual(kept);
  });
});

describe("the password file", () => {
  test("is read as libpq reads it", () => {
    const path = join(directory, "pass");
    writeFileSync(path, "# comment\ndb1:5432:replication:rep:one\nlocalhost:*:*:rep:a\\:b\n*:*:*:*:last\n");
    const query = { port: 5432, database: "replication", user: "rep" };
    expect(findPassword(path, { ...query, host: "db1" })).toBe("one");
    expect(findPassword(path, { ...query, host: "/run/socket" })).toBe("a:b");
    expect(findPassword(path, { ...query, host: "db1", port: 1 })).toBe("last");
  });
});

describe("the end of the log", () => {
  const standby: LogFacts = {
    inRecovery: true,
    identified: { timeline: 2, lsn: "0/5000000" },
    current: null,
    received: "0/5000000",
    replayed: "0/4000000",
    controlTimeline: 1,
    stream: { timeline: 2, lsn: "0/5000000" },
    startupWaitsFor: null,
  };
  const silent = { ...standby, identified: null };

  test.each<[string, LogFacts, { timeline: number; lsn: string } | null]>([
    ["a standby's is what the server identifies", standby, { timeline: 2, lsn: "0/5000000" }],
    [
      "a new timeline's stream counts once it is past the local log",
      { ...standby, stream: { timeline: 3, lsn: "0/6000000" } },
      { timeline: 3, lsn: "0/6000000" },
    ],
    [
      "a stream that has brought nothing yet does not",
      { ...standby, stream: { timeline: 3, lsn: "0/4000000" } },
      { timeline: 2, lsn: "0/5000000" },
    ],
    ["without identification the greater of received and replayed", silent, { timeline: 2, lsn: "0/5000000" }],
    [
      "also where nothing was received since the start",
      { ...silent, received: null, stream: null },
      { timeline: 1, lsn: "0/4000000" },
    ],
    [
      "also where the receiver began at the start of a segment",
      { ...silent, received: "0/3000000", stream: null },
      { timeline: 1, lsn: "0/4000000" },
    ],
    [
      "halves are compared as numbers",
      { ...silent, received: "A/0", replayed: "9/FFFFFFFF", stream: null },
      { timeline: 1, lsn: "A/0" },
    ],
    [
      "a primary's is its flushed log",
      { ...standby, inRecovery: false, current: { timeline: 4, lsn: "0/7000000" } },
      { timeline: 4, lsn: "0/7000000" },
    ],
    ["a server that says nothing has none", { ...silent, received: null, replayed: null, stream: null }, null],
  ])("%s", (_, facts, expected) => {
    expect(endOfLog(facts)).toEqual(expected);
  });

  const atRest = { ...standby, stream: null };
  const unread = { ...atRest, received: null };
  test.each<[string, LogFacts, boolean]>([
    ["of a standby that streams", standby, true],
    ["of one whose stream has ended", atRest, true],
    ["of one that was restarted, and waits at the end", { ...unread, startupWaitsFor: "RecoveryWalStream" }, true],
    ["not of one whose replay was paused before that", { ...unread, startupWaitsFor: "RecoveryPause" }, false],
    [
      "not while what was received is of a timeline that is not replayed yet",
      { ...atRest, identified: { timeline: 1, lsn: "0/4000000" } },
      false,
    ],
    ["not where the server does not identify itself", { ...atRest, identified: null }, false],
    ["of a primary", { ...unread, inRecovery: false, current: { timeline: 4, lsn: "0/7000000" } }, true],
    ["not of a server that says nothing", { ...silent, received: null, replayed: null, stream: null }, false],
  ])("is all there is %s", (_, facts, expected) => {
    expect(isLogWhole(facts, endOfLog(facts))).toBe(expected);
  });
});

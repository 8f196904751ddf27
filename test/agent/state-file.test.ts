import { mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshDurable, type MemberDurable } from "#shared/core/member/state.ts";
import type { Position } from "#shared/domain/position.ts";
import { StateFile, StateFileError } from "../../agent/state-file.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-state-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const LEASE = {
  epoch: 3,
  ttlMs: 5_000,
  base: { monoMs: 1, bootMs: 2, wallMs: 3 },
  bootId: "boot",
  hasLeaseDoor: false,
};

function durable(patch: Partial<MemberDurable> = {}): MemberDurable {
  return { ...freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation"), ...patch };
}

test("nothing was kept yet", () => {
  expect(new StateFile(directory).read()).toBeNull();
});

test("what was written is read, lease and all", () => {
  const file = new StateFile(directory);
  const kept = durable({ epochSeen: 3, opSeen: 9, attempted: 3, lease: LEASE, frozenOp: 7, version: 12, mac: "m" });
  file.write(kept, true);
  expect(new StateFile(directory).read()).toEqual(kept);
});

test("a state without the newer fields may hold writes of its last epoch, and is not damaged", () => {
  const file = new StateFile(directory);
  file.write(durable({ epochSeen: 4, attempted: 4, ownEpoch: 0, isDamaged: true }), true);
  expect(file.read()).toMatchObject({ ownEpoch: 0, isDamaged: true });
  const path = join(directory, "state.json");
  const { ownEpoch: _, isDamaged: __, ...older } = JSON.parse(readFileSync(path, "utf8")) as MemberDurable;
  writeFileSync(path, JSON.stringify(older));
  expect(file.read()).toMatchObject({ attempted: 4, ownEpoch: 4, isDamaged: false });
});

test("a write without fsync changes only the lease, the version and what was opened", () => {
  const file = new StateFile(directory);
  file.write(durable({ version: 1 }), true);
  const before = readFileSync(join(directory, "state.json"), "utf8");
  file.write(durable({ version: 2, mac: "m2", attempted: 3, epochSeen: 3, opened: 3, lease: LEASE }), false);
  expect(readFileSync(join(directory, "state.json"), "utf8")).toBe(before);
  // What the disk says was opened is never more than what it says was attempted.
  expect(file.read()).toMatchObject({ version: 2, mac: "m2", attempted: 0, opened: 0, lease: LEASE });
  file.write(durable({ attempted: 3, epochSeen: 3, opened: 3 }), true);
  expect(file.read()).toMatchObject({ attempted: 3, opened: 3 });
});

test("without its lease file no lease is held, and nothing else is lost", () => {
  const file = new StateFile(directory);
  file.write(durable({ epochSeen: 5, lease: LEASE }), true);
  unlinkSync(join(directory, "lease.json"));
  expect(file.read()).toMatchObject({ epochSeen: 5, lease: null });
  writeFileSync(join(directory, "lease.json"), '{"format":1,"ver');
  expect(file.read()).toMatchObject({ epochSeen: 5, lease: null });
});

test("how far the log was seen to reach is the further of two words, of the same data directory", () => {
  const at = (lsn: string): Position => ({ engine: "postgres", systemId: "7", timeline: 1, lsn, history: [] });
  const file = new StateFile(directory);
  file.write(durable({ furthest: at("0/3000128") }), true);
  file.write(durable({ furthest: at("0/3000A28") }), false);
  expect(file.read()?.furthest).toEqual(at("0/3000A28"));
  const lease = readFileSync(join(directory, "lease.json"));
  file.write(durable({ furthest: at("0/3000B28") }), true);
  writeFileSync(join(directory, "lease.json"), lease);
  expect(file.read()?.furthest).toEqual(at("0/3000B28"));
  // Laid out anew, and dead before the other file was written.
  file.write(durable({ incarnation: "anew", furthest: null }), true);
  writeFileSync(join(directory, "lease.json"), lease);
  expect(file.read()?.furthest).toBe(null);
});

test("damaged state is refused by name, never guessed at", () => {
  const path = join(directory, "state.json");
  writeFileSync(path, '{"format":1}');
  expect(() => new StateFile(directory).read()).toThrow(StateFileError);
  expect(() => new StateFile(directory).read()).toThrow(path);
});

test("the state is readable by its owner only", () => {
  new StateFile(directory).write(durable(), true);
  expect(statSync(join(directory, "state.json")).mode & 0o077).toBe(0);
});

test("a directory that is gone is named with the remedy", () => {
  const file = new StateFile(join(directory, "gone"));
  expect(() => file.write(durable(), true)).toThrow(/cannot be written \(ENOENT\): make its directory writable/);
});

/** The agent's files as its guardian reads them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshDurable, type MemberDurable } from "#shared/core/member/state.ts";
import { readKept } from "../../agent/guardian/kept.ts";
import { StateFile } from "../../agent/state-file.ts";

const LEASE = {
  epoch: 3,
  ttlMs: 5_000,
  base: { monoMs: 10, bootMs: 20, wallMs: 30 },
  bootId: "boot",
  hasLeaseDoor: false,
};
const HELD = { attempted: 3, released: 2, policy: "manual", policyVersion: 4, lease: LEASE } as const;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-kept-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** As the agent writes it. */
function keep(patch: Partial<MemberDurable> = {}): void {
  const fresh = freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation");
  const { attempted, released, policy, policyVersion, lease } = HELD;
  const durable = {
    ...fresh,
    founded: true,
    epochSeen: 3,
    attempted,
    ownEpoch: 3,
    released,
    policy,
    policyVersion,
    lease,
  };
  new StateFile(directory).write({ ...durable, ...patch }, true);
}

test("what the agent has kept is known", () => {
  keep();
  expect(readKept(directory)).toEqual(HELD);
});

test.each([
  ["torn", '{"lease":{"epoch":3,"tt'],
  ["of no known form", '{"lease":{"epoch":"three"}}'],
  ["empty", ""],
])("a lease file that is %s holds no lease, and what is released is known all the same", (_, text) => {
  keep({ released: 3 });
  writeFileSync(join(directory, "lease.json"), text);
  expect(readKept(directory)).toEqual({ ...HELD, released: 3, lease: null });
});

test("without a lease file no lease is held", () => {
  keep();
  rmSync(join(directory, "lease.json"));
  expect(readKept(directory)).toEqual({ ...HELD, lease: null });
});

test.each([
  ["gone", null],
  ["torn", '{"attempted":3,"rele'],
  ["without its numbers", '{"attempted":3}'],
  ["a list", "[1]"],
])("a state file that is %s says nothing: what was told last stands", (_, text) => {
  keep();
  if (text === null) rmSync(join(directory, "state.json"));
  else writeFileSync(join(directory, "state.json"), text);
  expect(readKept(directory)).toBeNull();
});

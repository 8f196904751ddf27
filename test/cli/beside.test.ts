/** What is said beside the status screen. */
import { expect, it } from "vitest";
import type { Status } from "#shared/protocol/api.ts";
import { renderBeside } from "../../cli/render/beside.ts";
import { RECOVERED } from "./statuses.ts";

const SYNC: Status["durability"] = { mode: "sync", goal: "sync", k: 1, members: ["db2", "db3"], settled: true };

function durable(patch: Partial<Status["durability"]>): string {
  return renderBeside({ ...RECOVERED, durability: { ...SYNC, ...patch } });
}

it("is nothing of a founded dataservice that promises nothing of its commits", () => {
  expect(renderBeside(RECOVERED)).toBe("");
});

it("is what the founding waits for", () => {
  const founding = { waitsFor: [], obstacle: "primary-not-running", members: ["db1"], detail: "start db1" } as const;
  const unfounded = { ...RECOVERED, founding: { ...founding, waitsFor: [], members: ["db1"] }, durability: SYNC };
  expect(renderBeside(unfounded)).toBe("Not founded yet: start db1.\n");
});

it("is who acknowledges, and whether anybody does", () => {
  expect(durable({})).toBe("Durability: sync, 1 of db2, db3 acknowledge every commit.\n");
  expect(durable({ settled: false })).toContain("others may still be asked");
  expect(durable({ k: 0, members: [] })).toContain("no replica acknowledges: a failover may lose commits");
});

it("is what the durability is being changed to, until that is done", () => {
  expect(durable({ mode: "async", k: 0, members: [], settled: false })).toBe(
    "Durability: async; it is being changed to sync.\n",
  );
  expect(durable({ goal: "async" })).toContain("it is being changed to async");
  expect(durable({ mode: "async", goal: "async", k: 0, members: [], settled: false })).toContain("still looked after");
});

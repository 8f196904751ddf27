/** The primary's server is killed under load: a replica takes over, and no two servers ever take writes at one time. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { PLAIN_LS, renderLs } from "../../cli/render/ls.ts";
import { FIRST_PRIMARY } from "../../demo/cluster.ts";
import { runScenario } from "../../demo/scenario.ts";
import { Stage } from "../../demo/stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open(() => {});
});

afterAll(async () => {
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

test("a killed primary is succeeded, and its datasource says by whom", async () => {
  const cluster = await stage.cluster();
  const { figures, before, after } = await runScenario("kill-primary", cluster);

  expect(before.primary).toBe(FIRST_PRIMARY);
  expect(["db2", "db3"]).toContain(after.primary);
  expect(after.epoch).toBe(before.epoch + 1);
  expect(figures.dualWriters).toBe(0);
  expect(figures.clientErrors).toBe(0);
  expect(figures.acked).toBeGreaterThan(300);
  expect(Number.isInteger(figures.lost)).toBe(true);
  expect(figures.outageMs).toBeGreaterThan(0);

  // What was struck is the server alone.
  const host = cluster.host(FIRST_PRIMARY);
  expect(host.servers).toEqual([]);
  expect(host.isAgentRunning).toBe(true);
  expect(host.guardianPid).not.toBeNull();

  const screen = renderLs(after, PLAIN_LS);
  expect(screen).toContain(`${FIRST_PRIMARY}(master:SHUNNED(FAILED-OVER-TO-${after.primary})`);
  expect(screen).toContain(`${after.primary}(master:ONLINE`);
  expect(screen).toContain(`REPLICATOR(role=slave, master=${after.primary}, state=ONLINE)`);
});

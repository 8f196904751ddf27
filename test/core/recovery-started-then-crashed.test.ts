/** Hangs for recoverMs (an hour) with the dataservice locked: started, then crashed before it was verified; neither started again nor failed. */
import { expect, test } from "vitest";
import { answeredPatch, passWithout, poll, STOPPED } from "./builders.ts";
import { recoverRows } from "./plan-events.ts";
test("a server that was started for its recovery and stops again is started again, or the recovery says so", () => {
  const cluster = recoverRows["recover-verifying"]();
  poll(cluster, "db1");
  poll(cluster, "db1", { ...answeredPatch(cluster, "db1"), server: { report: STOPPED } });
  const steps = passWithout(cluster, 120_000, []);
  const isStartedAgain = steps.some(
    ({ answer }) => answer.kind === "reply" && answer.reply.commands.some(({ kind }) => kind === "start"),
  );
  expect(isStartedAgain || cluster.state.durable.plan === null).toBe(true);
});

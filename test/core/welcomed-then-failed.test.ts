import { expect, test } from "vitest";
import { ask, IN_RECOVERY, kindOf, pass, poll } from "./builders.ts";
import { phases } from "./cluster-events.ts";
test("a member that was welcomed by force and is then failed keeps nobody else out", () => {
  const cluster = phases.vacant();
  ask(cluster, { kind: "datasource-shun", member: "db3" });
  ask(cluster, { kind: "datasource-welcome", member: "db3" }, { force: true });
  ask(cluster, { kind: "datasource-fail", member: "db3" });
  pass(cluster, 1_000);
  poll(cluster, "db4", { server: { report: IN_RECOVERY, receiver: { state: "none" } } });
  expect(kindOf(cluster.state.durable.phase)).not.toBe("vacant");
});

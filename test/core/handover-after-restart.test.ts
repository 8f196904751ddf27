/** Put into test/core/: a coordinator that is restarted between the stop and the handover undoes a switch that had succeeded. */
import { expect, test } from "vitest";
import { send } from "./builders.ts";
import { endOf, listen, reasonsOf } from "./listening.ts";
import { liveUntil, restartCoordinator } from "./living.ts";
import { switchRows } from "./plan-events.ts";

test("a coordinator that is another one since the primary stopped hears the primary before it judges the stop", () => {
  const cluster = switchRows["switch-stopping, handing over"]();
  const told = listen(cluster);
  restartCoordinator(cluster);
  send(cluster, { kind: "tick" });
  // Shortest form: nobody has been heard yet, and it says primary-lost already.
  expect(reasonsOf(told, "switch-rolled-back")).toEqual([]);
  liveUntil(cluster, () => cluster.state.durable.plan === null);
  expect(endOf(told, "switch")).toBe("succeeded");
});

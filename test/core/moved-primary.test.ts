/** A primary that has another address than before: whoever looks for it where it was is told where it is. */
import { expect, test } from "vitest";
import type { Command } from "#shared/domain/messages.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import {
  answeredPatch,
  IN_RECOVERY,
  pass,
  poll,
  runningCluster,
  setDurable,
  STOPPED,
  type Cluster,
} from "./builders.ts";
import { commandsIn, listen } from "./listening.ts";
import { live } from "./living.ts";

const MOVED = { host: "db1.new.example", port: 6_000 };
const LOST = { server: { receiver: { state: "ended", upstream: "db1" } } } as const;

const followedTo = (commands: Command[]) =>
  commands.map((command) =>
    command.kind === "follow" ? `${command.upstream.host}:${command.upstream.port}` : command.kind,
  );

/** db2 was told to follow db1, which has since moved; its stream has ended. */
function moved(): Cluster {
  const cluster = runningCluster();
  poll(cluster, "db2", { server: { receiver: { state: "none" } } });
  live(cluster, 1_000);
  expect(cluster.state.durable.commands["db2"]).toMatchObject({ kind: "follow", upstream: { host: "db1.example" } });
  poll(cluster, "db1", { server: { endpoint: MOVED } });
  return cluster;
}

test("a replica whose stream has ended is told the new address, once", () => {
  const cluster = moved();
  expect(commandsIn(poll(cluster, "db2"))).toEqual([]);
  expect(followedTo(commandsIn(poll(cluster, "db2", LOST)))).toEqual(["db1.new.example:6000"]);
  live(cluster, 1_000);
  poll(cluster, "db2", LOST);
  const told = listen(cluster);
  for (let turn = 0; turn < 30; turn += 1) {
    pass(cluster, 1_000);
    for (const host of ["db1", "db2"]) poll(cluster, host);
  }
  expect(told.commands).toEqual([]);
});

test.each([
  ["its server was started since", (cluster: Cluster) => restarted(cluster)],
  ["the coordinator does not remember what it was told", (cluster: Cluster) => forgetCommands(cluster)],
])("a replica is told also where %s, when its stream stays away", (_, meanwhile) => {
  const cluster = moved();
  meanwhile(cluster);
  poll(cluster, "db2", LOST);
  const told = listen(cluster);
  let quietMs = 0;
  for (let turn = 0; turn < 30; turn += 1) {
    pass(cluster, 1_000);
    for (const host of ["db1", "db3", "db4"]) poll(cluster, host);
    poll(cluster, "db2");
    if (told.commands.length === 0) quietMs += 1_000;
  }
  expect(told.commands.length).toBeGreaterThan(0);
  expect(quietMs).toBeGreaterThan(DEFAULT_SETTINGS.silentMs / 2);
  const { commands } = told;
  expect(new Set(followedTo(commands.map(({ command }) => command)))).toEqual(new Set(["db1.new.example:6000"]));
  expect(new Set(commands.map(({ host }) => host))).toEqual(new Set(["db2"]));
});

function restarted(cluster: Cluster): void {
  for (let turn = 0; turn < 3; turn += 1) {
    poll(cluster, "db2", { server: { ...LOST.server, report: STOPPED } });
    pass(cluster, 1_000);
  }
  expect(cluster.state.durable.commands["db2"]?.kind).toBe("start");
  poll(cluster, "db2", { ...answeredPatch(cluster, "db2"), server: { ...LOST.server, report: IN_RECOVERY } });
}

function forgetCommands(cluster: Cluster): void {
  setDurable(cluster, { commands: {} });
}

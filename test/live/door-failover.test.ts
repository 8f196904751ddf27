/**
 * Hosts on which nobody fences any more, and clients that go straight to their servers: the kernel's door alone keeps two
 * servers from acknowledging writes at one time.
 */
import { afterEach, describe, expect, test } from "vitest";
import { KernelDoor, listDoors } from "../../agent/door/kernel-door.ts";
import { doorTable } from "../../agent/door/ruleset.ts";
import { readClocks } from "../../agent/clocks.ts";
import { DATASERVICE, type DemoCluster } from "../../demo/cluster.ts";
import type { DemoHost } from "../../demo/host.ts";
import { runScenario } from "../../demo/scenario.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 50;

const trial = await new KernelDoor({ table: "interrex_trial", port: 1 }, readClocks).probe();
const whyNot = trial.ok ? "" : ` (not here: ${trial.detail})`;

describe.skipIf(!trial.ok)(`with doors in the kernel${whyNot}`, () => {
  let stage: Stage;

  afterEach(async () => {
    const left = await stage.end();
    if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
  });

  async function startCluster(): Promise<DemoCluster> {
    stage = await Stage.open(() => {});
    return stage.cluster({ kernelDoor: "require" });
  }

  function tableOf(host: DemoHost): string {
    const { server } = host.plan;
    return doorTable({ dataservice: DATASERVICE, host: host.name, port: server?.member.port ?? 0 });
  }

  /** Waits until the doors in the kernel are those of these hosts and of no others. */
  async function untilDoorsOf(cluster: DemoCluster, names: readonly string[]): Promise<void> {
    const members = [...cluster.hosts.values()].filter(({ plan }) => plan.server !== null);
    await until(`doors of ${names.join(", ")} alone`, { deadlineMs: DEADLINE_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const tables = await listDoors();
      const found = members.filter((host) => tables.includes(tableOf(host))).map(({ name }) => name);
      return found.join() === names.join() ? { found: true } : { missing: `there are doors of ${found.join(", ")}` };
    });
  }

  test("a host that stood still acknowledges nothing when it goes on, and its door goes with its server", async () => {
    const cluster = await startCluster();
    const { figures, before, after } = await runScenario("freeze-primary", cluster);
    expect(figures).toMatchObject({ directWrites: 0, dualWriters: 0, lost: expect.any(Number) });
    expect(after.epoch).toBe(before.epoch + 1);
    await untilDoorsOf(cluster, [after.primary ?? ""]);
  });

  test("a server whose agent and guardian are killed is heard by nobody once its lease is over", async () => {
    const cluster = await startCluster();
    const { figures, before, after } = await runScenario("kill-agents", cluster);
    expect(figures.dualWriters).toBe(0);
    const former = cluster.host(before.primary ?? "");
    expect(former.servers.length).toBeGreaterThan(0);
    const { member } = former.plan.server ?? {};
    expect(after.datasources.filter(({ state }) => state === "online")).toHaveLength(2);
    await untilDoorsOf(cluster, [before.primary ?? "", after.primary ?? ""].toSorted());

    // Its agent, started again, ends what still runs there, and the port is free of the door.
    await former.startAgent();
    await untilDoorsOf(cluster, [after.primary ?? ""]);
    expect((await cluster.rex(["datasource", member?.name ?? "", "recover"])).status).toBe(0);
    await cluster.untilOnline();
  });

  test("a switch takes the door along", async () => {
    const cluster = await startCluster();
    const { primary } = await cluster.untilOnline();
    await untilDoorsOf(cluster, [primary ?? ""]);
    const target = ["db1", "db2", "db3"].find((name) => name !== primary) ?? "";
    expect((await cluster.rex(["switch", "to", target])).status).toBe(0);
    await cluster.untilOnline();
    await untilDoorsOf(cluster, [target]);
  });
});

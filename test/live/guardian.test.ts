/** The deadline holds without the agent: each test begins where the one before has left the dataservice. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HeldLease } from "#shared/core/member/state.ts";
import { livingPostmaster } from "../../agent/engine/postgres/processes.ts";
import { readClocks } from "../../agent/clocks.ts";
import type { DemoCluster } from "../../demo/cluster.ts";
import type { DemoHost } from "../../demo/host.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const LEASE_MS = 5_000;
const LOOK_EVERY_MS = 1;
const ONLINE_MS = 30_000;
const figures: string[] = [];

let stage: Stage;
let cluster: DemoCluster;

beforeAll(async () => {
  stage = await Stage.open(() => {});
  cluster = await stage.cluster();
  await cluster.untilOnline();
});

afterAll(async () => {
  const left = await stage.end();
  process.stdout.write(`guardian: ${figures.join(", ")}\n`);
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

async function primary(): Promise<{ host: DemoHost; epoch: number }> {
  const status = await cluster.untilPrimary({ afterEpoch: 0, deadlineMs: ONLINE_MS });
  return { host: cluster.host(status.primary ?? ""), epoch: status.epoch };
}

function stateFile(host: DemoHost, name: string): string {
  return join(host.plan.directory, "state", name);
}

function keptLease(host: DemoHost): HeldLease {
  const { lease } = JSON.parse(readFileSync(stateFile(host, "lease.json"), "utf8")) as { lease: HeldLease | null };
  if (!lease) throw new Error(`${host.name} holds no lease`);
  return lease;
}

function postmasterOf(host: DemoHost): number | null {
  return host.plan.server ? (livingPostmaster(host.plan.server.member.dataDirectory)?.pid ?? null) : null;
}

/**
 * How long after its lease's end the last process of a server is gone; the agent must be unable to renew it. How soon
 * that is within the fence bound the benchmark measures.
 */
async function deathAfterLease(host: DemoHost): Promise<number> {
  const { base, ttlMs } = keptLease(host);
  expect(host.servers.length).toBeGreaterThan(0);
  const deadlineMs = LEASE_MS * 2;
  await until(`the end of ${host.name}'s server`, { deadlineMs, everyMs: LOOK_EVERY_MS }, () =>
    host.servers.length === 0 ? { found: true } : { missing: `${host.servers.length} processes are there` },
  );
  return readClocks().monoMs - base.monoMs - ttlMs;
}

test("an agent restarted inside its lease finds its server untouched, and the guardian keeps to the renewed lease", async () => {
  const { host, epoch } = await primary();
  const [postmaster, guardian] = [postmasterOf(host), host.guardianPid];
  expect(guardian).not.toBeNull();
  await host.endAgent();
  await pause(LEASE_MS / 5);
  await host.startAgent();
  await pause(LEASE_MS * 1.5);
  expect(postmasterOf(host)).toBe(postmaster);
  expect(host.guardianPid).toBe(guardian);
  expect(await primary()).toEqual({ host, epoch });
});

test("a guardian that is killed is replaced at once, and the server goes on", async () => {
  const { host, epoch } = await primary();
  const [postmaster, before] = [postmasterOf(host), host.guardianPid];
  host.killGuardian();
  const limits = { deadlineMs: LEASE_MS, everyMs: LOOK_EVERY_MS };
  await until("another guardian", limits, () =>
    host.guardianPid !== null && host.guardianPid !== before ? { found: true } : { missing: "there is none" },
  );
  await pause(LEASE_MS * 1.5);
  expect(postmasterOf(host)).toBe(postmaster);
  expect(await primary()).toEqual({ host, epoch });
});

test("an agent that is killed leaves a server that ends with the lease, and another member takes over", async () => {
  const { host, epoch } = await primary();
  host.killAgent();
  const afterMs = await deathAfterLease(host);
  figures.push(`agent killed: ${afterMs} ms`);
  expect(afterMs).toBeGreaterThanOrEqual(-10);
  await cluster.untilPrimary({ afterEpoch: epoch, deadlineMs: ONLINE_MS });
});

test("an agent that hangs leaves a server that ends with the lease; awake again, it vouches for it", async () => {
  const { host, epoch } = await primary();
  const { agentPid } = host;
  if (agentPid === null) throw new Error("no agent");
  process.kill(agentPid, "SIGSTOP");
  try {
    const afterMs = await deathAfterLease(host);
    figures.push(`agent stopped: ${afterMs} ms`);
    expect(afterMs).toBeGreaterThanOrEqual(-10);
  } finally {
    process.kill(agentPid, "SIGCONT");
  }
  const limits = { deadlineMs: ONLINE_MS, everyMs: 20 };
  await until("released", limits, () => {
    const { released } = JSON.parse(readFileSync(stateFile(host, "state.json"), "utf8")) as { released: number };
    return released >= epoch ? { found: true } : { missing: `released is ${released}` };
  });
});

test("in MAINTENANCE no time ends it", async () => {
  await cluster.untilPrimary({ afterEpoch: 2, deadlineMs: ONLINE_MS });
  const { host } = await primary();
  const { status, stderr } = await cluster.rex(["set", "policy", "maintenance"]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  await until("the agent has confirmed the policy", { deadlineMs: ONLINE_MS, everyMs: 20 }, () => {
    const { policy } = JSON.parse(readFileSync(stateFile(host, "state.json"), "utf8")) as { policy: string };
    return policy === "maintenance" ? { found: true } : { missing: `it knows of ${policy}` };
  });
  const postmaster = postmasterOf(host);
  host.killAgent();
  await pause(LEASE_MS * 2);
  expect(postmaster).not.toBeNull();
  expect(postmasterOf(host)).toBe(postmaster);
  expect(existsSync(`/proc/${host.guardianPid}`)).toBe(true);
});

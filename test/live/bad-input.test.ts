/** What people and machines get wrong, through real processes: each has a refusal of its own, and changes nothing. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { agentConfig, type HostPlan } from "../../demo/agent-config.ts";
import { DATASERVICE, ROUTER, type DemoCluster } from "../../demo/cluster.ts";
import { clientFor } from "../../demo/coordinator.ts";
import { DemoHost } from "../../demo/host.ts";
import { fixedPorts } from "../../demo/ports.ts";
import { createCluster, demoAccount } from "../../demo/postgres.ts";
import { REX, runRex, runToEnd, type Ended } from "../../demo/rex.ts";
import { startReadOnly } from "../../demo/server.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const REFUSAL_MS = 30_000;
const LOOK_EVERY_MS = 20;

let stage: Stage;
let cluster: DemoCluster;
let places = 0;
const stopAsking = new AbortController();

beforeAll(async () => {
  stage = await Stage.open(() => {});
  cluster = await stage.cluster();
  await cluster.untilOnline();
});

afterAll(async () => {
  stopAsking.abort();
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

/** What nothing here may change. The events are part of it: a refused word leaves no trace. */
async function picture() {
  const { epoch, primary, policy, datasources, operation } = await cluster.status();
  const { events } = await cluster.client.events(DATASERVICE, 0);
  // Who was refused for want of a right is noted: that is all that a refusal leaves behind.
  const told = events.filter(({ kind }) => kind !== "forbidden").length;
  const states = datasources.map(({ member, role, state, reason }) => ({ member, role, state, reason }));
  return { epoch, primary, policy, operation, states, told };
}

async function changesNothing<T>(work: () => Promise<T>): Promise<T> {
  const before = await picture();
  const result = await work();
  expect(await picture()).toEqual(before);
  return result;
}

function newPlace(): string {
  places += 1;
  return join(stage.workshop, `place-${places}`);
}

/** The router's own plan, for an agent elsewhere: it needs no server to be refused. */
function routerPlan(change: Partial<HostPlan>): HostPlan {
  const { plan } = cluster.host(ROUTER);
  return { ...plan, directory: newPlace(), connector: { port: 0, holdTimeoutMs: 1_000 }, ...change };
}

/** Starts an agent and waits until its log tells a refusal of the coordinator. Returns its code and detail. */
async function refusalTo(host: DemoHost): Promise<{ code: string; detail: string }> {
  const log = join(host.plan.directory, "agent.log");
  await host.startAgent();
  try {
    return await until("a refusal", { deadlineMs: REFUSAL_MS, everyMs: LOOK_EVERY_MS }, () => {
      const refusal = entriesOf(log).find(({ msg }) => msg === "coordinator refuses");
      return refusal
        ? { found: { code: String(refusal["code"]), detail: String(refusal["detail"]) } }
        : { missing: readFileSync(log, "utf8") };
    });
  } finally {
    await host.endAgent();
  }
}

function entriesOf(log: string): Record<string, unknown>[] {
  return readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The console, as an administrator of this cluster. */
function console(...words: string[]): Promise<Ended> {
  return cluster.rex([...words, "--json"]);
}

function codeOf({ stderr }: Ended): unknown {
  const line = stderr.split("\n").find((text) => text.startsWith("{")) ?? "{}";
  return (JSON.parse(line) as { error?: { code?: unknown } }).error?.code;
}

test("a misspelt key of the configuration is named, with the one that was meant", async () => {
  const place = newPlace();
  mkdirSync(place);
  const config = join(place, "agent.toml");
  writeFileSync(join(place, "token"), "rex_agent_alpha_1_2", { mode: 0o600 });
  writeFileSync(config, agentConfig(routerPlan({})).replace("hold_timeout_ms", "hold_timout_ms"));
  const { status, stderr } = await changesNothing(() => runRex(["agent", "--config", config]));
  expect(status).toBe(1);
  expect(stderr).toContain("connector.hold_timout_ms is no key of this file: did you mean hold_timeout_ms?");
  expect(existsSync(join(place, "state"))).toBe(false);
});

test("a forged token is refused", async () => {
  const host = new DemoHost(routerPlan({ token: `rex_agent_${DATASERVICE}_forged_${"0".repeat(43)}` }));
  expect((await changesNothing(() => refusalTo(host))).code).toBe("unauthorized");
});

test("a token of another host is refused", async () => {
  const { token } = cluster.host("db2").plan;
  const host = new DemoHost(routerPlan({ token }));
  expect((await changesNothing(() => refusalTo(host))).code).toBe("forbidden");
});

test("a second agent on one state directory ends at once", async () => {
  const host = cluster.host(ROUTER);
  const { status, stderr } = await changesNothing(() => runRex(["agent", "--config", host.configPath]));
  expect(status).toBe(1);
  expect(stderr).toContain(`state_directory = "${join(host.plan.directory, "state")}": another agent uses it`);
  expect(host.isAgentRunning).toBe(true);
});

test("a second agent of one host, with a state directory of its own, is refused", async () => {
  const { code, detail } = await changesNothing(() => refusalTo(new DemoHost(routerPlan({}))));
  expect(code).toBe("second-agent");
  expect(detail).toContain(ROUTER);
});

test("a full disk under the state file is named, and the agent does not start", async () => {
  const host = new DemoHost(routerPlan({}));
  const state = join(host.plan.directory, "state");
  mkdirSync(state, { mode: 0o700 });
  const isRoot = process.getuid?.() === 0;
  const complaint = isRoot
    ? "(ENOSPC): free some space on its disk"
    : "(EFBIG): make its directory writable for the agent";
  const agent = `exec '${process.execPath}' '${REX}' agent --config '${host.configPath}'`;
  // In a mount namespace of its own the little disk goes away with the process, whatever ends it.
  const fullDisk = `mount -t tmpfs -o size=16k tmpfs '${state}' && { head -c 100k /dev/zero > '${state}/filler' 2>/dev/null; ${agent}; }`;
  const noMoreBytes = `trap '' XFSZ; ulimit -f 0; ${agent}`;
  const { status, stderr } = await changesNothing(() =>
    isRoot ? runToEnd("unshare", ["--mount", "sh", "-c", fullDisk]) : runToEnd("sh", ["-c", noMoreBytes]),
  );
  expect(status).toBe(1);
  expect(stderr).toContain(`state file ${join(state, "state.json")} cannot be written ${complaint}`);
});

test("an older protocol is refused before anything else is read", async () => {
  const { url } = cluster.coordinator;
  const response = await changesNothing(() =>
    fetch(`${url}/v1/dataservices/${DATASERVICE}/poll`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.host(ROUTER).plan.token}`, "content-type": "application/json" },
      body: JSON.stringify({ protocol: 0 }),
      signal: AbortSignal.timeout(REFUSAL_MS),
    }),
  );
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: "unsupported-protocol", detail: expect.stringMatching(/0.*1/) });
});

test("a failover of a healthy primary is refused", async () => {
  const ended = await changesNothing(() => console("failover", "--yes"));
  expect(ended.status).toBe(1);
  expect(codeOf(ended)).toBe("primary-is-healthy");
});

test("a failover without a word of consent is refused where nobody can be asked", async () => {
  const ended = await changesNothing(() => console("failover"));
  expect(ended.status).toBe(1);
  expect(codeOf(ended)).toBe("needs-confirmation");
});

test("a member that does not exist is refused", async () => {
  for (const words of [
    ["datasource", "db9", "fail", "--yes"],
    ["failover", "to", "db9", "--yes"],
  ]) {
    const ended = await changesNothing(() => console(...words));
    expect(ended.status).toBe(1);
    expect(codeOf(ended)).toBe("unknown-member");
  }
});

test("a dataservice that exists is not created again", async () => {
  const ended = await changesNothing(() => console("create", DATASERVICE, "--members", "db1,db2", "--primary", "db1"));
  expect(ended.status).toBe(1);
  expect(codeOf(ended)).toBe("dataservice-exists");
});

test("a second coordinator on one folder ends at once, and the first goes on", async () => {
  const folder = join(cluster.directory, "coordinator", "data");
  const { status, stderr } = await changesNothing(() => runRex(["coordinator", "--data", folder, "--port", "0"]));
  expect(status).toBe(1);
  expect(stderr).toContain(folder);
  expect(cluster.coordinator.isRunning).toBe(true);
});

test("members of several systems are never founded", async () => {
  const { client, tokens } = await newDataservice("beta", ["m1", "m2"]);
  const hosts = await strangers([hostPlan("beta", "m1", tokens), hostPlan("beta", "m2", tokens)]);
  const event = await changesNothing(async () => {
    await Promise.all(hosts.map((host) => host.startAgent()));
    return until("the obstacle is told", { deadlineMs: REFUSAL_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const { events } = await client.events("beta", 0);
      const found = events.find(({ kind }) => kind === "founding-blocked");
      return found ? { found } : { missing: JSON.stringify(events) };
    });
  });
  expect(event.data).toMatchObject({ why: "several-systems", members: ["m1", "m2"] });
  expect(await client.status("beta")).toMatchObject({ founded: false, epoch: 0, primary: null });
  await Promise.all(hosts.map((host) => host.endAgent()));
  await Promise.all(hosts.map((host) => host.kill()));
});

test("a server of another system is refused in a member's place, and the member's own is taken back", async () => {
  const member = cluster.host("db3");
  await member.endAgent();
  const [stranger] = await strangers([member.plan]);
  if (!stranger) throw new Error("no stranger was made");
  const before = await picture();
  const { code, detail } = await refusalTo(stranger);
  expect(code).toBe("wrong-system");
  expect(detail).toContain("db3");
  expect(await picture()).toMatchObject({ epoch: before.epoch, primary: before.primary, policy: before.policy });
  await stranger.kill();

  const own = new DemoHost(member.plan);
  await own.startAgent();
  const { epoch, primary } = await cluster.untilOnline();
  expect({ epoch, primary }).toEqual({ epoch: before.epoch, primary: before.primary });
  await own.endAgent();
});

// The last of all, because today the second agent really takes the server over; `fails` goes when it is refused.
test("a data directory that another agent looks after is refused", async () => {
  const { client, tokens } = await newDataservice("gamma", ["m1"]);
  const { server } = cluster.host("db2").plan;
  const host = new DemoHost({ ...hostPlan("gamma", "m1", tokens), server });
  await changesNothing(async () => {
    await host.startAgent();
    try {
      const failure = await until(
        "the second agent's end",
        { deadlineMs: REFUSAL_MS, everyMs: LOOK_EVERY_MS },
        async () => {
          const why = await host.agentFailure();
          return why === null ? { missing: "it looks after the same server" } : { found: why };
        },
      );
      expect(failure).toContain("exit status 1");
      expect(failure).toContain(`server.data_directory = "${server?.member.dataDirectory}": another agent`);
    } finally {
      await host.endAgent();
    }
  });
  expect((await client.status("gamma")).founded).toBe(false);
});

async function newDataservice(name: string, members: string[]) {
  const { url, adminToken } = cluster.coordinator;
  const client = clientFor(url, adminToken, stopAsking.signal);
  const { tokens } = await client.create({
    name,
    members: members.map((each) => ({ name: each })),
    primary: members[0] ?? "",
  });
  return { client, tokens };
}

function hostPlan(dataservice: string, name: string, tokens: readonly { host: string; token: string }[]): HostPlan {
  const token = tokens.find(({ host }) => host === name)?.token ?? "";
  return {
    name,
    dataservice,
    directory: newPlace(),
    coordinatorUrl: cluster.coordinator.url,
    token,
    server: null,
    connector: null,
  };
}

/** The planned hosts with running, read-only servers that were initialised each for itself. */
async function strangers(plans: readonly HostPlan[]): Promise<DemoHost[]> {
  const account = await demoAccount();
  const { binDirectory = "" } = cluster.host("db1").plan.server ?? {};
  const hosts: DemoHost[] = [];
  for (const plan of plans) {
    const directory = newPlace();
    mkdirSync(directory, { mode: 0o711 });
    const [port = 0] = await fixedPorts(1);
    const members = await createCluster({ binDirectory, directory, account, members: [{ name: plan.name, port }] });
    await startReadOnly(members, { binDirectory, account });
    const [member] = members;
    if (member) hosts.push(new DemoHost({ ...plan, server: { member, binDirectory, account } }));
  }
  return hosts;
}

/**
 * Real data directories that are put back to older copies, under the state that their agents have kept: a replica's, the
 * only one's that is left, and the primary's in MAINTENANCE. And before that, restarts of every kind, of which nothing is said.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { lsnBytes } from "#shared/domain/position.ts";
import { DemoClients } from "../../demo/clients.ts";
import { DATASERVICE, FIRST_PRIMARY, HOLD_TIMEOUT_MS, type DemoCluster } from "../../demo/cluster.ts";
import type { DemoHost } from "../../demo/host.ts";
import { lostNumbers } from "../../demo/figures.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const LOOK = { deadlineMs: 60_000, everyMs: 20 };
const WRITES = 300;
const RESTARTS = 3;
const TEST_MS = 300_000;
/** More than what a page of the log holds. */
const BIG = 10_000n;

let stage: Stage;
let cluster: DemoCluster;
let clients: DemoClients;

beforeAll(async () => {
  stage = await Stage.open(() => {});
  cluster = await stage.cluster();
  await cluster.untilOnline();
  clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS, writers: 4 });
  await clients.start();
});

afterAll(async () => {
  await clients?.abandon();
  const left = await stage.end();
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
});

/** So many more writes are acknowledged. */
async function untilWritten(): Promise<void> {
  const wanted = clients.ackCount + WRITES;
  await until(`${wanted} writes`, LOOK, () =>
    clients.ackCount >= wanted ? { found: true } : { missing: `${clients.ackCount} are acknowledged` },
  );
}

/** Something was written that this member has streamed since it came back, and that its agent has seen it to have. */
async function untilSeenAhead(name: string): Promise<void> {
  const streamed = (what: string, isIt: (lsn: bigint) => boolean) =>
    until(`the agent of ${name} sees ${what}`, LOOK, async () => {
      const seen = (await cluster.status()).datasources.find(({ member }) => member === name);
      const lsn = seen?.position && seen.replicator.state === "online" ? lsnBytes(seen.position.lsn) : null;
      return lsn !== null && isIt(lsn) ? { found: lsn } : { missing: `position ${lsn}, ${seen?.replicator.state}` };
    });
  // What is told first may be of the life before, or the end of what lay on the disk: two words later it is neither.
  let last = await streamed("where it is", () => true);
  for (const _ of ["another place", "one that it has streamed"]) {
    await untilWritten();
    const before = last;
    last = await streamed("it go on", (lsn) => lsn !== before);
  }
  await untilWritten();
  await streamed("all that", (lsn) => lsn - last > BIG);
}

async function lastEvent(): Promise<number> {
  return (await cluster.client.events(DATASERVICE, Number.MAX_SAFE_INTEGER)).last;
}

interface Told {
  kind: string;
  data: Record<string, unknown>;
}

async function untilTold(after: number, kind: string, isIt: (data: Told["data"]) => boolean): Promise<Told> {
  return until(`${kind} is told`, LOOK, async () => {
    const { events } = await cluster.client.events(DATASERVICE, after);
    const found = events.find((event) => event.kind === kind && isIt(event.data));
    return found ? { found } : { missing: events.map((event) => event.kind).join(" ") };
  });
}

function directoryOf(host: DemoHost): string {
  const { server } = host.plan;
  if (!server) throw new Error(`${host.name} carries no server`);
  return server.member.dataDirectory;
}

/** Takes a copy of the data directory of a host that is down. */
function copyData(host: DemoHost): { putBack: () => void } {
  const directory = directoryOf(host);
  const copy = join(directory, "..", "..", `${host.name}-copy`);
  const run = (command: string, ...args: string[]) => execFileSync(command, args);
  run("rm", "-rf", copy);
  run("cp", "-a", directory, copy);
  return {
    putBack: () => {
      run("rm", "-rf", directory);
      run("cp", "-a", copy, directory);
      run("rm", "-f", join(directory, "postmaster.pid"));
    },
  };
}

async function replicaNames(): Promise<string[]> {
  const { primary, datasources } = await cluster.status();
  return datasources.map(({ member }) => member).filter((member) => member !== primary);
}

async function reasonOf(name: string): Promise<string | undefined> {
  return (await cluster.status()).datasources.find(({ member }) => member === name)?.reason.kind;
}

test(
  "nothing is said of servers that are restarted under load, in order, at once, or with their hosts",
  { timeout: TEST_MS },
  async () => {
    const after = await lastEvent();
    const [first = "", second = ""] = await replicaNames();
    for (let turn = 0; turn < RESTARTS; turn += 1) {
      await untilWritten();
      await cluster.host(first).kill();
      await cluster.untilOnline();
      await cluster.host(second).stopServer(turn % 2 === 0 ? "fast" : "immediate");
      await cluster.untilOnline();
      await cluster.host(first).crash();
      await untilWritten();
      await cluster.host(first).startAgent();
      await cluster.untilOnline();
    }
    const { events } = await cluster.client.events(DATASERVICE, after);
    expect(events.map(({ kind }) => kind)).not.toContain("log-lost");
  },
);

test(
  "a replica that was put back is said to be, and comes back when it has streamed past what it had",
  { timeout: TEST_MS },
  async () => {
    const [name = ""] = await replicaNames();
    const host = cluster.host(name);
    await host.crash();
    const copy = copyData(host);
    await host.startAgent();
    await cluster.untilOnline();
    await untilSeenAhead(name);
    await host.crash();
    copy.putBack();
    // It does not know whom to follow before it is told: by then it has said what it holds.
    appendFileSync(join(directoryOf(host), "postgresql.auto.conf"), "primary_conninfo = ''\n");
    const after = await lastEvent();
    await host.startAgent();
    await untilTold(after, "log-lost", ({ member }) => member === name);
    await untilTold(after, "log-regained", ({ member }) => member === name);
    await cluster.untilOnline();
    const { events } = await cluster.client.events(DATASERVICE, after);
    const states = events.filter(({ kind, data }) => kind === "datasource-changed" && data["member"] === name);
    expect(states.map(({ data }) => (data["reason"] as { kind: string }).kind)).toContain("log-lost");
  },
);

test(
  "nobody is opened on the only directory that is left, if that was put back, until another one is there",
  { timeout: TEST_MS },
  async () => {
    const names = await replicaNames();
    const [name = ""] = names;
    const host = cluster.host(name);
    await host.crash();
    const copy = copyData(host);
    await host.startAgent();
    await cluster.untilOnline();
    await untilSeenAhead(name);
    const { epoch } = await cluster.status();
    await host.crash();
    copy.putBack();
    const others = (await cluster.status()).datasources.map(({ member }) => member).filter((other) => other !== name);
    for (const other of others) await cluster.host(other).crash();
    const after = await lastEvent();
    await host.startAgent();
    await untilTold(after, "log-lost", ({ member }) => member === name);
    await untilTold(after, "failover-aborted", ({ code }) => code === "no-candidate");
    expect(await reasonOf(name)).toBe("log-lost");
    expect((await cluster.status()).epoch).toBe(epoch);
    for (const other of others) await cluster.host(other).startAgent();
    const { primary } = await cluster.untilPrimary({ afterEpoch: epoch });
    expect(primary).not.toBe(name);
    await untilWritten();
    // What the deposed one is called is another matter: it may have to be recovered.
    await until(`${name} streams`, LOOK, async () =>
      (await reasonOf(name)) === "none" ? { found: true } : { missing: String(await reasonOf(name)) },
    );
  },
);

test(
  "a primary whose directory was put back in MAINTENANCE is not reopened; a replica has everything",
  { timeout: TEST_MS },
  async () => {
    await cluster.rex(["recover"]);
    await cluster.untilOnline();
    // Before this whole hosts were crashed at once: what the primary alone had acknowledged may be lost with that.
    const [perWrite, kept] = [clients.perWrite.acks.length, clients.kept.acks.length];
    const { primary } = await cluster.status();
    const name = primary ?? FIRST_PRIMARY;
    const host = cluster.host(name);
    expect((await cluster.rex(["set", "policy", "maintenance"])).status).toBe(0);
    const restart = async () => {
      await host.startAgent();
      // The postmaster before it may not have been reaped yet.
      await until(`the server of ${name}`, LOOK, () =>
        host.launchServer().then(
          () => ({ found: true }),
          (error: Error) => ({ missing: error.message }),
        ),
      );
    };
    const { epoch } = await cluster.status();
    await host.crash();
    const copy = copyData(host);
    await restart();
    const reopened = await cluster.untilPrimary({ afterEpoch: epoch });
    expect(reopened.primary).toBe(name);
    await untilSeenAhead(name);
    // What the replicas have for certain; what was acknowledged last, asynchronously, goes with the directory.
    const acks = [...clients.perWrite.acks.slice(perWrite), ...clients.kept.acks.slice(kept)];
    for (const other of await replicaNames()) {
      await untilSeenAhead(other);
      await untilSeenAhead(other);
    }
    await host.crash();
    copy.putBack();
    const after = await lastEvent();
    await restart();
    await untilTold(after, "log-lost", ({ member }) => member === name);
    expect((await cluster.status()).epoch).toBe(reopened.epoch);
    expect((await cluster.rex(["set", "policy", "automatic"])).status).toBe(0);
    const next = await cluster.untilPrimary({ afterEpoch: reopened.epoch });
    expect(next.primary).not.toBe(name);
    await untilWritten();
    await clients.stop();
    // The others stream from the put back primary for no moment: what it lacks is on them.
    expect(lostNumbers(acks, await clients.present())).toEqual([]);
  },
);

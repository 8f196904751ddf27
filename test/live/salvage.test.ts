/**
 * The primary dies with acknowledged rows that it has sent to nobody: its successor fetches them from its disk before it is
 * opened, and the old primary follows it afterwards without being laid out anew.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { DemoClients } from "../../demo/clients.ts";
import { DATASERVICE, FIRST_PRIMARY, HOLD_TIMEOUT_MS, type DemoCluster } from "../../demo/cluster.ts";
import { lostNumbers } from "../../demo/figures.ts";
import { withSession } from "../../demo/session.ts";
import { Stage } from "../../demo/stage.ts";
import { until } from "../../demo/until.ts";

const ANSWER_MS = 20_000;
const LOOK = { deadlineMs: 30_000, everyMs: 5 };
/** Writes before the streams stand still, and while they do. */
const BEFORE = 200;
const UNSENT = 100;
const AFTER = 50;

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

async function untilAcks(count: number, of: () => number): Promise<void> {
  await until(`${count} writes`, LOOK, () =>
    of() >= count ? { found: true } : { missing: `${of()} are acknowledged` },
  );
}

/** The senders stand still from here on: what is acknowledged now is sent to nobody. */
async function stopSenders(port: number): Promise<number> {
  return withSession({ port, deadlineMs: ANSWER_MS }, async (client) => {
    const { rows } = await client.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'",
    );
    for (const { pid } of rows) if (pid > 0) process.kill(pid, "SIGSTOP");
    return rows.length;
  });
}

test("every acknowledged row is on the new primary, though it was sent to nobody", async () => {
  const port = cluster.servers.find(({ member }) => member === FIRST_PRIMARY)?.port ?? 0;
  const { epoch } = await cluster.untilPrimary({ afterEpoch: 0 });
  await untilAcks(BEFORE, () => clients.ackCount);
  expect(await stopSenders(port)).toBe(2);
  const sentMs = performance.now();
  const acks = () => [...clients.perWrite.acks, ...clients.kept.acks];
  const unsent = () => acks().filter((ack) => ack.server === port && ack.sentAtMs > sentMs).length;
  await untilAcks(UNSENT, unsent);
  await cluster.host(FIRST_PRIMARY).kill();
  const after = await cluster.untilPrimary({ afterEpoch: epoch });
  await untilAcks(AFTER, () => acks().filter((ack) => ack.server !== port).length);
  await clients.stop();

  const { events } = await cluster.client.events(DATASERVICE, 0);
  const kinds = events.map(({ kind }) => kind);
  expect(kinds).not.toContain("possible-loss");
  expect(kinds).not.toContain("tail-lost");
  const fetching = events.find(({ kind }) => kind === "tail-fetching");
  const salvaged = events.find(({ kind }) => kind === "tail-salvaged");
  expect(salvaged?.data).toMatchObject({ from: FIRST_PRIMARY, member: after.primary });
  expect(unsent()).toBeGreaterThanOrEqual(UNSENT);
  expect(lostNumbers(acks(), await clients.present())).toEqual([]);
  process.stdout.write(
    `salvage: ${String(salvaged?.data["bytes"])} bytes in ${(salvaged?.wallMs ?? 0) - (fetching?.wallMs ?? 0)} ms\n`,
  );
});

test("the old primary comes back as a replica, and is not laid out anew", async () => {
  const { last } = await cluster.client.events(DATASERVICE, Number.MAX_SAFE_INTEGER);
  const { status, stderr, stdout } = await cluster.rex(["datasource", FIRST_PRIMARY, "recover"]);
  expect([status, stderr, stdout]).toEqual([0, "", expect.any(String)]);
  await cluster.untilOnline();
  const { events } = await cluster.client.events(DATASERVICE, last);
  const kinds = events.map(({ kind }) => kind);
  expect(kinds).toContain("recovery-completed");
  expect(kinds).not.toContain("recovery-rebuilding");
});

/**
 * What a dataservice costs while nothing happens: memory and processor time of each agent, of the coordinator, and the
 * rows that the coordinator writes. `node bench/at-rest.ts [--seconds N]`.
 */
import { copyFileSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { DemoCluster } from "../demo/cluster.ts";
import { preparePristine } from "../demo/pristine.ts";
import { clearDirectory, makeWorkshop } from "../demo/workshop.ts";

const { values } = parseArgs({ options: { seconds: { type: "string", default: "60" } } });
const seconds = Number(values.seconds);
/** Linux counts processor time in hundredths of a second. */
const TICKS_PER_SECOND = 100;
const SETTLE_MS = 15_000;

const workshop = makeWorkshop();
const cluster = await DemoCluster.start(join(workshop, "run"), await preparePristine(workshop));
try {
  await cluster.untilOnline();
  // The pace of an operation ends a while after it: only then is it rest.
  await pause(SETTLE_MS);
  const pids = processes();
  const [before, rowsBefore] = [pids.map(({ pid }) => ticks(pid)), rows()];
  await pause(seconds * 1_000);
  const rowsAfter = rows();
  for (const [index, { name, pid }] of pids.entries()) {
    const used = ((ticks(pid) - (before[index] ?? 0)) / TICKS_PER_SECOND / seconds) * 60;
    console.log(
      `${name}: ${(residentKiB(pid) / 1_024).toFixed(0)} MiB resident, ${used.toFixed(2)} s of processor a minute`,
    );
  }
  const perMinute = (key: keyof Rows) => (((rowsAfter[key] - rowsBefore[key]) / seconds) * 60).toFixed(1);
  console.log(`lease extensions a minute: ${perMinute("extensions")}`);
  console.log(`writes of the lease's row a minute: ${perMinute("confirmations")}`);
  console.log(
    `changes of the state: ${rowsAfter.version - rowsBefore.version}, events: ${rowsAfter.events - rowsBefore.events}`,
  );
} finally {
  await cluster.end();
  await clearDirectory(workshop, { files: [], segments: [] });
}

interface Rows {
  extensions: number;
  confirmations: number;
  version: number;
  events: number;
}

function processes(): { name: string; pid: number }[] {
  const { pid: coordinator } = cluster.coordinator;
  const found = [
    ...[...cluster.hosts.values()].flatMap(({ name, agentPid, guardianPid }) => [
      { name: `agent ${name}`, pid: agentPid },
      { name: `guardian ${name}`, pid: guardianPid },
    ]),
    { name: "workerd", pid: coordinator === null ? null : (childrenOf(coordinator).at(-1) ?? null) },
  ];
  return found.flatMap(({ name, pid }) => (pid === null ? [] : [{ name, pid }]));
}

/** A process and what it started, the deepest last. */
function childrenOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return [pid, ...children.flatMap(childrenOf)];
}

function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}

/** Read from a copy: the coordinator's own file is never opened by another process. */
function rows(): Rows {
  const data = join(cluster.directory, "coordinator", "data");
  const file = readdirSync(data, { recursive: true, encoding: "utf8" }).find((name) => isObject(join(data, name)));
  if (!file) throw new Error(`no dataservice in ${data}`);
  return inCopy(join(data, file), (copy) => {
    const lease = copy.prepare("SELECT body, confirmations FROM lease").get() as {
      body: string;
      confirmations: number;
    };
    const state = copy.prepare("SELECT body FROM state").get() as { body: string };
    const events = copy.prepare("SELECT max(id) AS last FROM events").get() as { last: number };
    return {
      extensions: (JSON.parse(lease.body) as { serial: number }).serial,
      confirmations: lease.confirmations,
      version: (JSON.parse(state.body) as { version: number }).version,
      events: events.last,
    };
  });
}

function isObject(path: string): boolean {
  if (!path.endsWith(".sqlite")) return false;
  return inCopy(path, (copy) => copy.prepare("SELECT 1 FROM sqlite_master WHERE name = 'lease'").all().length > 0);
}

function inCopy<T>(path: string, read: (copy: DatabaseSync) => T): T {
  const copy = join(workshop, "copy.sqlite");
  copyFileSync(path, copy);
  try {
    copyFileSync(`${path}-wal`, `${copy}-wal`);
  } catch {
    // Everything is in the main file then.
  }
  const database = new DatabaseSync(copy);
  try {
    return read(database);
  } finally {
    database.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(copy + suffix, { force: true });
  }
}

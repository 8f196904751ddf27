/**
 * How late the guardian is: an agent dies, its lease ends, and a real server under load must be gone. Both cores are kept
 * busy meanwhile. `node bench/guardian.ts [--kills N]`.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { availableParallelism, constants, setPriority } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client } from "pg";
import { pino } from "pino";
import { largestElapsedMs } from "#shared/domain/clocks.ts";
import { freshDurable, type HeldLease } from "#shared/core/member/state.ts";
import { readBootId, readClocks } from "../agent/clocks.ts";
import { serverProcesses } from "../agent/engine/postgres/processes.ts";
import { GuardianLink } from "../agent/guardian/link.ts";
import { StateFile } from "../agent/state-file.ts";
import { joinSharedMemory, clearDirectory, makeWorkshop } from "../demo/workshop.ts";
import { sharedMemoryOf, type DemoMember, type SharedMemory } from "../demo/postgres.ts";
import { cloneMembers, preparePristine } from "../demo/pristine.ts";
import { launchServer } from "../demo/server.ts";

const { values } = parseArgs({ options: { kills: { type: "string", default: "100" } } });
const kills = Number(values.kills);
const WRITERS = 4;
const TTL_MS = 500;
const FENCE_MS = 1_500;
const DEADLINE_MS = 10_000;

const workshop = makeWorkshop();
let memory: SharedMemory = { files: [], segments: [] };
const pristine = await preparePristine(workshop);
const home = join(workshop, "run");
mkdirSync(home, { mode: 0o711 });
const [member] = await cloneMembers(home, pristine);
if (!member) throw new Error("no member");
const stateDirectory = join(workshop, "state");
mkdirSync(stateDirectory, { mode: 0o700 });
rmSync(join(member.dataDirectory, "standby.signal"));
// As the console does: every guardian but a host's first finds its program compiled.
enableCompileCache(join(workshop, "cache"));
await warmUp(member);

const spinners = Array.from({ length: availableParallelism() }, () =>
  spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }),
);
const delaysMs: number[] = [];
let residents: string[] = [];
try {
  // So that the bench sees what happens when it happens, and does not measure its own turn on the processor.
  setPriority(constants.priority.PRIORITY_HIGHEST);
  for (let epoch = 1; epoch <= kills; epoch += 1) delaysMs.push(await killOnce(member, epoch));
  residents = memoryOfGuardian();
} finally {
  for (const spinner of spinners) spinner.kill("SIGKILL");
  await clearDirectory(workshop, memory);
}
const sorted = delaysMs.toSorted((a, b) => a - b);
console.log(
  `${kills} kills, ${spinners.length} spinning processes: from the lease's end to the end of the last server process ` +
    `median ${sorted[Math.floor(kills / 2)]} ms, worst ${sorted.slice(-5).join(", ")} ms, earliest ${sorted[0]} ms`,
);
console.log(`guardian: ${residents.join(", ")}`);

/**
 * One reign: a server under load, a lease, an agent that goes away; then the next agent, which vouches for the end.
 * Returns the delay in ms.
 */
async function killOnce(of: DemoMember, epoch: number): Promise<number> {
  await launchServer(of, pristine);
  memory = joinSharedMemory(memory, sharedMemoryOf(of.dataDirectory));
  const writers = await Promise.all(Array.from({ length: WRITERS }, () => write(of.port)));
  const link = await meetGuardian(of);
  const lease: HeldLease = { epoch, ttlMs: TTL_MS, base: readClocks(), bootId: readBootId(), hasLeaseDoor: false };
  const fresh = freshDurable({ dataservice: "alpha", host: of.name }, "bench");
  const durable = { ...fresh, founded: true, attempted: epoch, released: epoch - 1, lease };
  new StateFile(stateDirectory).write(durable, true);
  link.tell({ durable, phase: { kind: "open", epoch, running: null, shut: null } });
  // What was told must have left before the connection goes.
  await turn();
  link.stop();
  const delayMs = await deathAfter(of, lease);
  for (const writer of writers) await writer.end().catch(() => {});
  const next = await meetGuardian(of);
  const released = { ...durable, released: epoch, lease: null };
  new StateFile(stateDirectory).write(released, true);
  next.tell({ durable: released, phase: { kind: "closed", running: null, queued: null } });
  await turn();
  next.stop();
  return delayMs;
}

async function warmUp(of: DemoMember): Promise<void> {
  (await meetGuardian(of)).stop();
  process.kill(guardianPid(), "SIGKILL");
}

function guardianPid(): number {
  return Number(readFileSync(join(stateDirectory, "guardian.pid"), "utf8"));
}

async function meetGuardian({ dataDirectory }: DemoMember): Promise<GuardianLink> {
  const log = pino({ level: "error" });
  const link = new GuardianLink({ stateDirectory, dataDirectory, fenceMs: FENCE_MS, onLook: () => {}, log });
  if (!(await link.met(DEADLINE_MS))) throw new Error("no guardian");
  return link;
}

async function deathAfter({ dataDirectory }: DemoMember, { base, ttlMs }: HeldLease): Promise<number> {
  for (;;) {
    const lateMs = largestElapsedMs(base, readClocks()) - ttlMs;
    if (serverProcesses(dataDirectory).length === 0) return lateMs;
    if (lateMs > DEADLINE_MS) throw new Error(`the server still lives ${lateMs} ms after its lease`);
    // Between two looks the processor is the others'.
    if (lateMs < -20) await new Promise((resolve) => setTimeout(resolve, 10));
    else await turn();
  }
}

/** A session that writes until its server is gone. */
async function write(port: number): Promise<Client> {
  const client = new Client({ host: "127.0.0.1", port, user: "postgres", database: "postgres" });
  client.on("error", () => {});
  await client.connect();
  await client.query("create table if not exists kept(n bigint)").catch(() => {});
  void (async () => {
    for (;;) await client.query("insert into kept values (1)");
  })().catch(() => {});
  return client;
}

function memoryOfGuardian(): string[] {
  const status = readFileSync(`/proc/${guardianPid()}/status`, "utf8");
  const mebibytes = (field: string) =>
    (Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1_024).toFixed(0);
  return [`${mebibytes("VmRSS")} MiB resident`, `${mebibytes("RssAnon")} MiB of it its own`];
}

/**
 * A standby whose operator has it fetch log from an archive: a freeze must take that command out too, or the position is
 * not final. Version 13 reads it at a start alone.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { EngineOutcome } from "../../agent/engine/engine.ts";
import type { PostgresEngine } from "../../agent/engine/postgres/postgres-engine.ts";
import {
  createCluster,
  demoAccount,
  demoDirectory,
  freePorts,
  removeDirectory,
  removeLeftovers,
  sharedMemoryOf,
  type DemoMember,
} from "../../demo/postgres.ts";
import { engineOf } from "../../demo/server.ts";
import { server } from "./servers.ts";

const STEP_MS = 30_000;
const FENCE = { fastMs: 500, killMs: 1_000, deadlineMs: 20_000 };
/** Whether the server changes the setting while it runs. */
const canReload = server.major >= 14;
const COMMAND = "/bin/false %f %p";

let directory: string;
let member: DemoMember;
let engine: PostgresEngine;

beforeAll(async () => {
  const account = await demoAccount();
  directory = await demoDirectory("interrex-archive-");
  const binDirectory = await server.prepare(directory);
  const [port = 0] = await freePorts(1);
  const plan = { binDirectory, directory, account, members: [{ name: "db1", port }] };
  [member] = (await createCluster(plan)) as [DemoMember];
  appendFileSync(join(member.dataDirectory, "postgresql.conf"), `restore_command = '${COMMAND}'\n`);
  engine = engineOf(member, { binDirectory, account });
});

afterAll(async () => {
  const memory = sharedMemoryOf(member.dataDirectory);
  await engine.fence(FENCE);
  await engine.close();
  await removeLeftovers(memory);
  await removeDirectory(directory);
});

const codeOf = (outcome: EngineOutcome) => (outcome.ok ? "ok" : outcome.code);

/** The check's line on the command; null where there is none. */
async function told(): Promise<boolean | null> {
  return (await engine.check()).find(({ name }) => name === "restore_command")?.ok ?? null;
}

test("a freeze takes it out of a running server, or refuses, and has it out from the next start on", async () => {
  expect(codeOf(await engine.start(STEP_MS))).toBe("ok");
  expect(await told()).toBe(canReload ? null : false);
  expect(codeOf(await engine.freeze(STEP_MS))).toBe(canReload ? "ok" : "restore-command-active");
  const memory = sharedMemoryOf(member.dataDirectory);
  expect(codeOf(await engine.fence(FENCE))).toBe("ok");
  await removeLeftovers(memory);
  expect(codeOf(await engine.start(STEP_MS))).toBe("ok");
  expect(await told()).toBe(canReload ? null : true);
  expect(codeOf(await engine.freeze(STEP_MS))).toBe("ok");
});

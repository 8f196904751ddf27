/** A coordinator of one's own: the console's `rex coordinator`, as a child process. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createClient, type Client } from "../cli/client.ts";
import { OwnedChild } from "./child.ts";
import { fixedPorts } from "./ports.ts";
import { until } from "./until.ts";

export const REX = join(dirname(dirname(fileURLToPath(import.meta.url))), "cli", "rex.mjs");

const START_DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 20;
const HEALTH_MS = 1_000;
/** Its data goes with it: there is nothing that a longer goodbye would save. */
const END_GRACE_MS = 1_000;
const REQUEST_MS = 5_000;
const FOLLOW_MS = 60_000;

export interface DemoCoordinator {
  url: string;
  adminToken: string;
  child: OwnedChild;
  /** Ends it; workerd with it. */
  end(): Promise<void>;
}

/** Starts one whose state lies in `directory`, and waits until it answers. Throws with the end of its log when it does not. */
export async function startCoordinator(directory: string): Promise<DemoCoordinator> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const [port] = await fixedPorts(1);
  const adminToken = randomBytes(24).toString("base64url");
  const child = await OwnedChild.start({
    name: "the coordinator",
    command: process.execPath,
    args: [REX, "coordinator", "--data", join(directory, "data"), "--port", String(port)],
    cwd: directory,
    env: { ...process.env, REX_ADMIN_TOKEN: adminToken },
    logFile: join(directory, "coordinator.log"),
  });
  const url = `http://127.0.0.1:${port}`;
  await until("the coordinator answers", { deadlineMs: START_DEADLINE_MS, everyMs: LOOK_EVERY_MS }, async () => {
    if (!child.isRunning)
      throw new Error(`the coordinator ended while it started (${await child.ended}):\n${child.logTail()}`);
    return (await isHealthy(url)) ? { found: true } : { missing: `no answer at ${url}/healthz` };
  });
  return { url, adminToken, child, end: () => child.end(END_GRACE_MS) };
}

/** The HTTP API with the rights of `token`. */
export function clientFor(url: string, token: string, signal: AbortSignal): Client {
  const settings = { url: new URL(url), token, service: null, requestTimeoutMs: REQUEST_MS, followMs: FOLLOW_MS };
  return createClient(settings, signal);
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(HEALTH_MS) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

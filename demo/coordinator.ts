/** A coordinator of one's own: the console's `rex coordinator`, as a child process. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createClient, type Client } from "../cli/client.ts";
import { OwnedChild } from "./child.ts";
import { median } from "./figures.ts";
import { fixedPorts } from "./ports.ts";
import { REX } from "./rex.ts";
import { until } from "./until.ts";

const START_DEADLINE_MS = 30_000;
const LOOK_EVERY_MS = 20;
const HEALTH_MS = 1_000;
/** Its data goes with it: there is nothing that a longer goodbye would save. */
const END_GRACE_MS = 1_000;
const REHEARSALS = 3;
const REQUEST_MS = 5_000;
const FOLLOW_MS = 60_000;

export class DemoCoordinator {
  readonly url: string;
  readonly adminToken: string;
  readonly #directory: string;
  readonly #port: number;
  #child: OwnedChild | null = null;

  private constructor(directory: string, port: number) {
    this.#directory = directory;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.adminToken = randomBytes(24).toString("base64url");
  }

  /** Starts one whose state lies in `directory`. Throws with the end of its log when it does not answer. */
  static async start(directory: string): Promise<DemoCoordinator> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const [port = 0] = await fixedPorts(1);
    const coordinator = new DemoCoordinator(directory, port);
    await coordinator.start();
    return coordinator;
  }

  /** How long a start takes on this machine at this moment: the median of other ones, which end again. Milliseconds. */
  static async measureStart(directory: string): Promise<number> {
    const other = await DemoCoordinator.start(directory);
    const tookMs: number[] = [];
    for (let rehearsal = 0; rehearsal < REHEARSALS; rehearsal += 1) {
      await other.end();
      const beganAtMs = performance.now();
      await other.start();
      tookMs.push(performance.now() - beganAtMs);
    }
    await other.end();
    rmSync(directory, { recursive: true, force: true });
    return median(tookMs);
  }

  get isRunning(): boolean {
    return this.#child?.isRunning ?? false;
  }

  /** The process of `rex coordinator`, which looks after workerd; null while it is down. */
  get pid(): number | null {
    return this.isRunning ? (this.#child?.pid ?? null) : null;
  }

  /** Starts it, on the state that is there, and waits until it answers. */
  async start(): Promise<void> {
    const directory = this.#directory;
    const child = await OwnedChild.start({
      name: "the coordinator",
      command: process.execPath,
      args: [REX, "coordinator", "--data", join(directory, "data"), "--port", String(this.#port)],
      cwd: directory,
      env: { ...process.env, REX_ADMIN_TOKEN: this.adminToken },
      logFile: join(directory, "coordinator.log"),
    });
    this.#child = child;
    await until("the coordinator answers", { deadlineMs: START_DEADLINE_MS, everyMs: LOOK_EVERY_MS }, async () => {
      if (!child.isRunning)
        throw new Error(`the coordinator ended while it started (${await child.ended}):\n${child.logTail()}`);
      return (await isHealthy(this.url)) ? { found: true } : { missing: `no answer at ${this.url}/healthz` };
    });
  }

  /** SIGKILL to workerd, which serves and holds the lock; `rex coordinator` ends with it. */
  async kill(): Promise<void> {
    if (!this.isRunning) return;
    const holder = JSON.parse(readFileSync(join(this.#directory, "data", "coordinator.json"), "utf8")) as {
      pid: number;
    };
    process.kill(holder.pid, "SIGKILL");
    await this.#child?.ended;
  }

  /** Ends it in good order; workerd with it. */
  async end(): Promise<void> {
    await this.#child?.end(END_GRACE_MS);
  }
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

/**
 * `rex coordinator`: a coordinator of one's own, the same Worker on workerd, with its data in one folder.
 *
 *   DIR/lock              held by workerd itself: one coordinator per folder
 *   DIR/secrets.json      the administrator's token and the root secret, 0600
 *   DIR/coordinator.json  who serves the folder, or did last
 *   DIR/objects/          the dataservices' databases
 *
 * When this process is killed outright (SIGKILL), workerd goes on serving: the database's lease must not depend on a
 * console. The next start on the folder then says which process holds it; ending that one ends the coordinator.
 */
import { execFile, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CannotStart } from "./cannot-start.ts";
import { capnpConfig } from "./config.ts";
import { secretsOf, type Secrets } from "./secrets.ts";
import { writeWhole } from "./whole-file.ts";
import { isLocked, serve, stop, type Serving } from "./workerd.ts";

const START_MS = 15_000;
const BUILD_MS = 120_000;
const HEALTH_MS = 5_000;

const BUNDLE = fileURLToPath(new URL("../../dist/worker/index.js", import.meta.url));
const BUILD = fileURLToPath(new URL("../../worker/build.mjs", import.meta.url));

export interface CoordinatorOptions {
  /** The data folder; made when it does not exist. */
  data: string;
  /** 0 lets the system choose. */
  port: number;
  host: string;
}

/** Lets webhooks go to plain HTTP and to private addresses; set it to "true". */
const ALLOW_INSECURE_WEBHOOKS = "REX_ALLOW_INSECURE_WEBHOOKS";

/** Runs a coordinator until it is told to end. Resolves to the exit status: 0 after a signal, 1 otherwise. */
export async function coordinatorMain(options: CoordinatorOptions): Promise<number> {
  const folder = resolve(options.data);
  const signal = signalled();
  try {
    const secrets = await prepare(folder, options);
    const serving = await start(folder, options, secrets);
    return await untilEnd(serving.child, folder, signal.asked);
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    process.stderr.write(`rex coordinator: ${error.message}\n`);
    return 1;
  } finally {
    signal.forget();
  }
}

/** Everything that can be refused before anything is started; whoever is refused has changed nothing. */
async function prepare(folder: string, { host, port }: CoordinatorOptions): Promise<Secrets> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (isLocked(join(folder, "lock"))) throw new CannotStart(inUse(folder));
  await assertPortFree(host, port);
  await ensureBundle();
  mkdirSync(join(folder, "objects"), { recursive: true, mode: 0o700 });
  return secretsOf(folder, process.env);
}

async function start(folder: string, { host, port }: CoordinatorOptions, secrets: Secrets): Promise<Serving> {
  const serving = await serveFromScratch(folder, { host, port }, secrets);
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${serving.port}`;
  try {
    await mustAnswer(`${url}/healthz`);
    const content = `${JSON.stringify({ pid: serving.child.pid, url })}\n`;
    writeWhole(join(folder, "coordinator.json"), content, { isNew: false });
  } catch (error) {
    await stop(serving.child);
    throw error;
  }
  process.stdout.write(`Coordinator answers at ${url}; data in ${folder}; admin token in ${secrets.adminTokenIn}\n`);
  return serving;
}

async function mustAnswer(url: string): Promise<void> {
  let answer: Response;
  try {
    answer = await fetch(url, { signal: AbortSignal.timeout(HEALTH_MS) });
  } catch (error) {
    throw new CannotStart(`${url} does not answer: ${String(error)}`);
  }
  if (!answer.ok) throw new CannotStart(`${url} answers ${answer.status}: ${await answer.text()}`);
}

/** workerd reads its configuration and the bundle once, at its start: they need no place in the data folder. */
async function serveFromScratch(
  folder: string,
  at: { host: string; port: number },
  secrets: Secrets,
): Promise<Serving> {
  const scratch = mkdtempSync(join(tmpdir(), "rex-coordinator-"));
  try {
    copyFileSync(BUNDLE, join(scratch, "worker.js"));
    const allowInsecureWebhooks = process.env[ALLOW_INSECURE_WEBHOOKS] === "true";
    const options = { ...at, objects: join(folder, "objects"), allowInsecureWebhooks };
    writeFileSync(join(scratch, "config.capnp"), capnpConfig(options));
    return await serve(join(scratch, "config.capnp"), join(folder, "lock"), {
      secrets: { REX_ADMIN_TOKEN: secrets.adminToken, REX_SECRET: secrets.secret },
      deadlineMs: START_MS,
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function untilEnd(child: ChildProcess, folder: string, asked: Promise<void>): Promise<number> {
  const ended = once(child, "exit").then(([code, by]): string => String(by ?? `exit ${code}`));
  const first = await Promise.race([asked.then(() => null), ended]);
  if (first === null) {
    await stop(child);
    return 0;
  }
  process.stderr.write(
    `rex coordinator: workerd ended by itself (${first}); the data in ${folder} is as it last answered: start again\n`,
  );
  return 1;
}

function inUse(folder: string): string {
  const holder = holderOf(join(folder, "coordinator.json"));
  const who = holder ? ` by process ${holder.pid}, which serves ${holder.url}` : "";
  return `${folder} is in use${who}: use another --data folder, or end that process first`;
}

/** Null where nobody has said so, or an earlier version was cut off at it. */
function holderOf(path: string): { pid: number; url: string } | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as { pid: number; url: string };
  } catch {
    return null;
  }
}

async function assertPortFree(host: string, port: number): Promise<void> {
  const probe = createServer().listen({ host, port });
  try {
    await once(probe, "listening");
  } catch (error) {
    throw new CannotStart(
      `--host ${host} --port ${port} cannot be listened on (${(error as Error).message}): use another, or 0 for any free port`,
    );
  } finally {
    probe.close();
  }
}

/** In a checkout the bundle is made when it is missing or older than the sources; a package brings its own. */
async function ensureBundle(): Promise<void> {
  if (!existsSync(BUILD)) return;
  try {
    await promisify(execFile)(process.execPath, [BUILD], { timeout: BUILD_MS });
  } catch (error) {
    throw new CannotStart(`the Worker cannot be built: ${(error as Error).message}`);
  }
}

/** Resolves when this process is asked to end. */
function signalled(): { asked: Promise<void>; forget: () => void } {
  const { promise, resolve: ask } = Promise.withResolvers<void>();
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  const listener = (): void => ask();
  for (const name of signals) process.on(name, listener);
  return {
    asked: promise,
    forget: () => {
      for (const name of signals) process.off(name, listener);
    },
  };
}

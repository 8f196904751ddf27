import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Webhook } from "standardwebhooks";
import type { Created, Deliveries, Events, Status, WebhookCreated } from "#shared/protocol/api.ts";
import { isLocked } from "../../cli/coordinator/workerd.ts";
import { Receiver, type Box } from "./receiver.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const MAIN = `import { coordinatorMain } from ${JSON.stringify(`${ROOT}cli/coordinator/run.ts`)};
process.exitCode = await coordinatorMain(JSON.parse(process.argv[1]));`;

interface Console {
  child: ChildProcess;
  url: string;
  said: () => string;
}

let scratch: string;
const started: ChildProcess[] = [];

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), "rex-selfhost-test-"));
});

afterEach(async () => {
  for (const child of started.splice(0)) await end(child, "SIGTERM");
  // A console that was killed has left its workerd behind, which holds the lock: the file says which process it is.
  if (existsSync(join(data(), "coordinator.json")) && isLocked(join(data(), "lock"))) {
    process.kill(holder().pid, "SIGKILL");
  }
  rmSync(scratch, { recursive: true, force: true });
});

function data(): string {
  return join(scratch, "data");
}

function holder(): { pid: number; url: string } {
  return JSON.parse(readFileSync(join(data(), "coordinator.json"), "utf8")) as { pid: number; url: string };
}

function run(options: { port?: number; env?: NodeJS.ProcessEnv } = {}): { child: ChildProcess; said: () => string } {
  const argv = { data: data(), port: options.port ?? 0, host: "127.0.0.1" };
  const child = spawn(process.execPath, ["--input-type=module", "--eval", MAIN, JSON.stringify(argv)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
  });
  started.push(child);
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
  return { child, said: () => said };
}

/** Starts a coordinator and waits for its one line. */
async function start(options: { port?: number; env?: NodeJS.ProcessEnv } = {}): Promise<Console> {
  const { child, said } = run(options);
  if (!child.stdout) throw new Error("no output to read");
  const deadline = AbortSignal.timeout(60_000);
  const gone = once(child, "exit", { signal: deadline }).then(() =>
    Promise.reject(new Error(`did not start: ${said()}`)),
  );
  const [line] = (await Promise.race([once(createInterface(child.stdout), "line", { signal: deadline }), gone])) as [
    string,
  ];
  const url = /^Coordinator answers at (http:\S+); /.exec(line)?.[1];
  if (!url) throw new Error(`said ${line}`);
  return { child, url, said: () => `${line}\n${said()}` };
}

/** Runs a coordinator that is expected to refuse; resolves to its exit status and words. */
async function refusal(
  options: { port?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<{ status: number; words: string }> {
  const { child, said } = run(options);
  const [status] = (await once(child, "close", { signal: AbortSignal.timeout(60_000) })) as [number];
  return { status, words: said() };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, "exit", { signal: AbortSignal.timeout(20_000) });
    child.kill(signal);
    await exited;
  }
  return child.exitCode;
}

function adminToken(): string {
  return (JSON.parse(readFileSync(join(data(), "secrets.json"), "utf8")) as { adminToken: string }).adminToken;
}

async function ask<T>(url: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { Authorization: `Bearer ${adminToken()}`, "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(5_000),
  });
  return (await response.json()) as T;
}

function create(url: string): Promise<Created> {
  const members = [{ name: "db1" }, { name: "db2" }];
  return ask(url, "/v1/dataservices", { name: "alpha", members, primary: "db1" });
}

/** What the data folder holds, to tell whether somebody has been there. */
function snapshot(): Record<string, number> {
  const files = readdirSync(data(), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path, statSync(path).mtimeMs];
    }),
  );
}

describe("a self-hosted coordinator", () => {
  it("keeps what it answered through a SIGKILL of workerd, and comes back as the next generation", async () => {
    const first = await start();
    const created = await create(first.url);
    expect(created.tokens).toHaveLength(2);
    process.kill(holder().pid, "SIGKILL");
    const [status] = (await once(first.child, "exit", { signal: AbortSignal.timeout(20_000) })) as [number];
    expect(status).toBe(1);
    expect(first.said()).toContain("workerd ended by itself (SIGKILL)");

    const second = await start();
    const shown = await ask<Status>(second.url, "/v1/dataservices/alpha");
    expect(shown).toMatchObject({ dataservice: "alpha", coordinator: { generation: 2 } });
    const { events } = await ask<Events>(second.url, "/v1/dataservices/alpha/events");
    expect(events.map(({ data: told }) => told)).toEqual([{ by: "admin" }, { generation: 1 }, { generation: 2 }]);
  });

  it("is refused on a folder in use, naming folder and holder, and changes nothing there", async () => {
    const first = await start();
    await create(first.url);
    const before = snapshot();
    const { status, words } = await refusal();
    expect(status).toBe(1);
    expect(words).toContain(data());
    expect(words).toContain(`process ${holder().pid}`);
    expect(snapshot()).toEqual(before);
    expect(await ask<Status>(first.url, "/v1/dataservices/alpha")).toMatchObject({ coordinator: { generation: 1 } });
  });

  it("goes on serving when its console is killed, and the next start says who holds the folder", async () => {
    const first = await start();
    await create(first.url);
    await end(first.child, "SIGKILL");
    expect(await ask<Status>(first.url, "/v1/dataservices/alpha")).toMatchObject({ coordinator: { generation: 1 } });
    const { status, words } = await refusal();
    expect(status).toBe(1);
    expect(words).toContain(`process ${holder().pid}, which serves ${first.url}`);
  });

  it("ends with workerd at SIGTERM and leaves the folder free", async () => {
    const first = await start();
    const { pid } = holder();
    expect(await end(first.child, "SIGTERM")).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    const second = await start();
    expect(await end(second.child, "SIGINT")).toBe(0);
  });

  it("says so when the port is in use, and leaves the folder free", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const { status, words } = await refusal({ port });
    taken.close();
    expect(status).toBe(1);
    expect(words).toContain(`--port ${port} cannot be listened on`);
    await start();
  });
});

describe("a self-hosted coordinator that cannot write into its folder", () => {
  it("says so, ends its workerd and leaves the folder free", async () => {
    const path = join(data(), "coordinator.json");
    mkdirSync(path, { recursive: true });
    const { status, words } = await refusal();
    expect(words).toContain(`rex coordinator: ${path} cannot be written (EISDIR): make its folder`);
    expect(words).not.toContain("    at ");
    expect({ status, isLocked: isLocked(join(data(), "lock")) }).toEqual({ status: 1, isLocked: false });
    rmdirSync(path);
    await start();
  });
});

describe("the webhooks of a self-hosted coordinator", () => {
  let receiver: Receiver;

  beforeEach(async () => {
    receiver = await Receiver.start();
  });

  afterEach(() => receiver.end());

  const answerWith = (...answers: (number | "hang")[]) =>
    fetch(`${receiver.url}/box/events`, { method: "PUT", body: JSON.stringify(answers) });

  async function received(count: number): Promise<Box> {
    const box = (await (await fetch(`${receiver.url}/box/events?count=${count}`)).json()) as Box;
    expect(box.letters.length).toBeGreaterThanOrEqual(count);
    return box;
  }

  it("are told of an event although workerd was killed between its commit and its delivery", async () => {
    const env = { REX_ALLOW_INSECURE_WEBHOOKS: "true" };
    const first = await start({ env });
    await create(first.url);
    await answerWith("hang");
    const webhook = await ask<WebhookCreated>(first.url, "/v1/dataservices/alpha/webhooks", {
      url: `${receiver.url}/hook/events`,
      events: ["webhook-created"],
    });
    const [cut] = (await received(1)).letters;
    process.kill(holder().pid, "SIGKILL");
    await once(first.child, "exit", { signal: AbortSignal.timeout(20_000) });
    await answerWith(204);

    // Nobody asks for the dataservice: its alarm alone has to wake it.
    const second = await start({ env });
    const { letters } = await received(2);
    const [before, after] = [cut, letters[1]].map((letter) => ({
      id: letter?.headers["webhook-id"],
      body: new Webhook(webhook.secret).verify(letter?.body ?? "", letter?.headers ?? {}),
    }));
    expect(after).toEqual(before);
    expect(after?.body).toMatchObject({ type: "webhook-created", dataservice: "alpha", data: { webhook: webhook.id } });
    expect(second.said()).not.toContain(webhook.secret);
    await end(second.child, "SIGTERM");
  });

  it("reach no private address by a public name, unless the operator permits it", async () => {
    const { url, connections, close } = await privateName();
    const first = await start();
    await create(first.url);
    await untilTried(first.url, url);
    expect(connections()).toBe(0);
    expect(
      await ask(first.url, "/v1/dataservices/alpha/webhooks", { url: `${receiver.url}/hook/events` }),
    ).toMatchObject({ code: "url-not-allowed" });
    await end(first.child, "SIGTERM");
    const second = await start({ env: { REX_ALLOW_INSECURE_WEBHOOKS: "true" } });
    await untilTried(second.url, url);
    expect(connections()).toBeGreaterThan(0);
    await close();
  });

  /** Makes a webhook and waits until its first delivery has failed. */
  async function untilTried(at: string, url: string): Promise<void> {
    const { id } = await ask<WebhookCreated>(at, "/v1/dataservices/alpha/webhooks", { url });
    const path = `/v1/dataservices/alpha/webhooks/${id}/deliveries`;
    const error = async () => (await ask<Deliveries>(at, path)).pending[0]?.lastError;
    await expect.poll(error, { timeout: 20_000 }).toMatch(/^not delivered: /);
  }

  /** A name that is no literal and leads to this machine, and a listener there that counts who comes. */
  async function privateName(): Promise<{ url: string; connections: () => number; close: () => Promise<void> }> {
    let count = 0;
    const server = createServer((socket) => {
      count += 1;
      socket.destroy();
    });
    server.listen(0, hostname());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const close = async (): Promise<void> => {
      server.close();
      await once(server, "close");
    };
    return { url: `https://${hostname()}:${port}/`, connections: () => count, close };
  }
});

describe("the secrets of a self-hosted coordinator", () => {
  it("are made at the first start, for the owner's eyes, and are shown nowhere", async () => {
    const first = await start();
    expect(statSync(join(data(), "secrets.json")).mode & 0o777).toBe(0o600);
    expect(first.said()).toContain(join(data(), "secrets.json"));
    expect(first.said()).not.toContain(adminToken());
    const commandLine = readFileSync(`/proc/${holder().pid}/cmdline`, "utf8");
    expect(commandLine).toContain("workerd");
    expect(commandLine).not.toContain(adminToken());
  });

  it("are taken from the environment and then not kept", async () => {
    const env = { REX_ADMIN_TOKEN: "administrator-by-environment", REX_SECRET: "root-secret-by-environment" };
    const first = await start({ env });
    const kept = readFileSync(join(data(), "secrets.json"), "utf8");
    expect(kept).not.toContain("by-environment");
    const response = await fetch(`${first.url}/v1/dataservices/alpha`, {
      headers: { Authorization: `Bearer ${env.REX_ADMIN_TOKEN}` },
    });
    expect(response.status).toBe(404);
    await end(first.child, "SIGTERM");

    const without = await refusal();
    expect(without).toMatchObject({ status: 1 });
    expect(without.words).toContain("REX_SECRET is not set");
    const other = await refusal({ env: { ...env, REX_SECRET: "another-secret-entirely" } });
    expect(other).toMatchObject({ status: 1 });
    expect(other.words).toContain("REX_SECRET is another");
    expect(other.words).not.toContain("another-secret-entirely");
  });

  it("are refused when they are too short", async () => {
    const { status, words } = await refusal({ env: { REX_SECRET: "short" } });
    expect(status).toBe(1);
    expect(words).toContain("REX_SECRET has 5 characters");
  });

  it("are not made anew beside dataservices whose tokens they would void", async () => {
    const first = await start();
    await create(first.url);
    await end(first.child, "SIGTERM");
    const path = join(data(), "secrets.json");
    rmSync(path);
    const { status, words } = await refusal();
    expect(status).toBe(1);
    expect(words).toContain(`${path} is missing`);
    expect(existsSync(path)).toBe(false);
  });
});

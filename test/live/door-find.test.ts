/** Whether an agent counts on a door in its kernel: it looks at the kernel, at the way round by the socket, and where the server lives. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readClocks } from "../../agent/clocks.ts";
import { ConfigError, readConfig, type AgentConfig, type ServerConfig } from "../../agent/config.ts";
import { checkDoor, findDoor } from "../../agent/door/find.ts";
import { KernelDoor, listDoors } from "../../agent/door/kernel-door.ts";
import { livingPostmaster } from "../../agent/engine/postgres/processes.ts";

const trial = await new KernelDoor({ table: "interrex_trial", port: 1 }, readClocks).probe();
const whyNot = trial.ok ? "" : ` (not here: ${trial.detail})`;
const NOBODY = 65_534;
const LOG = pino({ level: "silent" });

describe.skipIf(!trial.ok)(`an agent's look at its door${whyNot}`, () => {
  let directory: string;
  let server: ChildProcess | null;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "interrex-door-"));
    server = null;
    for (const name of ["data", "run"]) mkdirSync(join(directory, name), { mode: 0o700 });
  });

  afterEach(async () => {
    if (server && server.exitCode === null && server.signalCode === null) {
      server.kill("SIGKILL");
      await once(server, "exit");
    }
    rmSync(directory, { recursive: true, force: true });
  });

  function configured(kernelDoor: "auto" | "off" | "require"): { config: AgentConfig; its: ServerConfig } {
    const path = join(directory, "agent.toml");
    const lines = [
      'dataservice = "alpha"',
      'host = "db1"',
      'coordinator = "http://127.0.0.1:8790"',
      'token = "secret"',
      'state_directory = "state"',
      "[server]",
      'data_directory = "data"',
      'bin_directory = "/usr/lib/postgresql/15/bin"',
      'socket_directory = "run"',
      "port = 5432",
      'log_file = "server.log"',
      `kernel_door = "${kernelDoor}"`,
    ];
    writeFileSync(path, lines.join("\n"), { mode: 0o600 });
    const config = readConfig(path);
    if (!config.server) throw new Error("a server was configured");
    return { config, its: config.server };
  }

  /** How the agent begins with its door; the complaint where it does not begin at all. */
  async function begun(kernelDoor: "auto" | "off" | "require"): Promise<unknown> {
    const { config, its } = configured(kernelDoor);
    try {
      const found = await findDoor(config, its, LOG);
      return found && { isAble: found.asFound.isAble, isRequired: found.asFound.isRequired };
    } catch (error) {
      if (error instanceof ConfigError) return error.lines.join();
      throw error;
    }
  }

  async function checked(kernelDoor: "auto" | "off" | "require"): Promise<{ ok: boolean; detail: string }> {
    const { config, its } = configured(kernelDoor);
    const { ok, detail } = await checkDoor(config, its);
    return { ok, detail };
  }

  test("counts on one that nobody walks around, and makes none by looking", async () => {
    expect(await begun("auto")).toEqual({ isAble: true, isRequired: false });
    expect(await begun("require")).toEqual({ isAble: true, isRequired: true });
    expect(await checked("require")).toMatchObject({ ok: true });
    expect(await listDoors()).not.toContain("interrex_alpha_db1_5432");
  });

  test("counts on none that is switched off; one that an earlier agent has left can be removed all the same", async () => {
    expect(await begun("off")).toEqual({ isAble: false, isRequired: false });
    expect(await checked("off")).toMatchObject({ ok: true });
  });

  test.each([
    ["whose socket others may reach", () => chmodSync(join(directory, "run"), 0o750), "mode 700"],
    [
      "whose socket lies in another account's directory",
      () => chownSync(join(directory, "run"), NOBODY, NOBODY),
      "mode 700",
    ],
    ["whose socket's directory is not there", () => rmSync(join(directory, "run"), { recursive: true }), "ENOENT"],
  ])("does not count on the door of a server %s", async (_, spoil, why) => {
    spoil();
    expect(await begun("auto")).toEqual({ isAble: false, isRequired: false });
    expect(await checked("auto")).toEqual({ ok: true, detail: expect.stringContaining(why) as string });
    expect(await begun("require")).toContain(why);
    expect(await checked("require")).toMatchObject({ ok: false });
  });

  /** A process that must be taken for the server; in a network namespace of its own, or in ours. */
  async function running(isElsewhere: boolean): Promise<void> {
    const program = join(directory, "postgres");
    copyFileSync("/bin/sleep", program);
    const data = join(directory, "data");
    server = isElsewhere
      ? spawn("unshare", ["--net", program, "60"], { cwd: data, stdio: "ignore" })
      : spawn(program, ["60"], { cwd: data, stdio: "ignore" });
    await once(server, "spawn");
    const { pid = 0 } = server;
    writeFileSync(join(data, "postmaster.pid"), `${pid}\n${data}\n`);
    while (livingPostmaster(data)?.pid !== pid) await turn();
    expect(readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync("/proc/self/ns/net")).toBe(!isElsewhere);
  }

  test("does not count on the door of a server in another network namespace, where its rules would be none", async () => {
    await running(true);
    expect(await begun("auto")).toEqual({ isAble: false, isRequired: false });
    expect(await begun("require")).toContain("another network namespace");
  });

  test("counts on that of one that runs in its own", async () => {
    await running(false);
    expect(await begun("require")).toEqual({ isAble: true, isRequired: true });
  });
});

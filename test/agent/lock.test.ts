/** Two agents on one directory, however each of them was started and has ended. */
import { spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { lockData, LockError, lockState } from "../../agent/lock.ts";

const MODULE = JSON.stringify(new URL("../../agent/lock.ts", import.meta.url).href);
const REX = new URL("../../cli/rex.mjs", import.meta.url).pathname;
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

/** Both kinds of lock, here and as a process takes them. */
const LOCKS = [
  [
    "a state directory",
    (directory: string) => lockState(directory, "agent"),
    (d: string) => `lockState(${d}, "agent")`,
  ],
  ["a data directory", lockData, (d: string) => `lockData(${d})`],
] as const;

let directory: string;
let child: ChildProcessByStdio<null, Readable, null> | null;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-lock-"));
  child = null;
});

afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** A process that tries for the lock, has a child of its own, and says whether it got it; it goes on until it is killed. */
async function taken(words: (directory: string) => string, before: string[] = []): Promise<string> {
  const program = `
    import { spawn } from "node:child_process";
    import { lockData, lockState } from ${MODULE};
    const isMine = ${words(JSON.stringify(directory))};
    spawn("sleep", ["5"], { detached: true, stdio: "ignore" }).unref();
    console.log(isMine);
    setInterval(() => {}, 1_000);`;
  const [file, ...args] = [...before, process.execPath, "--input-type=module", "-e", program];
  child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  return String((await once(child.stdout, "data"))[0]).trim();
}

describe.each(LOCKS)("%s", (_, lock, words) => {
  test("is locked by one process, and free again when that was killed, also while a child of it lives on", async () => {
    expect(await taken(words)).toBe("true");
    expect(lock(directory)).toBe(false);
    child?.kill("SIGKILL");
    await once(child!, "exit");
    expect(lock(directory)).toBe(true);
    expect(lock(directory)).toBe(false);
  });

  test.skipIf(!isRoot)("is locked for whoever is in another network, too", async () => {
    expect(lock(directory)).toBe(true);
    expect(await taken(words, ["unshare", "--net"])).toBe("false");
  });

  test("that is not there is named, with the remedy", () => {
    const missing = join(directory, "missing");
    expect(() => lock(missing)).toThrow(LockError);
    expect(() => lock(missing)).toThrow(/missing.* cannot be locked \(ENOENT\): name the directory that is there$/);
  });
});

test("an agent and its guardian do not keep each other out", () => {
  expect(lockState(directory, "agent")).toBe(true);
  expect(lockState(directory, "guardian")).toBe(true);
});

test.skipIf(!isRoot)(
  "an account that may not open what is the agent's cannot lock it, though it may look into the directory",
  () => {
    chmodSync(directory, 0o755);
    expect(lockState(directory, "agent")).toBe(true);
    const files = readdirSync(directory);
    expect(files).toEqual(["agent.lock"]);
    for (const file of files) {
      const words = ["--shared", "--nonblock", "--conflict-exit-code", "75", join(directory, file), "true"];
      const { status, stderr } = spawnSync("flock", words, { uid: NOBODY, gid: NOBODY, encoding: "utf8" });
      expect([status === 75, stderr.includes("Permission denied")]).toEqual([false, true]);
    }
  },
);

test("an agent whose data directory is not there says so and ends", () => {
  const config = join(directory, "agent.toml");
  const server = `data_directory = "data"\nbin_directory = "."\nsocket_directory = "."\nport = 5432\nlog_file = "log"`;
  const agent = `dataservice = "alpha"\nhost = "db1"\ncoordinator = "http://127.0.0.1:9"\ntoken = "x"\nstate_directory = "state"`;
  writeFileSync(config, `${agent}\n[server]\n${server}\n`);
  const { status, stderr } = spawnSync(process.execPath, [REX, "agent", "--config", config], { encoding: "utf8" });
  const data = join(directory, "data");
  const remedy = "name the directory that is there";
  expect([status, stderr]).toEqual([
    1,
    `server.data_directory = "${data}": ${data} cannot be locked (ENOENT): ${remedy}\n`,
  ]);
});

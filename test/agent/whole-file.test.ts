/**
 * What is written when a disk has room for a part of it only. A process's limit for the size of files has the same
 * signature as such a disk: one write takes what fits and says so in its count, and the one after it fails.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshDurable } from "#shared/core/member/state.ts";
import { renderSettings } from "../../agent/engine/postgres/configuration.ts";
import { StateFile } from "../../agent/state-file.ts";

const ROOM_BYTES = 4_096;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-whole-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** What a process says that evaluates `expression` with a module of the agent, and has room for small files only. */
function sayWithLittleRoom(module: string, expression: string): string {
  const url = new URL(`../../agent/${module}`, import.meta.url).href;
  const script = `
    const agent = await import(${JSON.stringify(url)});
    const [directory, durable] = JSON.parse(process.argv[1]);
    try { ${expression}; process.stdout.write("done"); } catch (error) { process.stdout.write(error.message); }`;
  const node = [process.execPath, "--no-warnings", "--input-type=module", "-e", script];
  const args = [`--fsize=${ROOM_BYTES}`, ...node, JSON.stringify([directory, DURABLE])];
  const { stdout, stderr } = spawnSync("prlimit", args, { encoding: "utf8", timeout: 20_000 });
  return stdout + stderr;
}

const DURABLE = freshDurable({ dataservice: "alpha", host: "db1" }, "x".repeat(2 * ROOM_BYTES));

test("a configuration that does not fit takes nothing from the one that is there", () => {
  const path = join(directory, "postgresql.auto.conf");
  const settings = Array.from({ length: 90 }, (_, n) => ({ name: `ext.number_${n}`, value: "x".repeat(40) }));
  const before = renderSettings([...settings, { name: "synchronous_standby_names", value: 'ANY 1 ("db2", "db3")' }]);
  writeFileSync(path, before);
  expect(before.length).toBeGreaterThan(ROOM_BYTES);
  const said = sayWithLittleRoom(
    "engine/postgres/configuration.ts",
    `agent.writeConfiguration(directory, { kind: "frozen" })`,
  );
  expect(said).toContain("EFBIG");
  expect(readFileSync(path, "utf8")).toBe(before);
  expect(readdirSync(directory)).toEqual(["postgresql.auto.conf"]);
});

test("a state that does not fit is refused, and leaves the one before and the room that it took", () => {
  const kept = freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation");
  new StateFile(directory).write(kept, true);
  const said = sayWithLittleRoom("state-file.ts", `new agent.StateFile(directory).write(durable, true)`);
  expect(said).toContain(`${join(directory, "state.json")} cannot be written (EFBIG)`);
  expect(new StateFile(directory).read()).toEqual(kept);
  expect(readdirSync(directory).toSorted()).toEqual(["lease.json", "state.json"]);
});

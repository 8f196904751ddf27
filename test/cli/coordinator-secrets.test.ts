/** The secrets of a self-hosted coordinator, made where its disk is full or they cannot be read. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { secretsOf } from "../../cli/coordinator/secrets.ts";

/** Less than the file takes. */
const ROOM_BYTES = 64;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rex-secrets-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What the first start on the folder says in a process that has room for small files only. */
function firstStartWithLittleRoom(): string {
  const url = new URL("../../cli/coordinator/secrets.ts", import.meta.url).href;
  const script = `
    const { secretsOf } = await import(${JSON.stringify(url)});
    try { secretsOf(process.argv[1], {}); } catch (error) { process.stdout.write(error.name + ": " + error.message); }`;
  const node = [process.execPath, "--no-warnings", "--input-type=module", "-e", script, folder];
  const { stdout, stderr } = spawnSync("prlimit", [`--fsize=${ROOM_BYTES}`, ...node], {
    encoding: "utf8",
    timeout: 20_000,
  });
  return stdout + stderr;
}

test("that there is no room for leave nothing that the next start would refuse", () => {
  const path = join(folder, "secrets.json");
  expect(firstStartWithLittleRoom()).toContain(`CannotStart: ${path} cannot be written (EFBIG)`);
  expect(readdirSync(folder)).toEqual([]);
  const secrets = secretsOf(folder, {});
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ adminToken: secrets.adminToken });
  expect(secretsOf(folder, {})).toEqual(secrets);
  expect(readdirSync(folder)).toEqual(["secrets.json"]);
});

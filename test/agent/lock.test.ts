import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lockDirectory } from "../../agent/lock.ts";

test("a directory is locked by one process, and free again however that process ended", async () => {
  const directory = mkdtempSync(join(tmpdir(), "interrex-lock-"));
  const module = new URL("../../agent/lock.ts", import.meta.url).pathname;
  const holder = spawn(
    process.execPath,
    [
      "-e",
      `import(${JSON.stringify(module)}).then(async (m) => { console.log(await m.lockDirectory(${JSON.stringify(directory)})); setInterval(() => {}, 1000); })`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const [first] = (await once(holder.stdout, "data")) as [Buffer];
    expect(first.toString().trim()).toBe("true");
    expect(await lockDirectory(directory)).toBe(false);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    expect(await lockDirectory(directory)).toBe(true);
  } finally {
    holder.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
});

import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { largestElapsedMs } from "#shared/domain/clocks.ts";
import { readClocks } from "../../agent/clocks.ts";

const CHILD_TIMEOUT_MS = 10_000;

test("two processes of one boot read the same clocks", () => {
  const module = new URL("../../agent/clocks.ts", import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((m) => console.log(JSON.stringify(m.readClocks())))`;
  const before = readClocks();
  const text = execFileSync(process.execPath, ["-e", script], { encoding: "utf8", timeout: CHILD_TIMEOUT_MS });
  const inChild = JSON.parse(text) as typeof before;
  const after = readClocks();
  expect(inChild.monoMs).toBeGreaterThanOrEqual(before.monoMs);
  expect(inChild.monoMs).toBeLessThanOrEqual(after.monoMs);
  expect(largestElapsedMs(before, inChild)).toBeLessThan(CHILD_TIMEOUT_MS);
});

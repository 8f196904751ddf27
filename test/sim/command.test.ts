/** The simulator's command: what it can be asked for, and what it says to the rest. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { WORLDS } from "../../sim/worlds.ts";

const MAIN = fileURLToPath(new URL("../../sim/main.ts", import.meta.url));
const simulate = (...options: string[]) => spawnSync(process.execPath, [MAIN, ...options], { encoding: "utf8" });

test("plays a seed in the world that is named, and says so", () => {
  const { status, stdout } = simulate("--world", "copies", "--seed", "3", "--once", "--trace");
  expect(status).toBe(0);
  expect(stdout).toContain("fault agent-cloned");
  expect(stdout).toContain("1 seeds from 3 in copies, each once: 0 failed");
});

test.each(["nowhere", "toString", ""])("refuses the world '%s', and lists those that there are", (name) => {
  const { status, stdout, stderr } = simulate("--world", name);
  expect(status).toBe(2);
  expect(stdout).toBe("");
  for (const world of Object.keys(WORLDS)) expect(stderr).toContain(world);
});

test("every world has a name that can be typed as it is", () => {
  for (const world of Object.keys(WORLDS)) expect(world).toMatch(/^[a-z][a-z-]*$/);
});

test("lists its worlds in its help", () => {
  const { status, stdout } = simulate("--help");
  expect(status).toBe(0);
  for (const world of Object.keys(WORLDS)) expect(stdout).toContain(world);
});

/** What is said of a program that cannot be started, because the agent's own process has no files or no memory left. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const FILES = 64;
const AGENT = new URL("../../agent/", import.meta.url).href;

/** In `script`, from which line on the process has no files left, and up to which. */
const WITHOUT_FILES = `try { for (;;) held.push(openSync("/dev/null")); } catch {}`;
const WITH_FILES = `for (const file of held.splice(0)) closeSync(file);`;
/** More than the kernel takes of anybody: starting a program throws then, as it does without memory. */
const TOO_MUCH = `"x".repeat(1 << 22)`;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-programs-"));
  // Takes whatever it is told: what the kernel makes of it is tried elsewhere.
  writeFileSync(join(directory, "nft"), "#!/bin/sh\nwhile read -r line; do :; done\n");
  chmodSync(join(directory, "nft"), 0o755);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** The `answers` that a process of its own collects in `script`. */
function answersOf(script: string): unknown[] {
  const program = `
    import { closeSync, openSync } from "node:fs";
    const [held, answers] = [[], []];
    ${script}
    process.stdout.write(JSON.stringify(answers));
    process.exit();`;
  const node = [process.execPath, "--no-warnings", "--input-type=module", "-e", program];
  const env = { ...process.env, PATH: `${directory}:${process.env["PATH"]}` };
  const options = { encoding: "utf8", timeout: 20_000, env } as const;
  const { stdout, stderr } = spawnSync("prlimit", [`--nofile=${FILES}`, ...node], options);
  expect(stderr).toBe("");
  return JSON.parse(stdout) as unknown[];
}

describe("the kernel's door", () => {
  // On a busy host nft may be late, which is another refusal: then it is asked again.
  const DOOR = `
    const { readBootId, readClocks } = await import("${AGENT}clocks.ts");
    const { KernelDoor } = await import("${AGENT}door/kernel-door.ts");
    const door = new KernelDoor({ table: "interrex_test", port: 1 }, readClocks);
    const lease = { epoch: 1, ttlMs: 600_000, base: readClocks(), bootId: readBootId(), hasLeaseDoor: true };
    const set = async (wish) => {
      for (;;) {
        const outcome = await door.set(wish);
        if (outcome.code !== "nft-late") return answers.push(outcome);
      }
    };`;
  const SET = `await set({ kind: "lease", lease });`;
  const TAKE_AWAY = `await set({ kind: "none" });`;

  test("that cannot be set without files is refused by a code, and is set when there are some again", () => {
    const answers = answersOf(`${DOOR} ${WITHOUT_FILES} ${SET} ${WITH_FILES} ${SET}`);
    const refusal = { ok: false, code: "nft-not-started", detail: "spawn nft EMFILE" };
    expect(answers).toEqual([refusal, { ok: true, value: "" }]);
  });

  test("that cannot be set without memory is refused by a code", () => {
    const answers = answersOf(`process.env["PATH"] += ${TOO_MUCH}; ${DOOR} ${SET}`);
    expect(answers).toEqual([{ ok: false, code: "nft-not-started", detail: "spawn E2BIG" }]);
  });

  test("stays where nobody can see what a dead server has left to say", () => {
    const answers = answersOf(
      `${DOOR} lease.ttlMs = 0; ${SET} ${WITHOUT_FILES} ${TAKE_AWAY} ${WITH_FILES} ${TAKE_AWAY}`,
    );
    expect(answers).toMatchObject([
      { ok: false, code: "lease-over" },
      { ok: false, code: "door-failed", detail: expect.stringContaining("EMFILE") as string },
      { ok: true },
    ]);
  });
});

describe("a program of the server's", () => {
  const RUN = `answers.push(await runProgram({
    path: "/bin/sh", args: ["-c", "echo words"], account: null, workingDirectory: "/", deadline: new Deadline(10_000),
  }));`;
  const PROGRAM = `
    const { runProgram } = await import("${AGENT}engine/postgres/rebuild-command.ts");
    const { Deadline } = await import("${AGENT}engine/postgres/deadline.ts");`;

  test("that cannot be started without files or memory has ended with these words", () => {
    const answers = answersOf(`
      ${PROGRAM} ${WITHOUT_FILES} ${RUN} ${WITH_FILES} ${RUN} process.env["HOME"] = ${TOO_MUCH}; ${RUN}`);
    expect(answers).toEqual([
      { ok: false, how: "could not be started (EMFILE)", output: "" },
      { ok: true, how: "exit status 0", output: "words\n" },
      { ok: false, how: "could not be started (E2BIG)", output: "" },
    ]);
  });
});

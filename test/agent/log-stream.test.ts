/** A log that nobody reads, and one whose disk is full: the agent goes on, and says what was lost when it can. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, closeSync } from "node:fs";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";

const MODULES = ["pino", new URL("../../agent/log-stream.ts", import.meta.url).href].map((name) =>
  JSON.stringify(name),
);
const FLUSH_MS = 200;

/** A process that logs `lines` long lines and a fatal one, says on stdout that it goes on, and ends when stdin does. */
function logging(lines: number, stderr: "pipe" | number) {
  const program = `
    import { pino } from ${MODULES[0]};
    import { LogStream, stderrOut } from ${MODULES[1]};
    const stream = new LogStream(stderrOut(), (lines) => log.warn({ lines }, "dropped"));
    const log = pino({}, stream);
    for (let line = 1; line <= ${lines}; line += 1) log.info({ line, text: "x".repeat(10_000) }, "line");
    log.fatal("last words");
    process.stdout.write("goes on");
    process.stdin.resume().on("end", async () => { await stream.flush(${FLUSH_MS}); process.exit(3); });`;
  const root = new URL("../../", import.meta.url);
  return spawn(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    stdio: ["pipe", "pipe", stderr],
  });
}

test("a log that nobody reads holds nobody up: the oldest lines are kept, and the last words; what was dropped is counted", async () => {
  const child = logging(300, "pipe");
  try {
    expect(String((await once(child.stdout!, "data"))[0])).toBe("goes on");
    const told: { msg: string; line: number; lines: number }[] = [];
    const read = (async () => {
      for await (const line of createInterface({ input: child.stderr! }))
        told.push(JSON.parse(line) as (typeof told)[0]);
    })();
    while (told.at(-1)?.msg !== "dropped") await new Promise(setImmediate);
    child.stdin!.end();
    const [status] = (await once(child, "exit")) as [number];
    await read;
    const kept = told.filter(({ msg }) => msg === "line");
    expect(kept.map(({ line }) => line)).toEqual(kept.map((_, index) => index + 1));
    expect(told.slice(kept.length)).toMatchObject([
      { msg: "last words" },
      { msg: "dropped", lines: 300 - kept.length },
    ]);
    expect([kept.length > 50, kept.length < 300, status]).toEqual([true, true, 3]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("a log that nobody reads does not keep a process that ends", async () => {
  const child = logging(300, "pipe");
  try {
    await once(child.stdout!, "data");
    child.stdin!.end();
    expect(await once(child, "exit")).toEqual([3, null]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("a disk without room for the log loses lines and nothing else", async () => {
  const full = openSync("/dev/full", "w");
  const child = logging(3, full);
  closeSync(full);
  try {
    expect(String((await once(child.stdout!, "data"))[0])).toBe("goes on");
    child.stdin!.end();
    expect(await once(child, "exit")).toEqual([3, null]);
  } finally {
    child.kill("SIGKILL");
  }
});

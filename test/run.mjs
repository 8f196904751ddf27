// Runs the test suites with the packaged Node and ends with one plain line of the real counts.
// Arguments go to vitest: `npm test -- test/core`, `npm test -- --project unit`. Without any, everything is run: the tests of
// real servers, which wait more than they work, and beside them all others, with what those leave of the processors.
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(root, "node_modules", "node", "bin", "node");
const scratch = mkdtempSync(join(tmpdir(), "interrex-test-"));
const environment = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` };

const DEADLINE_MS = 80 * 60_000;
/** What runs beside the tests of real servers has a tenth of what they have, where both want a processor. */
const NICE = 10;
/** And so may take its time. */
const PATIENT = ["--testTimeout=120000", "--hookTimeout=120000"];

const running = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const end of running) end();
    rmSync(scratch, { recursive: true, force: true });
    process.exit(1);
  });
}

/** Runs Node to its end, within the deadline, and returns its exit status. `log`: a file for all that it says. */
function run(args, { log = null } = {}) {
  return new Promise((resolve) => {
    const isBeside = log !== null;
    const output = isBeside ? openSync(log, "w") : null;
    const stdio = isBeside ? ["ignore", output, output] : "inherit";
    const child = spawn(node, args, { cwd: root, env: environment, stdio, detached: isBeside });
    if (isBeside) {
      closeSync(output);
      if (child.pid) giveWay(child.pid);
    }
    const end = () => {
      try {
        process.kill(isBeside ? -child.pid : child.pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    };
    running.add(end);
    const timer = setTimeout(() => {
      console.log(`not ended within ${DEADLINE_MS / 60_000} min: ${args.join(" ")}`);
      end();
    }, DEADLINE_MS);
    const ended = (status) => {
      clearTimeout(timer);
      running.delete(end);
      resolve(status ?? 1);
    };
    child.once("error", (error) => {
      console.log(`does not start: ${error.message}`);
      ended(1);
    });
    child.once("exit", ended);
  });
}

/** Where the kernel groups processes by session for scheduling, the niceness of the group is what counts. */
function giveWay(pid) {
  try {
    setPriority(pid, NICE);
    writeFileSync(`/proc/${pid}/autogroup`, String(NICE));
  } catch {
    // Not on this kernel: all run with the same right.
  }
}

function vitest(name, args) {
  const report = join(scratch, `${name}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  return { report, args: ["node_modules/vitest/vitest.mjs", "run", ...reporters, ...args] };
}

/** Both at once; what the second says comes after the first has ended. */
async function runEverything() {
  const live = vitest("live", ["--project", "live"]);
  const others = vitest("others", ["--project", "unit", "--project", "worker", ...PATIENT]);
  const log = join(scratch, "others.log");
  const statuses = await Promise.all([run(live.args), run(others.args, { log })]);
  process.stdout.write(readFileSync(log));
  return { status: Math.max(...statuses), reports: [live.report, others.report] };
}

async function runSome(args) {
  const some = vitest("some", args);
  return { status: await run(some.args), reports: [some.report] };
}

/** How many passed, failed and were skipped, and which failed; a suite that left no report has failed. */
function countsOf(report) {
  let counts;
  try {
    counts = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, failures: [`${basename(report, ".json")}: ended without a report`] };
  }
  // A suite that broke before its first test has no failed test of its own: it counts as one.
  const broken = counts.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
  return {
    passed: counts.numPassedTests,
    failed: counts.numFailedTests + broken.length,
    skipped: counts.numPendingTests + counts.numTodoTests,
    failures: counts.testResults.flatMap(failuresOf),
  };
}

/** A line for each test that failed and for a file that did without one: where it stands, and what it said first. */
function failuresOf({ name, status, message, assertionResults }) {
  if (status !== "failed") return [];
  const failed = assertionResults.filter((test) => test.status === "failed");
  const file = relative(root, name);
  if (failed.length === 0) return [`${file}: ${firstLine(message)}`];
  return failed.map(
    ({ fullName, failureMessages }) => `${file} > ${fullName}: ${firstLine(failureMessages.join("\n"))}`,
  );
}

function firstLine(text) {
  return (
    stripVTControlCharacters(text ?? "")
      .trim()
      .split("\n", 1)[0] || "no message"
  );
}

const asked = process.argv.slice(2);
let status = await run(["worker/build.mjs"]);
let all = [{ passed: 0, failed: 1, skipped: 0, failures: ["the Worker cannot be built"] }];
if (status === 0) {
  const done = await (asked.length === 0 ? runEverything() : runSome(asked));
  status = done.status;
  all = done.reports.map(countsOf);
}
rmSync(scratch, { recursive: true, force: true });
const sum = (key) => all.reduce((total, counts) => total + counts[key], 0);
const [passed, failed, skipped] = ["passed", "failed", "skipped"].map(sum);
if (process.env.CI === "true" && skipped > 0) {
  console.log("with CI=true nothing may be skipped");
  status = 1;
}
// Of a long output often only the end is kept: what failed stands there, by name.
for (const line of all.flatMap(({ failures }) => failures)) console.log(`failed: ${line}`);
if (failed > 0 || all.some((counts) => counts.passed === 0)) status = 1;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(status);

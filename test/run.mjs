// Runs the test suites with the packaged Node and ends with one plain line of the real counts.
// Arguments go to vitest: `npm test -- test/core`, `npm test -- --project unit`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(root, "node_modules", "node", "bin", "node");
const scratch = mkdtempSync(join(tmpdir(), "interrex-test-"));
const report = join(scratch, "report.json");
const environment = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` };

function run(args) {
  return spawnSync(node, args, { cwd: root, env: environment, stdio: "inherit" }).status ?? 1;
}

let status = run(["worker/build.mjs"]);
if (status === 0) {
  status = run([
    "node_modules/vitest/vitest.mjs",
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ]);
}
try {
  const counts = JSON.parse(readFileSync(report, "utf8"));
  const skipped = counts.numPendingTests + counts.numTodoTests;
  // A suite that broke before its first test has no failed test of its own: it counts as one.
  const broken = counts.testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0);
  const failed = counts.numFailedTests + broken.length;
  if (process.env.CI === "true" && skipped > 0) {
    console.log("with CI=true nothing may be skipped");
    status = 1;
  }
  if (counts.numPassedTests === 0) status = 1;
  console.log(`${counts.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
} catch {
  console.log("0 passed, 1 failed");
  status = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(status);

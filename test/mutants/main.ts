/**
 * `npm run -s mutants [-- --only ID,ID] [--quick]`: how well the checkers and the tests of the machines see. Each fault
 * of the list is planted alone in a copy of the machines; the simulator hunts for it, and, where that sees nothing, the
 * tests of the machines. What was found is kept in `findings.json`, and docs/MUTANTS.md is written from it; `--quick`
 * writes neither.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { plant, type Fault } from "./fault.ts";
import type { Catch } from "./hunt.ts";
import { FAULTS, QUICK } from "./list.ts";
import { pageOf, type Findings, type Verdict } from "./page.ts";

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const NODE = join(ROOT, "node_modules", "node", "bin", "node");
/** Ignored by git, and below the packages that the tests need. */
const COPIES = join(ROOT, ".tsbuild", "mutants");
const COPIED = ["package.json", "tsconfig.base.json", "shared", "sim", "test/core", "test/domain", "test/mutants"];
/** What the tests that a fault names for itself need besides. */
const COPIED_FOR_TESTS = ["agent", "cli", "demo", "test/agent", "test/connector", "test/live", "test/tsconfig.json"];
const FINDINGS = join(ROOT, "test", "mutants", "findings.json");
const QUICK_SEEDS = 150;
/** Most of what the tests see, these see within a few seconds. */
const QUICK_TESTS = [
  "test/domain",
  ...[
    "admission",
    "authority",
    "member-table",
    "cluster-table",
    "plan-table",
    "requests",
    "switch",
    "routes",
    "durability",
  ].map((name) => `test/core/${name}.test.ts`),
];
const TESTS_DEADLINE_MS = 300_000;

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    /** `simulator` or `tests`: only one of the two looks, and what it does not see is not noted. */
    by: { type: "string", default: "both" },
    seeds: { type: "string", default: "100" },
    "other-seeds": { type: "string", default: "15" },
  },
});

const wanted = values.only?.split(",") ?? (values.quick ? QUICK : FAULTS.map(({ id }) => id));
const unknown = wanted.filter((id) => !FAULTS.some((fault) => fault.id === id));
if (unknown.length > 0) {
  console.error(`no such fault: ${unknown.join(", ")}`);
  process.exit(2);
}

const startedMs = performance.now();
const verdicts: Verdict[] = [];
for (const fault of FAULTS.filter(({ id }) => wanted.includes(id))) {
  const verdict = judge(fault);
  verdicts.push(verdict);
  console.log(`${fault.id.padEnd(36)} ${told(verdict)}`);
  if (!values.quick && (values.by === "both" || verdict.by.kind !== "nobody")) keep(verdict);
}
const tookS = (performance.now() - startedMs) / 1_000;
const survivors = verdicts.filter(({ by }) => by.kind === "nobody");
console.log(`${verdicts.length} faults, ${survivors.length} survived, ${Math.round(tookS)} s`);
rmSync(COPIES, { recursive: true, force: true });
process.exitCode = survivors.length === 0 ? 0 : 1;

/** Kept at once: a long list may be ended in the middle. */
function keep({ fault, by }: Verdict): void {
  const findings = { ...readFindings(), [fault.id]: by };
  const sorted = Object.fromEntries(FAULTS.flatMap(({ id }) => (findings[id] ? [[id, findings[id]]] : [])));
  writeFileSync(FINDINGS, `${JSON.stringify(sorted, null, 2)}\n`);
  writeFileSync(join(ROOT, "docs", "MUTANTS.md"), pageOf(FAULTS, sorted));
}

function readFindings(): Findings {
  return existsSync(FINDINGS) ? (JSON.parse(readFileSync(FINDINGS, "utf8")) as Findings) : {};
}

function judge(fault: Fault): Verdict {
  const copy = join(COPIES, fault.id);
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  for (const part of [...COPIED, ...(fault.tests ? COPIED_FOR_TESTS : [])])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  const file = join(copy, fault.file);
  writeFileSync(file, plant(readFileSync(file, "utf8"), fault));
  const caught = values.by === "tests" || fault.tests ? null : hunt(copy);
  if (caught) return { fault, by: { kind: "simulator", caught } };
  const test = values.quick || values.by === "simulator" ? null : failingTest(copy, fault.tests);
  rmSync(copy, { recursive: true, force: true });
  return { fault, by: test === null ? { kind: "nobody" } : { kind: "test", test } };
}

function hunt(copy: string): Catch | null {
  const seeds = values.quick ? String(QUICK_SEEDS) : values.seeds;
  const others = values.quick ? "0" : values["other-seeds"];
  const { stdout, status, stderr } = spawnSync(
    NODE,
    [join(copy, "test/mutants/hunt.ts"), "--seeds", seeds, "--other-seeds", others],
    { cwd: copy, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`the hunt in ${copy} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Catch | null;
}

/** The first test that fails, in the quick files or else in all of them; null when all pass. */
function failingTest(copy: string, named: Fault["tests"]): string | null {
  const include = named ?? ["test/core/**/*.test.ts", "test/domain/**/*.test.ts"];
  const isLive = named?.some((file) => file.startsWith("test/live/")) === true;
  const config = { test: { include, testTimeout: isLive ? 60_000 : 30_000, isolate: false } };
  writeFileSync(join(copy, "vitest.config.ts"), `export default ${JSON.stringify(config)};\n`);
  // Tests of real servers clean up after themselves: these are not cut short by the first that fails.
  if (named) return failingAmong(copy, { files: named, bail: isLive ? 0 : 1 });
  return failingAmong(copy, { files: QUICK_TESTS, bail: 1 }) ?? failingAmong(copy, { files: [], bail: 1 });
}

function failingAmong(copy: string, { files, bail }: { files: readonly string[]; bail: number }): string | null {
  const report = join(copy, "report.json");
  rmSync(report, { force: true });
  spawnSync(
    NODE,
    [
      join(ROOT, "node_modules/vitest/vitest.mjs"),
      "run",
      ...files,
      "--root",
      copy,
      `--bail=${bail}`,
      "--reporter=json",
      `--outputFile=${report}`,
    ],
    { cwd: copy, timeout: TESTS_DEADLINE_MS, stdio: "ignore" },
  );
  // Ended by the deadline: whatever hangs is no test that passes.
  if (!existsSync(report)) return `${files.join(", ")}: does not end`;
  const { testResults } = JSON.parse(readFileSync(report, "utf8")) as {
    testResults: {
      name: string;
      status: string;
      assertionResults: { status: string; fullName: string }[];
    }[];
  };
  for (const { name, status, assertionResults } of testResults) {
    const failed = assertionResults.find((test) => test.status === "failed");
    const where = name.slice(name.indexOf("/test/") + 1);
    if (failed) return `${where}: ${failed.fullName}`;
    // A copy that cannot be tested at all has caught nothing.
    if (status === "failed" && assertionResults.length === 0) throw new Error(`${where} of ${copy} does not load`);
  }
  return null;
}

function told({ by }: Verdict): string {
  switch (by.kind) {
    case "simulator":
      return `${by.caught.rule}, seed ${by.caught.seed} (${by.caught.world}), after ${by.caught.tried}: ${by.caught.what}`;
    case "test":
      return by.test;
    case "nobody":
      return "SURVIVES";
  }
}

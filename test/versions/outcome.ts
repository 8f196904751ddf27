/** What became of each test on each version, and how it is told: nothing that did not run is left out. */
import { basename } from "node:path";

const SERVER = "the server";

/** One file of tests, or one scenario of the demo, on one version. */
export interface Outcome {
  major: number;
  /** The file's name without its endings, or the scenario's. */
  what: string;
  /** What the cell of the table says. */
  told: string;
  failed: string[];
  /** Every test that was skipped, by its full name, which says why. */
  notRun: string[];
}

/** The part of vitest's JSON report that is read here. */
export interface Report {
  testResults: {
    status: string;
    message?: string;
    assertionResults: { status: string; fullName: string; failureMessages?: string[] | null }[];
  }[];
}

/** A file of tests; `report` is null when none was written. */
export function outcomeOfFile(major: number, file: string, report: Report | null): Outcome {
  const what = basename(file).replace(/\.test\.ts$/, "");
  const results = report?.testResults ?? [];
  const tests = results.flatMap(({ assertionResults }) => assertionResults);
  const named = (...statuses: string[]) => tests.filter(({ status }) => statuses.includes(status));
  const passed = named("passed").length;
  const failed = named("failed").map(({ fullName, failureMessages }) =>
    [fullName, ...(failureMessages ?? [])].join("\n"),
  );
  // What breaks before, or after, the tests themselves is in none of them.
  const broken = results
    .filter(
      ({ status, assertionResults }) => status === "failed" && assertionResults.every((t) => t.status !== "failed"),
    )
    .map(({ message }) => `the file itself: ${message ?? "no word"}`);
  const notRun = tests.filter(({ status }) => !["passed", "failed"].includes(status)).map(({ fullName }) => fullName);
  const faults = [...failed, ...broken, ...(tests.length === 0 && broken.length === 0 ? ["no test was run"] : [])];
  const told = [
    `${passed} passed`,
    ...(faults.length > 0 ? [`${faults.length} FAILED`] : []),
    ...(notRun.length > 0 ? [`${notRun.length} not run`] : []),
  ].join(", ");
  return { major, what, told, failed: faults, notRun };
}

/** A run of the demo's scenario, by what it printed. */
export function outcomeOfScenario(run: {
  major: number;
  scenario: string;
  status: number | null;
  stdout: string;
  stderr: string;
}): Outcome {
  const { major, scenario, status, stdout, stderr } = run;
  const figures = figuresIn(stdout);
  if (!figures) return { major, what: scenario, told: "FAILED", failed: [stderr.trim() || "no figures"], notRun: [] };
  const { lost, acked, outageMs, dualWriters } = figures;
  const told = `lost ${lost} of ${acked}, outage ${(outageMs / 1_000).toFixed(2)} s`;
  const faults = [
    ...(lost > 0 ? [`lost ${lost} acknowledged rows`] : []),
    ...(dualWriters > 0 ? [`${dualWriters} times two writers`] : []),
    ...(status === 0 ? [] : [`ended with ${status}: ${stderr.trim()}`]),
  ];
  return { major, what: scenario, told: faults.length > 0 ? `${told}, FAILED` : told, failed: faults, notRun: [] };
}

/** Which server the rest was tried on. */
export function outcomeOfServer(major: number, version: string): Outcome {
  return { major, what: SERVER, told: version, failed: [], notRun: [] };
}

/** A version that could not be had: nothing of it was tried. */
export function outcomeOfNoServer(major: number, { error, names }: { error: Error; names: string[] }): Outcome {
  return { major, what: SERVER, told: "NOT HAD", failed: [error.message], notRun: names };
}

interface Figures {
  lost: number;
  acked: number;
  outageMs: number;
  dualWriters: number;
}

function figuresIn(stdout: string): Figures | null {
  const line = stdout.split("\n").find((text) => text.startsWith("{"));
  return line === undefined ? null : (JSON.parse(line) as Figures);
}

/** A line for each file, a column for each version; then what failed and what did not run, by name. */
export function renderOutcomes(outcomes: Outcome[]): string {
  const majors = [...new Set(outcomes.map(({ major }) => major))];
  const things = [...new Set(outcomes.map(({ what }) => what))];
  const cell = (what: string, major: number) =>
    outcomes.find((outcome) => outcome.what === what && outcome.major === major)?.told ?? "NOT TRIED";
  const rows = [
    ["", ...majors.map((major) => `PostgreSQL ${major}`)],
    ...things.map((what) => [what].concat(majors.map((major) => cell(what, major)))),
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const list = (title: string, of: (outcome: Outcome) => string[]) => {
    const lines = outcomes.flatMap((outcome) =>
      of(outcome).map((line) => `  ${outcome.major} ${outcome.what}: ${line}`),
    );
    return lines.length === 0 ? [] : ["", title, ...lines];
  };
  return [
    ...table,
    ...list("Failed:", ({ failed }) => failed),
    ...list("Did not run:", ({ notRun }) => notRun),
    "",
  ].join("\n");
}

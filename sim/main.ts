/** `npm run -s sim -- --seed N [--runs K] [--trace]`: runs seeds N to N+K-1, each twice, and tells what broke. */
import { parseArgs } from "node:util";
import { runSeed, type Outcome } from "./run.ts";

const LAST_EVENTS = 60;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "1" },
    trace: { type: "boolean", default: false },
  },
});

const first = wholeNumber("seed", values.seed);
const runs = wholeNumber("runs", values.runs);
const startedAt = process.hrtime.bigint();
const tally = new Map<string, number>();
let failures = 0;

for (let seed = first; seed < first + runs; seed += 1) {
  const outcome = runSeed(seed);
  const differs = firstDifference(outcome.trace, runSeed(seed).trace);
  if (values.trace) console.log(outcome.trace.join("\n"));
  count(outcome);
  if (differs === null && !outcome.violation) continue;
  failures += 1;
  if (differs !== null) console.log(`seed ${seed}: two runs differ from line ${differs + 1} on`);
  if (outcome.violation) tellViolation(outcome, outcome.violation);
}

const tookMs = Number(process.hrtime.bigint() - startedAt) / 1e6;
for (const [what, times] of [...tally].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  console.log(`${String(times).padStart(8)}  ${what}`);
console.log(`${runs} seeds from ${first}, each twice: ${failures} failed, ${(tookMs / runs).toFixed(1)} ms a seed`);
process.exitCode = failures === 0 ? 0 : 1;

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`--${option} ${text}: give a whole number, 0 or more`);
  process.exit(2);
}

/** The first line in which two traces differ; null when they are equal. */
function firstDifference(a: string[], b: string[]): number | null {
  const index = a.findIndex((line, at) => line !== b[at]);
  if (index !== -1) return index;
  return a.length === b.length ? null : a.length;
}

function tellViolation(outcome: Outcome, violation: { rule: string; what: string; timeMs: number }): void {
  console.log(`seed ${outcome.seed}: ${violation.rule} broken at ${violation.timeMs.toFixed(1)} ms: ${violation.what}`);
  if (!values.trace)
    console.log(
      outcome.trace
        .slice(-LAST_EVENTS)
        .map((line) => `    ${line}`)
        .join("\n"),
    );
}

function count({ rest, epochs, acknowledged, lost, events }: Outcome): void {
  const add = (what: string, times = 1): void => void tally.set(what, (tally.get(what) ?? 0) + times);
  add(rest.kind === "needs-a-person" ? `rest: needs a person (${rest.code})` : `rest: ${rest.kind}`);
  if (rest.kind === "reigning") for (const why of rest.aside) add(`members aside: ${why}`);
  add("epochs", epochs);
  add("events", events);
  add("writes acknowledged", acknowledged);
  add("writes lost by asynchronous replication", lost);
}

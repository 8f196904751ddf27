/** `npm run -s sim -- --help` says what it takes: runs seeds, each in a world of its own making or a named one, and tells what broke. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { addFindings, campaign, type Findings, type Order } from "./campaign.ts";
import { OWN_WORLD, WORLDS } from "./worlds.ts";

/** So many seeds at a time: few enough for the processes to end together, and for a failure to be told soon. */
const AT_A_TIME = 100;

const NAMES = Object.keys(WORLDS).join(", ");
const HELP = `npm run -s sim -- [--seed N] [--runs K] [--world NAME] [--trace] [--once] [--jobs J]

Runs seeds N to N+K-1, each twice, and tells which broke a rule, with the end of its trace.

  --seed N      the first seed, 1 unless it is given; --from is another name of it
  --runs K      how many, 1 unless it is given
  --world NAME  what the seeds are played in; ${OWN_WORLD} unless it is given
  --trace       tell the whole of each trace
  --once        each only once: not whether it tells the same story again
  --jobs J      in J processes

Worlds: ${NAMES}`;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    from: { type: "string" },
    runs: { type: "string", default: "1" },
    jobs: { type: "string", default: "1" },
    once: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    world: { type: "string", default: OWN_WORLD },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const world = worldNamed(values.world);

const first = values.from === undefined ? wholeNumber("seed", values.seed) : wholeNumber("from", values.from);
const runs = wholeNumber("runs", values.runs);
const jobs = wholeNumber("jobs", values.jobs);
const startedAt = process.hrtime.bigint();
const sum: Findings = { runs: 0, failures: 0, simulatedMs: 0, tally: {}, lines: [] };
let next = first;

if (jobs <= 1) for (let order = nextOrder(); order; order = nextOrder()) take(campaign(order));
else await Promise.all(Array.from({ length: jobs }, employ));

const tookMs = Number(process.hrtime.bigint() - startedAt) / 1e6;
for (const [what, times] of Object.entries(sum.tally).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  console.log(`${String(times).padStart(8)}  ${what}`);
const where = world === OWN_WORLD ? "" : ` in ${world}`;
const isWhole = sum.runs === runs;
const hours = (sum.simulatedMs / 3_600_000).toFixed(1);
console.log(
  `${sum.runs} seeds from ${first}${where}, each ${values.once ? "once" : "twice"}: ${sum.failures} failed, ` +
    `${hours} simulated hours, ${(tookMs / Math.max(1, sum.runs)).toFixed(1)} ms a seed`,
);
if (!isWhole) console.log(`${runs - sum.runs} seeds were not run: a process ended before its time`);
process.exitCode = sum.failures === 0 && isWhole ? 0 : 1;

/** One process, until no seeds are left. */
async function employ(): Promise<void> {
  const worker = fork(fileURLToPath(new URL("worker.ts", import.meta.url)));
  const hand = (): void => {
    const order = nextOrder();
    if (order) worker.send(order);
    else worker.disconnect();
  };
  worker.on("message", (findings: Findings) => {
    take(findings);
    hand();
  });
  hand();
  await new Promise((resolve) => worker.on("exit", resolve));
}

function nextOrder(): Order | null {
  const left = first + runs - next;
  if (left <= 0) return null;
  const from = next;
  next += AT_A_TIME;
  return { world, from, runs: Math.min(AT_A_TIME, left), isTwice: !values.once, isTold: values.trace };
}

function take(findings: Findings): void {
  if (findings.lines.length > 0) console.log(findings.lines.join("\n"));
  addFindings(sum, findings);
}

function worldNamed(name: string): string {
  if (Object.hasOwn(WORLDS, name)) return name;
  console.error(`--world ${name}: there is no such world; there are ${NAMES}`);
  process.exit(2);
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`--${option} ${text}: give a whole number, 0 or more`);
  process.exit(2);
}

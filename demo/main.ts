/** The demo: puts a whole dataservice up, lets it be played with or measured, and takes all of it down again. */
import { readFileSync } from "node:fs";
import { PLAIN_LS, renderLs } from "../cli/render/ls.ts";
import type { Console } from "../cli/run.ts";
import { freshState } from "../cli/session.ts";
import { processScreen } from "../cli/terminal.ts";
import { DemoClients } from "./clients.ts";
import { DATASERVICE, HOLD_TIMEOUT_MS, type DemoCluster } from "./cluster.ts";
import { runDemoPrompt, runDemoScript } from "./console.ts";
import { median } from "./figures.ts";
import { type DemoOptions, OptionsError, parseOptions, USAGE } from "./options.ts";
import { Playground } from "./playground.ts";
import { DemoReader } from "./reader.ts";
import { runScenario, type ScenarioFigures } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { renderTimeline } from "./timeline.ts";
import { until } from "./until.ts";

type OptionsOf<K extends DemoOptions["kind"]> = Extract<DemoOptions, { kind: K }>;

/** There is something to interrupt, and to compare a pause with, before anybody plays. */
const FIRST_WRITES = 100;
const FIRST_WRITES_MS = 30_000;
const LOOK_EVERY_MS = 20;

const note = (text: string): void => void process.stderr.write(`${text}\n`);

async function main(): Promise<void> {
  const options = optionsOrExit();
  if (options.kind === "help") {
    process.stdout.write(USAGE);
    return;
  }
  // Read before the directory changes: the path is relative to where the demo was called.
  const script = options.kind === "script" ? readScript(options.file) : null;
  const stage = await Stage.open(note);
  // Whatever is started from here on works inside, and is found there by whoever clears up.
  process.chdir(stage.workshop);
  const finish = finisher(stage);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => finish(options.kind === "console" ? 0 : 1));
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      if (!finish.hasBegun) note(error instanceof Error ? (error.stack ?? error.message) : String(error));
      finish(1);
    });
  }
  try {
    finish(
      options.kind === "scenario"
        ? await runScenarios(stage, options)
        : await play(stage, script, options.kind === "script" && options.json),
    );
  } catch (error) {
    if (!finish.hasBegun) note(`The demo failed: ${(error as Error).message}`);
    finish(1);
  }
}

function optionsOrExit(): DemoOptions {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    note(error.message);
    process.exit(1);
  }
}

function readScript(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    note(
      `--script is '${file}': it cannot be read (${(error as NodeJS.ErrnoException).code}): name a file of console commands`,
    );
    process.exit(1);
  }
}

/** Takes the stage down and ends the process; only the first call counts. */
function finisher(stage: Stage): ((status: number) => void) & { hasBegun: boolean } {
  const finish = (status: number): void => {
    if (finish.hasBegun) return;
    finish.hasBegun = true;
    void takeDown(stage).then((isClean) => process.exit(isClean ? status : 1));
  };
  finish.hasBegun = false;
  return finish;
}

/** Whether nothing is left; what is, is told. */
async function takeDown(stage: Stage): Promise<boolean> {
  try {
    const left = await stage.end();
    if (left.length > 0) note(`Left behind in spite of clearing up: ${left.join(", ")}`);
    return left.length === 0;
  } catch (error) {
    note(`Clearing up failed: ${(error as Error).message}; the rest is in ${stage.workshop}`);
    return false;
  }
}

async function play(stage: Stage, script: string | null, json: boolean): Promise<number> {
  note("Starting a coordinator, three PostgreSQL servers with their agents, and a connector ...");
  const cluster = await stage.cluster();
  await cluster.untilOnline();
  const clients = new DemoClients({ connectorPort: cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
  await clients.start();
  await until("the clients' first writes", { deadlineMs: FIRST_WRITES_MS, everyMs: LOOK_EVERY_MS }, () =>
    clients.ackCount >= FIRST_WRITES
      ? { found: true }
      : { missing: `${clients.ackCount} of ${FIRST_WRITES} are acknowledged` },
  );
  const reader = new DemoReader({ readOnlyPort: cluster.readOnlyPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
  reader.start();
  const playground = new Playground({ cluster, clients, reader });
  const console = consoleFor(cluster, json);
  if (script !== null) return runDemoScript(playground, console, script, new AbortController().signal);
  process.stdout.write(banner(cluster));
  await runDemoPrompt(playground, console);
  return 0;
}

function consoleFor(cluster: DemoCluster, json: boolean): Console {
  return {
    screen: processScreen(process.env),
    state: freshState(),
    environment: { ...process.env, ...cluster.rexEnvironment() },
    flags: json ? { json } : {},
  };
}

function banner(cluster: DemoCluster): string {
  const servers = cluster.servers.map(
    ({ member, port }) => `  ${member}          127.0.0.1:${port}  PostgreSQL and its agent`,
  );
  return [
    "",
    `Dataservice '${DATASERVICE}' is up, all of it in ${cluster.directory}`,
    "",
    `  coordinator  ${cluster.coordinator.url}`,
    ...servers,
    `  app1         127.0.0.1:${cluster.connectorPort}  the connector: psql -h 127.0.0.1 -p ${cluster.connectorPort} -U postgres`,
    `               127.0.0.1:${cluster.readOnlyPort}  its port for readers`,
    "",
    "Two applications write through the connector: one opens a connection for every write, each 10 ms; the other keeps",
    "one open. A third one reads. Now try:",
    "",
    "  ls                       what the dataservice looks like",
    "  host db1 kill            SIGKILL the primary's server; then `clients` and `ls` again",
    "  datasource db1 recover   have the former primary back, as a replica",
    "  switch to db1            and make it primary again: nobody is refused",
    "  host db1 freeze          the whole host stands still; `host db1 thaw` lets it go on",
    "  host db2 crash           the whole host is gone; `host db2 start` brings it back",
    "  events, help             what happened, and all there is",
    "",
    "Ctrl-C ends the demo and leaves nothing behind.",
    "",
    "",
  ].join("\n");
}

async function runScenarios(stage: Stage, options: OptionsOf<"scenario">): Promise<number> {
  const figures: ScenarioFigures[] = [];
  for (let run = 1; run <= options.runs; run += 1) figures.push(await runOnce(stage, options));
  if (options.runs > 1) note(summaryOf(figures));
  return figures.some(({ dualWriters }) => dualWriters > 0) ? 1 : 0;
}

async function runOnce(stage: Stage, options: OptionsOf<"scenario">): Promise<ScenarioFigures> {
  const { scenario, json, timeline, sync, writers, awayMs } = options;
  const show = (text: string): void => void (json ? process.stderr : process.stdout).write(text);
  const cluster = await stage.cluster({ create: sync ? { durability: "sync" } : {} });
  try {
    const run = await runScenario(scenario, cluster, { writers, ...(awayMs !== null && { awayMs }) });
    show(`${renderLs(run.before, PLAIN_LS)}\n${renderLs(run.after, PLAIN_LS)}\n`);
    if (timeline) show(`${renderTimeline(run.timeline)}\n`);
    for (const message of run.errors) note(`client error: ${message}`);
    process.stdout.write(`${JSON.stringify(run.figures)}\n`);
    return run.figures;
  } finally {
    for (const what of await cluster.end()) note(`left behind: ${what}`);
  }
}

/** What only some scenarios tell. */
const SPECIAL_FIGURES = [
  "openedErrors",
  "keptDisconnects",
  "directWrites",
  "directMs",
  "tailBytes",
  "tailMs",
  "downMs",
  "events",
  "epochs",
] as const;

function summaryOf(figures: readonly ScenarioFigures[]): string {
  const sum = (of: (run: ScenarioFigures) => number): number => figures.reduce((total, run) => total + of(run), 0);
  const outages = figures.map(({ outageMs }) => outageMs);
  return [
    `${figures[0]?.scenario}, ${figures.length} runs`,
    `outage median ${median(outages).toFixed(0)} ms, max ${Math.max(...outages).toFixed(0)} ms`,
    `lost ${sum(({ lost }) => lost)} of ${sum(({ acked }) => acked)}`,
    `dual writers ${sum(({ dualWriters }) => dualWriters)}`,
    `client errors ${sum(({ clientErrors }) => clientErrors)}`,
    ...SPECIAL_FIGURES.flatMap((key) => {
      const values = figures.flatMap(({ [key]: value }) => (value === undefined ? [] : [value]));
      return values.length === 0 ? [] : [`${key} max ${Math.max(...values)}`];
    }),
  ].join("; ");
}

await main();

/** A running demo to play with, and the commands that the console does not have: they strike hosts, not datasources. */
import type { Status } from "#shared/protocol/api.ts";
import { type CommandSpec, ORDINARY, usageOf } from "../cli/commands/command.ts";
import { failure, usageFailure } from "../cli/failure.ts";
import { writeJson } from "../cli/session.ts";
import type { DemoClients } from "./clients.ts";
import type { DemoCluster } from "./cluster.ts";
import { longestGapMs } from "./figures.ts";
import type { DemoHost } from "./host.ts";
import type { DemoReader } from "./reader.ts";
import { until } from "./until.ts";

const ACTIONS = ["kill", "crash", "freeze", "thaw", "start"] as const;
type Action = (typeof ACTIONS)[number];
const GOALS = ["primary", "online"] as const;

const NOTICED_MS = 10_000;
const LOOK_EVERY_MS = 20;

export class Playground {
  readonly cluster: DemoCluster;
  readonly clients: DemoClients;
  readonly reader: DemoReader;
  /** The epoch whose primary was struck last: a primary to wait for reigns in a later one. */
  #struckEpoch = 0;
  #struckAtMs = 0;

  constructor(parts: Pick<Playground, "cluster" | "clients" | "reader">) {
    this.cluster = parts.cluster;
    this.clients = parts.clients;
    this.reader = parts.reader;
  }

  /** The demo's own commands, in the console's manner. */
  get commands(): CommandSpec[] {
    return [this.#hostCommand(), this.#waitCommand(), this.#clientsCommand()];
  }

  #hostCommand(): CommandSpec {
    const spec: CommandSpec = {
      ...ORDINARY,
      name: "host",
      operands: `HOST {${ACTIONS.join("|")}}`,
      summary: "strike a host of the demo, or bring it back",
      details: [
        "kill: SIGKILL to every process of its database server.",
        "crash: the same to its agent, its guardian and its server, as if the host had lost power.",
        "freeze, thaw: everything on it stands still, as a paused virtual machine does, and goes on again.",
        "start: brings back what is down; the server comes up read-only.",
      ],
      next: (before) => (before.length === 0 ? [...this.cluster.hosts.keys()] : before.length === 1 ? ACTIONS : []),
      run: async ({ operands }, session) => {
        const [name, word, ...rest] = operands;
        const action = ACTIONS.find((each) => each === word);
        if (name === undefined || !action || rest.length > 0)
          throw usageFailure(`'${["host", ...operands].join(" ")}'`, usageOf(spec));
        if (!this.cluster.hosts.has(name)) {
          throw failure(
            "usage",
            `there is no host '${name}'`,
            `give one of ${[...this.cluster.hosts.keys()].join(", ")}`,
          );
        }
        const text = await this.#strike(name, action);
        if (session.json) writeJson(session, { host: name, action, done: text });
        else session.screen.write(`${text}\n`);
      },
    };
    return spec;
  }

  async #strike(name: string, action: Action): Promise<string> {
    const host = this.cluster.host(name);
    if (action === "thaw") return thaw(host);
    if (host.isFrozen) throw failure("usage", `${name} stands still`, `\`host ${name} thaw\` lets it go on`);
    if (action === "start") return startOrFail(host);
    if (action === "kill" && !host.plan.server) {
      throw failure("usage", `${name} carries no database server`, `\`host ${name} crash\` takes its agent down`);
    }
    const before = await this.cluster.status();
    if (before.primary === name) [this.#struckEpoch, this.#struckAtMs] = [before.epoch, performance.now()];
    if (action === "freeze") return `${await host.freeze()} processes of ${name} stand still`;
    return this.#end(host, action);
  }

  async #end(host: DemoHost, action: "kill" | "crash"): Promise<string> {
    const { name } = host;
    const wasUp = host.isAgentRunning;
    const killed = action === "kill" ? await host.kill() : await host.crash();
    if (host.isAgentRunning && killed > 0) await this.#untilNoticed(name);
    const victims = [
      ...(action === "crash" && wasUp ? [`the agent of ${name}`] : []),
      ...(killed > 0
        ? [`${killed} processes of ${action === "crash" && wasUp ? "its server" : `the server of ${name}`}`]
        : []),
    ];
    return victims.length > 0 ? `killed ${victims.join(" and ")}` : `${name} was down already`;
  }

  /** A living agent tells at once: after this, `ls` and `wait` see the world as it is. */
  async #untilNoticed(name: string): Promise<void> {
    await until(`the coordinator hears of ${name}`, { deadlineMs: NOTICED_MS, everyMs: LOOK_EVERY_MS }, async () => {
      const status = await this.cluster.status();
      const datasource = status.datasources.find(({ member }) => member === name);
      const isNews = datasource?.state !== "online" || datasource.dataserver.state !== "online";
      return isNews ? { found: true } : { missing: "it still shows the server ONLINE" };
    });
  }

  #waitCommand(): CommandSpec {
    const spec: CommandSpec = {
      ...ORDINARY,
      name: "wait",
      operands: `{${GOALS.join("|")}}`,
      summary: "wait until the dataservice has recovered, at most a minute",
      details: [
        "primary: until a primary lives that is not the one that was struck.",
        "online: until every member is ONLINE, but for crashed or frozen hosts and shunned datasources.",
      ],
      next: (before) => (before.length === 0 ? GOALS : []),
      run: async ({ operands }, session) => {
        const goal = GOALS.find((each) => each === operands[0]);
        if (!goal || operands.length > 1) throw usageFailure(`'${["wait", ...operands].join(" ")}'`, usageOf(spec));
        const status = await this.#wait(goal);
        const text =
          goal === "primary" ? `'${status.primary}' is primary in epoch ${status.epoch}` : "all that can be is ONLINE";
        if (session.json) writeJson(session, { wait: goal, primary: status.primary, epoch: status.epoch });
        else session.screen.write(`${text}\n`);
      },
    };
    return spec;
  }

  async #wait(goal: (typeof GOALS)[number]): Promise<Status> {
    try {
      const status = await this.cluster.untilPrimary({ afterEpoch: this.#struckEpoch });
      return goal === "primary" ? status : await this.cluster.untilOnline((now) => this.#excused(now));
    } catch (error) {
      throw failure("timed-out", (error as Error).message, "see `ls` and `events`");
    }
  }

  /** Whom nobody needs to wait for: hosts that are down, and datasources that only an operator brings back. */
  #excused(status: Status): string[] {
    const down = [...this.cluster.hosts.values()]
      .filter((host) => !host.isAgentRunning || host.isFrozen)
      .map(({ name }) => name);
    return [...down, ...status.datasources.filter(({ state }) => state === "shunned").map(({ member }) => member)];
  }

  #clientsCommand(): CommandSpec {
    return {
      ...ORDINARY,
      name: "clients",
      summary: "show what the writing and reading applications have met with",
      details: ["The longest pause is counted from the last strike at a primary, or from the start."],
      run: async (_call, session) => {
        const rows = this.#clientRows();
        const readers = this.#readerRow();
        if (session.json) return writeJson(session, [...rows, readers]);
        for (const { client, acked, errors, longestPauseMs } of rows) {
          session.screen.write(
            `${client}: ${acked} writes acknowledged, ${errors} errors, longest pause ${longestPauseMs} ms\n`,
          );
        }
        const reads = Object.entries(readers.reads).map(([member, count]) => `${count} from ${member}`);
        session.screen.write(`${readers.client}: reads ${reads.join(", ") || "none"}, ${readers.errors} errors\n`);
      },
    };
  }

  #readerRow() {
    const { reads, errors } = this.reader;
    const counts = this.cluster.servers
      .map(({ member, port }) => [member, reads.get(port) ?? 0] as const)
      .filter(([, count]) => count > 0);
    return { client: "one that reads", reads: Object.fromEntries(counts), errors };
  }

  #clientRows() {
    const { perWrite, kept } = this.clients;
    const journals = [
      { client: "a connection per write", journal: perWrite },
      { client: "one kept connection", journal: kept },
    ];
    return journals.map(({ client, journal }) => {
      // The pause that a strike makes begins with the last acknowledgement before it.
      const pauseMs = longestGapMs(journal.acks, { sinceMs: this.#struckAtMs - 1_000, untilMs: performance.now() });
      return { client, acked: journal.acks.length, errors: journal.errors.length, longestPauseMs: Math.round(pauseMs) };
    });
  }
}

function thaw(host: DemoHost): string {
  if (!host.isFrozen) return `${host.name} does not stand still`;
  host.thaw();
  return `${host.name} goes on`;
}

async function startOrFail(host: DemoHost): Promise<string> {
  try {
    return await host.start();
  } catch (error) {
    throw failure("timed-out", (error as Error).message, "`ls` shows what is up");
  }
}

/** The text of `help` for the demo's own commands. */
export function renderDemoHelp(commands: readonly CommandSpec[]): string {
  const lines = commands.map((spec) => `  ${usageOf(spec).padEnd(32)} ${spec.summary}`);
  return ["", "The demo adds:", ...lines, ""].join("\n");
}

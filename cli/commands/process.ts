/** The long-running parts, loaded only when asked for: the console must start fast and work without them. */
import { failure, usageFailure } from "../failure.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { expectNoOperands, optionText, parseCount } from "./operands.ts";

const AGENT_MODULE = "../../agent/main.ts";
const COORDINATOR_MODULE = "../coordinator/run.ts";
const DEFAULT_PORT = 8787;

type AgentMain = (argv: { config: string; check: boolean; json: boolean }) => Promise<number>;
type CoordinatorMain = (argv: { data: string; port: number; host: string }) => Promise<number>;

/** The agent of this host. */
export const AGENT: CommandSpec = {
  ...ORDINARY,
  name: "agent",
  summary: "run this host's agent",
  example: "rex agent --config /etc/interrex/agent.toml --check",
  options: [
    { flags: "--config <file>", summary: "the agent's configuration", isRequired: true },
    { flags: "--check", summary: "look whether the host is fit for it, change nothing" },
  ],
  place: "command-line",
  run: async (call, session) => {
    expectNoOperands(call, AGENT);
    const config = required(call, "config", AGENT);
    const agentMain = await load<AgentMain>(AGENT_MODULE, "agentMain");
    return agentMain({ config, check: call.options["check"] === true, json: session.json });
  },
};

/** A coordinator on this host. */
export const COORDINATOR: CommandSpec = {
  ...ORDINARY,
  name: "coordinator",
  summary: "run a coordinator on this host",
  example: "rex coordinator --data /var/lib/interrex-coordinator --port 8790",
  options: [
    { flags: "--data <dir>", summary: "where it keeps its state", isRequired: true },
    { flags: "--port <port>", summary: `where it listens (default ${DEFAULT_PORT}; 0: any free one)` },
    { flags: "--host <address>", summary: "on which address (default 127.0.0.1)" },
  ],
  place: "command-line",
  run: async (call) => {
    expectNoOperands(call, COORDINATOR);
    const data = required(call, "data", COORDINATOR);
    const port = parseCount(optionText(call, "port") ?? String(DEFAULT_PORT), "--port");
    if (port > 65_535) throw failure("usage", `--port is '${port}'`, "give 0 to 65535");
    const coordinatorMain = await load<CoordinatorMain>(COORDINATOR_MODULE, "coordinatorMain");
    return coordinatorMain({ data, port, host: optionText(call, "host") ?? "127.0.0.1" });
  },
};

function required(call: Call, option: string, spec: CommandSpec): string {
  const text = optionText(call, option);
  if (text === undefined) throw usageFailure(`--${option} is missing`, usageOf(spec));
  return text;
}

async function load<Main>(module: string, name: string): Promise<Main> {
  try {
    const loaded = (await import(new URL(module, import.meta.url).href)) as Record<string, unknown>;
    return loaded[name] as Main;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw failure(
      "not-installed",
      `this installation cannot run it: ${(error as Error).message}`,
      "install the whole of Interrex",
    );
  }
}

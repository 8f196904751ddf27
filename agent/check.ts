/** `rex agent --check`: looks at everything the agent will need, changes nothing. */
import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import { pino } from "pino";
import type { AgentConfig } from "./config.ts";
import type { EngineCheck } from "./engine/engine.ts";
import { checkDoor } from "./door/find.ts";
import { makeEngine } from "./engine/make.ts";
import { StateFile } from "./state-file.ts";

const COORDINATOR_PATIENCE_MS = 3_000;

/** Prints one line a check (or one JSON document); exit status 0 when all are well. */
export async function checkAgent(config: AgentConfig, output: { json: boolean }): Promise<number> {
  const engine = config.server ? makeEngine(config.server, config.host, pino({ level: "silent" })) : null;
  const checks = [checkState(config), await checkCoordinator(config), ...(engine ? await engine.check() : [])];
  if (config.server) checks.push(await checkDoor(config, config.server));
  await engine?.close();
  if (output.json) process.stdout.write(`${JSON.stringify({ ok: checks.every(({ ok }) => ok), checks })}\n`);
  else for (const { name, ok, detail } of checks) process.stdout.write(`${ok ? "ok  " : "FAIL"}  ${name}: ${detail}\n`);
  return checks.every(({ ok }) => ok) ? 0 : 1;
}

function checkState(config: AgentConfig): EngineCheck {
  const directory = config.state_directory;
  const name = "state directory";
  try {
    const existing = existsSync(directory) ? directory : dirname(directory);
    accessSync(existing, constants.W_OK | constants.R_OK);
    const kept = existsSync(directory) ? new StateFile(directory).read() : null;
    if (kept && (kept.host !== config.host || kept.dataservice !== config.dataservice)) {
      return {
        name,
        ok: false,
        detail: `${directory} belongs to '${kept.host}@${kept.dataservice}': give this agent its own`,
      };
    }
    return {
      name,
      ok: true,
      detail: kept ? `${directory}, started ${kept.startCount} times` : `${directory}, not used yet`,
    };
  } catch (error) {
    return { name, ok: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

async function checkCoordinator(config: AgentConfig): Promise<EngineCheck> {
  const name = "coordinator";
  const url = new URL("/healthz", config.coordinator);
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(COORDINATOR_PATIENCE_MS) });
    await response.body?.cancel();
    return { name, ok: response.ok, detail: `${url.href} answers ${response.status}` };
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error;
    return { name, ok: false, detail: `${url.href}: ${String(cause)}: check the address and that it is running` };
  }
}

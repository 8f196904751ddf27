/** An agent as a process: who tells it to end need not wait for anybody else. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Endpoint } from "#shared/domain/messages.ts";

const REX = new URL("../../cli/rex.mjs", import.meta.url).pathname;

let directory: string;
let agent: ChildProcess | null = null;
const sockets: Socket[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-end-"));
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  agent?.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Starts an agent that carries a connector only, and nobody is its coordinator; settles with what it says of itself. */
async function startAgent(): Promise<{ peer: Endpoint }> {
  const config = join(directory, "agent.toml");
  writeFileSync(
    config,
    `dataservice = "alpha"
host = "app1"
coordinator = "http://127.0.0.1:9"
token = "rex_agent_alpha_0_x"
state_directory = "state"
[connector]
port = 0
`,
  );
  agent = spawn(process.execPath, [REX, "agent", "--config", config], { stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: agent.stderr! })) {
    const said = JSON.parse(line) as { msg: string; peer: Endpoint };
    if (said.msg === "agent started") return said;
  }
  throw new Error("the agent has ended");
}

test("an agent that is told to end ends, whoever holds on to a connection that was refused", async () => {
  const { peer } = await startAgent();
  const stranger = connect({ ...peer, allowHalfOpen: true });
  sockets.push(stranger);
  stranger.on("error", () => stranger.destroy());
  stranger.write("CONNECT coordinator:0 HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(stranger, "data");
  const ended = once(agent!, "exit");
  agent?.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
});

/**
 * Ports for the demo's servers. Not from the range that the kernel hands out to outgoing connections: a client that
 * keeps dialling a dead server's port there ends up, sooner or later, connected to itself, and a server that starts again
 * may find its port taken by somebody's connection.
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

const LOWEST = 10_000;
const TRIES = 200;

/** Ports on 127.0.0.1 that were free a moment ago, all different. */
export async function fixedPorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries += 1) {
    if (tries === TRIES)
      throw new Error(`no ${count} free ports between ${LOWEST} and ${firstOutgoingPort()} on 127.0.0.1`);
    const port = randomInt(LOWEST, firstOutgoingPort());
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

function firstOutgoingPort(): number {
  const first = Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "ascii").trim().split(/\s+/)[0]);
  return first > LOWEST + TRIES ? first : 32_768;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** What an agent's configuration may say about the doors of its connector. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readConfig } from "../../agent/config.ts";

const GOOD = `
dataservice = "alpha"
host = "app1"
coordinator = "http://127.0.0.1:8790"
token = "secret"
state_directory = "state"

[connector]
port = 6432
`;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-connector-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function connectorOf(more: string) {
  const path = join(directory, "agent.toml");
  writeFileSync(path, GOOD + more);
  return readConfig(path).connector;
}

test("there is a door for readers only where its port is given; 0 leaves the port to the system", () => {
  expect(connectorOf("")?.read_only_port).toBe(undefined);
  expect(connectorOf("read_only_port = 6433")?.read_only_port).toBe(6_433);
  expect(connectorOf("read_only_port = 0")?.read_only_port).toBe(0);
});

test("one port cannot be both doors", () => {
  expect(() => connectorOf("read_only_port = 6432")).toThrow(
    /connector\.read_only_port = 6432: is the port of the writers already: choose another/,
  );
});

test("a typo in a key is answered with the nearest one", () => {
  expect(() => connectorOf("read_only_prot = 6433")).toThrow(
    /connector\.read_only_prot is no key .* did you mean read_only_port\?/,
  );
});

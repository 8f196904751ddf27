import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, readConfig } from "../../agent/config.ts";

const GOOD = `
dataservice = "alpha"
host = "db1"
coordinator = "http://127.0.0.1:8790"
token = "secret"
state_directory = "state"

[server]
data_directory = "data"
bin_directory = "/usr/lib/postgresql/15/bin"
socket_directory = "run"
port = 5432
log_file = "server.log"
`;

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-config-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function written(text: string): string {
  const path = join(directory, "agent.toml");
  writeFileSync(path, text);
  return path;
}

function complaintsAbout(text: string): string[] {
  try {
    readConfig(written(text));
  } catch (error) {
    if (error instanceof ConfigError) return error.lines;
    throw error;
  }
  return [];
}

test("a good file is read, and its relative paths are relative to it", () => {
  const config = readConfig(written(GOOD));
  expect(config.state_directory).toBe(join(directory, "state"));
  expect(config.server?.data_directory).toBe(join(directory, "data"));
  expect(config.server?.probe_timeout_ms).toBe(500);
  expect(config.fence_ms).toBe(1_500);
});

test("a diverged server is left alone unless the file says otherwise, and its log is kept with the agent's state", () => {
  const { server } = readConfig(written(GOOD));
  expect(server).toMatchObject({ rebuild: "refuse", keep_directory: join(directory, "state", "diverged") });
  const cloning = readConfig(written(`${GOOD}rebuild = "clone"\nclone_command = "fetch"\nkeep_directory = "kept"\n`));
  expect(cloning.server).toMatchObject({
    rebuild: "clone",
    clone_command: "fetch",
    keep_directory: join(directory, "kept"),
  });
});

describe("every complaint names the key, its value and the remedy", () => {
  const cases: [string, string, RegExp][] = [
    [
      "a typo in a key",
      GOOD.replace("state_directory", "state_direktory"),
      /state_direktory is no key .* did you mean state_directory\?/,
    ],
    [
      "a typo in a section",
      GOOD.replace("log_file", "logfile"),
      /server\.logfile is no key .* did you mean log_file\?/,
    ],
    [
      "an unknown word",
      `${GOOD}\ncolour = "red"\n`.replace("[server]", "zzzzzzzz = 1\n[server]"),
      /zzzzzzzz is no key .* known are dataservice/,
    ],
    ["a missing key", GOOD.replace(/^host.*$/m, ""), /host is missing: add it/],
    ["a bad name", GOOD.replace('"db1"', '"DB 1"'), /host = "DB 1": must be a lower-case letter/],
    ["a bad port", GOOD.replace("5432", "99999"), /server\.port = 99999: must be a port, 1 to 65535/],
    [
      "a bad address",
      GOOD.replace("http://127.0.0.1:8790", "ftp://x"),
      /coordinator = "ftp:\/\/x": must be an http or https address/,
    ],
    ["no token", GOOD.replace(/^token.*$/m, ""), /give one of token and token_file/],
    ["two tokens", GOOD.replace(/^token.*$/m, 'token = "a"\ntoken_file = "b"'), /give one of token and token_file/],
    [
      "an unreadable token file",
      GOOD.replace(/^token.*$/m, 'token_file = "nowhere"'),
      /token_file = "nowhere" cannot be read \(ENOENT\)/,
    ],
    ["neither server nor connector", GOOD.slice(0, GOOD.indexOf("[server]")), /neither \[server\] nor \[connector\]/],
    ["a clone without a command", `${GOOD}rebuild = "clone"`, /rebuild = "clone" needs server\.clone_command: add it/],
    [
      "an unknown way to rebuild",
      `${GOOD}rebuild = "guess"`,
      /server\.rebuild = "guess": .*"refuse"\|"rewind"\|"clone"/,
    ],
    [
      "a log kept in what a rebuild replaces",
      `${GOOD}keep_directory = "data/kept"`,
      /server\.keep_directory = ".*data\/kept" is in the data directory.*: choose one outside/,
    ],
    ["no TOML", "dataservice = = 1", /agent\.toml:1: /],
  ];
  test.each(cases)("%s", (_, text, expected) => {
    const lines = complaintsAbout(text);
    expect(lines.join("\n")).toMatch(expected);
  });

  test("a token file that others can read is refused", () => {
    writeFileSync(join(directory, "token"), "secret", { mode: 0o644 });
    expect(complaintsAbout(GOOD.replace(/^token.*$/m, 'token_file = "token"')).join()).toMatch(
      /readable by others: chmod 600/,
    );
  });

  test("a token is never shown", () => {
    expect(complaintsAbout(GOOD.replace('token = "secret"', "token = 123456")).join()).not.toContain("123456");
  });

  test("a file that is not there", () => {
    expect(() => readConfig(join(directory, "absent.toml"))).toThrow(/absent\.toml: cannot be read \(ENOENT\)/);
  });
});

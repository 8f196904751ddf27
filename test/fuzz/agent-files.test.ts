/** The agent's files with bytes in them that nobody wrote: refused by name, never guessed at. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshDurable, type MemberDurable } from "#shared/core/member/state.ts";
import { ConfigError, readConfig } from "../../agent/config.ts";
import { StateFile, StateFileError } from "../../agent/state-file.ts";
import { mutated, mutatedText, runsOf } from "./mutate.ts";

const RUNS = runsOf(300, process.env["FUZZ_RUNS"]);

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-fuzz-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const KEPT: MemberDurable = {
  ...freshDurable({ dataservice: "alpha", host: "db1" }, "incarnation-1"),
  startCount: 4,
  systemId: "7300000000000000001",
  founded: true,
  epochSeen: 5,
  opSeen: 9,
  attempted: 5,
  ownEpoch: 5,
  released: 3,
  version: 20,
  mac: "mac",
  policyVersion: 2,
  electorate: { version: 1, members: ["db1", "db2"] },
  upstream: { member: "db2", host: "db2.example", port: 5432 },
  lease: { epoch: 5, ttlMs: 5_000, base: { monoMs: 1, bootMs: 2, wallMs: 3 }, bootId: "boot" },
};

/** What was kept, as its two files. */
function filesOf(durable: MemberDurable): { state: string; lease: string } {
  new StateFile(directory).write(durable, true);
  return { state: readFileSync(path("state.json"), "utf8"), lease: readFileSync(path("lease.json"), "utf8") };
}

const path = (name: string) => join(directory, name);

/** The state as read; null when it was refused by the name of its file. */
function readOrRefused(): MemberDurable | null {
  try {
    return new StateFile(directory).read();
  } catch (error) {
    expect(error).toBeInstanceOf(StateFileError);
    expect((error as Error).message).toContain(path("state.json"));
    return null;
  }
}

/** What binds a member is whole: nothing that is no count has become one. */
function expectSound(durable: MemberDurable): void {
  const { startCount, epochSeen, opSeen, attempted, ownEpoch, released, version } = durable;
  for (const count of [startCount, epochSeen, opSeen, attempted, ownEpoch, released, version]) {
    expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
  }
}

test("state.json with other bytes is refused by name, or says what it says", () => {
  const { state } = filesOf(KEPT);
  fc.assert(
    fc.property(mutatedText(state), (text) => {
      writeFileSync(path("state.json"), text);
      const read = readOrRefused();
      if (read) expectSound(read);
    }),
    RUNS,
  );
});

test("state.json with other values is refused by name, or says what it says", () => {
  const { state } = filesOf(KEPT);
  fc.assert(
    fc.property(mutated(JSON.parse(state)), (content) => {
      writeFileSync(path("state.json"), JSON.stringify(content));
      const read = readOrRefused();
      if (read) expectSound(read);
    }),
    RUNS,
  );
});

test("state.json that tells of an epoch it has not seen, or of nobody, is refused", () => {
  const { state } = filesOf(KEPT);
  for (const wrong of [{ attempted: 6 }, { released: 6 }, { ownEpoch: 6 }, { dataservice: "" }, { host: "" }]) {
    writeFileSync(path("state.json"), JSON.stringify({ ...(JSON.parse(state) as object), ...wrong }));
    expect([wrong, readOrRefused()]).toEqual([wrong, null]);
  }
});

test("lease.json with other bytes leaves what is bound as it was, and at most no lease", () => {
  const { lease } = filesOf(KEPT);
  fc.assert(
    fc.property(fc.oneof(mutatedText(lease), mutated(JSON.parse(lease)).map(String)), (text) => {
      writeFileSync(path("lease.json"), text);
      const read = readOrRefused();
      expect(read).not.toBeNull();
      const { lease: _, version, mac: __, ...bound } = read!;
      const { lease: ___, version: keptVersion, mac: ____, ...kept } = KEPT;
      expect(bound).toEqual(kept);
      expect(version).toBeGreaterThanOrEqual(keptVersion);
    }),
    RUNS,
  );
});

const CONFIG = `dataservice = "alpha"
host = "db1"
coordinator = "https://coordinator.example"
token = "rex_agent_alpha_000000000000_secret"
state_directory = "/var/lib/interrex"
fence_ms = 1500

[server]
data_directory = "/var/lib/postgresql/18/main"
bin_directory = "/usr/lib/postgresql/18/bin"
socket_directory = "/run/interrex"
port = 5432
log_file = "/var/log/postgresql/alpha.log"

[connector]
port = 6432
read_only_port = 6433

[peer]
port = 7432
`;

test("a configuration with other bytes is taken or refused by name and line, and its token is never shown", () => {
  const file = path("agent.toml");
  fc.assert(
    fc.property(mutatedText(CONFIG), (text) => {
      writeFileSync(file, text);
      try {
        const { dataservice, host, token } = readConfig(file);
        expect([dataservice, host].every((name) => /^[a-z0-9-]+$/.test(name)) && token.length > 0).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
        const { lines } = error as ConfigError;
        expect(lines.length).toBeGreaterThan(0);
        for (const line of lines) expect(line.startsWith(file)).toBe(true);
      }
    }),
    RUNS,
  );
});

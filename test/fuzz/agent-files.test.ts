/** The agent's files with bytes in them that nobody wrote: refused by name, never guessed at. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freshDurable, type MemberDurable } from "#shared/core/member/state.ts";
import { ConfigError, readConfig } from "../../agent/config.ts";
import { AddressBook } from "../../agent/peer/address-book.ts";
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

/** The state as read, or the words in which it was refused. */
function readOrRefused(): MemberDurable | string {
  try {
    return new StateFile(directory).read() ?? "nothing was kept";
  } catch (error) {
    return error instanceof StateFileError ? error.message : `not refused but broken: ${String(error)}`;
  }
}

/** Whether a state.json was refused by its name, or what binds the member is whole: nothing has become what is no count. */
function isRefusedOrSound(read: MemberDurable | string): boolean {
  if (typeof read === "string") return read.startsWith(`state file ${path("state.json")} is damaged`);
  const { startCount, epochSeen, opSeen, attempted, ownEpoch, released, version } = read;
  const counts = [startCount, epochSeen, opSeen, attempted, ownEpoch, released, version];
  return counts.every((count) => Number.isSafeInteger(count) && count >= 0);
}

test("state.json with other bytes is refused by name, or says what it says", () => {
  const { state } = filesOf(KEPT);
  fc.assert(
    fc.property(mutatedText(state), (text) => {
      writeFileSync(path("state.json"), text);
      expect(readOrRefused()).toSatisfy(isRefusedOrSound);
    }),
    RUNS,
  );
});

test("state.json with other values is refused by name, or says what it says", () => {
  const { state } = filesOf(KEPT);
  fc.assert(
    fc.property(mutated(JSON.parse(state)), (content) => {
      writeFileSync(path("state.json"), JSON.stringify(content));
      expect(readOrRefused()).toSatisfy(isRefusedOrSound);
    }),
    RUNS,
  );
});

test("state.json that tells of an epoch it has not seen, or of nobody, is refused", () => {
  const { state } = filesOf(KEPT);
  for (const wrong of [{ attempted: 6 }, { released: 6 }, { ownEpoch: 6 }, { dataservice: "" }, { host: "" }]) {
    writeFileSync(path("state.json"), JSON.stringify({ ...(JSON.parse(state) as object), ...wrong }));
    expect([wrong, readOrRefused()]).toEqual([wrong, expect.stringContaining("is damaged or of another format")]);
  }
});

test("lease.json with other bytes leaves what is bound as it was, and at most no lease", () => {
  const { lease } = filesOf(KEPT);
  fc.assert(
    fc.property(fc.oneof(mutatedText(lease), mutated(JSON.parse(lease)).map(String)), (text) => {
      writeFileSync(path("lease.json"), text);
      const { lease: _, version: keptVersion, mac: __, ...kept } = KEPT;
      expect(readOrRefused()).toMatchObject(kept);
      expect(readOrRefused()).toHaveProperty(
        "version",
        expect.toSatisfy((version) => version >= keptVersion),
      );
    }),
    RUNS,
  );
});

test("peers.json with other bytes is passed over with a word, or says what it says, and is written anew", () => {
  const known = { key: "key", port: 7_432, peers: [{ host: "db2", endpoint: { host: "db2.example", port: 7_432 } }] };
  new AddressBook(directory, () => {}).keep({ ...known, writers: "db1" });
  const text = readFileSync(path("peers.json"), "utf8");
  fc.assert(
    fc.property(
      fc.oneof(
        mutatedText(text),
        mutated(JSON.parse(text)).map((value) => JSON.stringify(value)),
      ),
      (other) => {
        writeFileSync(path("peers.json"), other);
        const complaints: string[] = [];
        const book = new AddressBook(directory, (complaint) => complaints.push(complaint));
        const read = book.read();
        expect(complaints).toHaveLength(read === null ? 1 : 0);
        expect(read?.key).not.toBe("");
        expect(read?.peers.every(({ endpoint: { port } }) => port >= 1 && port <= 65_535) ?? true).toBe(true);
        book.keep({ ...known, writers: "db9" });
        expect(new AddressBook(directory, () => {}).read()?.writers).toBe("db9");
      },
    ),
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
      expect(configOrComplaints(file)).toSatisfy((lines) =>
        (lines as string[]).every((line) => line.startsWith(file) && !line.includes("_secret")),
      );
    }),
    RUNS,
  );
});

/** The complaints; none when the file was taken. */
function configOrComplaints(file: string): string[] {
  try {
    const { dataservice, host } = readConfig(file);
    return [dataservice, host].filter((name) => !/^[a-z0-9-]+$/.test(name));
  } catch (error) {
    return error instanceof ConfigError && error.lines.length > 0 ? error.lines : [`broken: ${String(error)}`];
  }
}

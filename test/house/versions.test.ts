/** Which PostgreSQL the demo and the live tests run on, and that a run on other versions leaves nothing out of its report. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { majorOfCluster, mustBeKnown } from "../../agent/engine/postgres/version.ts";
import { BIN_VARIABLE, namedBinaries, packagedDirectory, PACKAGED_MAJOR } from "../../demo/binaries.ts";
import {
  outcomeOfFile,
  outcomeOfNoServer,
  outcomeOfScenario,
  outcomeOfServer,
  renderOutcomes,
} from "../versions/outcome.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-binaries-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function named(value: string | undefined) {
  return namedBinaries(value === undefined ? {} : { [BIN_VARIABLE]: value });
}

/** A directory with programs that tell this version. */
function binaries(version: string, programs = ["initdb", "postgres"]): string {
  const bin = join(directory, "bin");
  mkdirSync(bin);
  for (const program of programs) {
    writeFileSync(join(bin, program), `#!/bin/sh\necho "${program} (PostgreSQL) ${version}"\n`);
    chmodSync(join(bin, program), 0o755);
  }
  return bin;
}

describe("the PostgreSQL that the environment names", () => {
  test("is npm's where it names none", () => {
    expect([named(undefined), named("")]).toEqual([null, null]);
    const binDirectory = join(packagedDirectory(), "bin");
    expect(named(binDirectory)).toMatchObject({ binDirectory, major: PACKAGED_MAJOR });
  });

  test("is any that the engine knows", () => {
    const binDirectory = binaries("13.23 (Debian 13.23-1)");
    expect(named(binDirectory)).toEqual({ binDirectory, version: "13.23", major: 13 });
  });

  test.each([
    ["a relative path", () => "bin", "absolute"],
    ["a directory that is not there", () => join(directory, "nowhere"), "no initdb, no postgres"],
    ["one without initdb", () => binaries("17.1", ["postgres"]), "no initdb there"],
    ["a version too old", () => binaries("12.22"), "use one of 13 to 18"],
    ["a version too new", () => binaries("19beta1"), "use one of 13 to 18"],
    ["programs that say no version", () => binaries(""), "tells no version"],
  ])("is refused with a remedy: %s", (_, path, remedy) => {
    const value = path();
    expect(() => named(value)).toThrow(`${BIN_VARIABLE} = "${value}": `);
    expect(() => named(value)).toThrow(remedy);
  });
});

describe("a data directory", () => {
  test.each(["12", "19"])("of version %s is not touched", (version) => {
    writeFileSync(join(directory, "PG_VERSION"), `${version}\n`);
    const code = "unsupported-version";
    expect(() => mustBeKnown(directory)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test.each(["13", "18"])("of version %s is", (version) => {
    writeFileSync(join(directory, "PG_VERSION"), `${version}\n`);
    expect(majorOfCluster(directory)).toBe(Number(version));
    expect(() => mustBeKnown(directory)).not.toThrow();
  });

  test("that does not say its version is left to the server to judge", () => {
    expect(majorOfCluster(directory)).toBeNull();
    expect(() => mustBeKnown(directory)).not.toThrow();
  });
});

describe("a run on other versions", () => {
  const passed = { status: "passed", fullName: "log has an end" };

  test("names what failed and what did not run", () => {
    const file = outcomeOfFile(13, "test/live/tail.test.ts", {
      testResults: [
        {
          status: "failed",
          assertionResults: [
            passed,
            { status: "failed", fullName: "log is taken", failureMessages: ["it was not"] },
            { status: "skipped", fullName: "with pg_rewind (skipped where there is none) rewinds" },
          ],
        },
      ],
    });
    expect(file).toEqual({
      major: 13,
      what: "tail",
      told: "1 passed, 1 FAILED, 1 not run",
      failed: ["log is taken\nit was not"],
      notRun: ["with pg_rewind (skipped where there is none) rewinds"],
    });
    const other = outcomeOfFile(14, "test/live/tail.test.ts", {
      testResults: [{ status: "passed", assertionResults: [passed] }],
    });
    expect(renderOutcomes([file, other])).toBe(
      [
        "      PostgreSQL 13                  PostgreSQL 14",
        "tail  1 passed, 1 FAILED, 1 not run  1 passed",
        "",
        "Failed:",
        "  13 tail: log is taken",
        "it was not",
        "",
        "Did not run:",
        "  13 tail: with pg_rewind (skipped where there is none) rewinds",
        "",
      ].join("\n"),
    );
  });

  test("counts a file that broke outside its tests, or had none, or told nothing", () => {
    const broken = { testResults: [{ status: "failed", message: "no server", assertionResults: [passed] }] };
    expect(outcomeOfFile(13, "a.test.ts", broken).failed).toEqual(["the file itself: no server"]);
    expect(outcomeOfFile(13, "a.test.ts", { testResults: [] }).failed).toEqual(["no test was run"]);
    expect(outcomeOfFile(13, "a.test.ts", null).failed).toEqual(["no test was run"]);
  });

  test("says of a version that cannot be had that nothing of it was tried", () => {
    const none = outcomeOfNoServer(14, { error: new Error("no network"), names: ["tail"] });
    const had = outcomeOfServer(13, "13.23");
    const other = outcomeOfFile(13, "tail.test.ts", {
      testResults: [{ status: "passed", assertionResults: [passed] }],
    });
    expect(none.failed).toEqual(["no network"]);
    const lines = renderOutcomes([had, other, none]).split("\n");
    expect(lines[1]).toMatch(/^the server +13.23 +NOT HAD$/);
    expect(lines[2]).toMatch(/^tail +1 passed +NOT TRIED$/);
    expect(lines).toContain("  14 the server: tail");
  });

  test("judges a scenario by its figures", () => {
    const run = { major: 13, scenario: "kill-primary", status: 0, stderr: "" };
    const figures = { lost: 0, acked: 500, outageMs: 213, dualWriters: 0 };
    const told = (changes: object) =>
      outcomeOfScenario({ ...run, stdout: `${JSON.stringify({ ...figures, ...changes })}\n` });
    expect(told({})).toMatchObject({ told: "lost 0 of 500, outage 0.21 s", failed: [] });
    expect(told({ lost: 2 }).failed).toEqual(["lost 2 acknowledged rows"]);
    expect(told({ dualWriters: 1 }).failed).toEqual(["1 times two writers"]);
    expect(outcomeOfScenario({ ...run, status: 1, stdout: "", stderr: "it did not start" })).toMatchObject({
      told: "FAILED",
      failed: ["it did not start"],
    });
  });
});

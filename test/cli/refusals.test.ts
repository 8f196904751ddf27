import { describe, expect, it } from "vitest";
import { runWords, type Console } from "../../cli/run.ts";
import { operationRemedy } from "../../cli/failure.ts";
import { freshState } from "../../cli/session.ts";
import type { AbortCode, RecoverFailure, SwitchFailure } from "#shared/core/cluster/reason.ts";

/** A console whose coordinator is never to be asked: nothing listens on the discard port. */
function scriptedConsole(said: { out: string; err: string }): Console {
  return {
    screen: {
      write: (text) => void (said.out += text),
      note: (text) => void (said.err += text),
      isTerminal: false,
      isNoteTerminal: false,
      hasColour: false,
      ask: null,
    },
    state: freshState(),
    environment: { REX_URL: "http://127.0.0.1:9", REX_SERVICE: "alpha" },
    flags: { json: true },
  };
}

describe("what is typed wrongly", () => {
  it.each<[string[], string, RegExp]>([
    [["swich"], "unknown-command", /did you mean 'switch'/],
    [["failovr"], "unknown-command", /did you mean 'failover'/],
    [["physical"], "not-carried", /service manager/],
    [["drain"], "not-carried", /datasource MEMBER shun/],
    [["datasource", "db2", "drain", "30"], "not-carried", /datasource MEMBER shun/],
    [["datasource", "db2", "frobnicate"], "usage", /usage: datasource MEMBER \{fail\|shun\|/],
    [["datasource", "db2"], "usage", /usage: datasource MEMBER \{/],
    [["datasource", "db2", "shun", "now"], "usage", /usage: datasource/],
    [["datasource", "db2", "online", "--force"], "usage", /leave --force out/],
    [["switch", "db2"], "usage", /usage: switch \[to MEMBER\]/],
    [["switch", "to", "../db2"], "usage", /lower-case/],
    [["recover", "db2"], "usage", /usage: recover/],
    [["set", "policy", "automagic"], "usage", /automatic\|manual\|maintenance/],
    [["set", "colour"], "usage", /usage: set/],
    [["set", "force", "true"], "usage", /add --force/],
    [["failover", "db2"], "usage", /usage: failover \[to MEMBER\]/],
    [["ls", "db2"], "usage", /usage: ls/],
    [["ls", "--frobnicate"], "usage", /help/],
    [["events", "--after", "x"], "usage", /whole number/],
    [["watch", "--interval", "0"], "usage", /seconds/],
    [["create", "beta", "--members", "db1,db2", "--primary", "db3"], "usage", /db1, db2/],
    [["create", "beta", "--members", "db1,db2", "--primary", "db1", "--sync", "2"], "usage", /1 to 1/],
    [
      ["create", "beta", "--members", "db1,db2", "--primary", "db1", "--sync", "1", "--loss", "x"],
      "usage",
      /block or degrade/,
    ],
    [["create", "beta", "--members", "db1,db2", "--primary", "db1", "--loss", "block"], "usage", /--sync K/],
    [["create", "Beta", "--members", "db1", "--primary", "db1"], "usage", /lower-case/],
    [["ls", "--service", "../admin"], "usage", /lower-case/],
    [["ls", "--url", "ftp://x"], "invalid-configuration", /https:/],
    [["expert"], "unknown-command", /--yes/],
    [["token"], "usage", /usage: token \{create/],
    [["token", "create", "admin"], "usage", /operator, viewer, agent/],
    [["token", "create", "agent"], "usage", /name the host/],
    [["token", "create", "agent", "--host", "db1", "--label", "x"], "usage", /leave it out/],
    [["token", "create", "viewer", "--host", "db1"], "usage", /leave it out/],
    [["token", "revoke", "../policy"], "usage", /its id/],
    [["webhook", "create", "example.com"], "usage", /https:/],
    [["webhook", "create", "https://example.com", "--events", "a,,b"], "usage", /primary-opened/],
    [["webhook", "frobnicate", "w1"], "usage", /usage: webhook/],
  ])("refuses %j", async (args, code, remedy) => {
    const said = { out: "", err: "" };
    const status = await runWords(scriptedConsole(said), args, {
      input: "command-line",
      signal: AbortSignal.timeout(5_000),
    });
    expect([status, said.out]).toEqual([1, ""]);
    expect((JSON.parse(said.err) as { error: object }).error).toMatchObject({
      code,
      remedy: expect.stringMatching(remedy) as string,
    });
  });
});

describe("an operation that failed", () => {
  /** Every code there is, complete by type. */
  const CODES: Record<AbortCode | SwitchFailure | RecoverFailure, true> = {
    "no-candidate": true,
    "promotion-failed": true,
    "candidates-diverged": true,
    "loss-exceeds-limit": true,
    "failover-budget-spent": true,
    "target-not-eligible": true,
    "target-behind": true,
    "upstream-writable": true,
    "read-quorum-missing": true,
    "identity-forked": true,
    "not-automatic": true,
    "coordinator-restored": true,
    "operators-word": true,
    "catch-up-timed-out": true,
    "target-lost": true,
    "primary-lost": true,
    "prepare-failed": true,
    "hold-timed-out": true,
    "drain-failed": true,
    "flush-timed-out": true,
    "switch-timed-out": true,
    "stop-not-clean": true,
    "target-incomplete": true,
    "no-active-primary": true,
    "manager-stopped": true,
    "server-does-not-start": true,
    "rebuild-refused": true,
    "rebuild-failed": true,
    "does-not-stream": true,
    "some-not-recovered": true,
    "not-in-time": true,
  };
  const unknown = operationRemedy("a-newer-word", 7);

  it.each(Object.keys(CODES))("with %s has a remedy of its own", (code) => {
    expect(operationRemedy(code, 7)).not.toBe(unknown);
  });

  it("with a word that is newer than the console says where to look", () => {
    expect(unknown).toContain("`rex operations 7`");
    expect(operationRemedy("toString", 7)).toBe(unknown);
  });
});

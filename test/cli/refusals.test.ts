import { describe, expect, it } from "vitest";
import { runWords, type Console } from "../../cli/run.ts";

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
    state: { isExpert: false, isOver: false, members: [] },
    environment: { REX_URL: "http://127.0.0.1:9", REX_SERVICE: "alpha" },
    flags: { json: true },
  };
}

describe("what is typed wrongly", () => {
  it.each<[string[], string, RegExp]>([
    [["swich"], "unknown-command", /did you mean 'switch'/],
    [["failovr"], "unknown-command", /did you mean 'failover'/],
    [["switch", "to", "db2"], "not-carried", /datasource PRIMARY fail/],
    [["datasource", "db2", "recover"], "not-carried", /./],
    [["datasource", "db2", "frobnicate"], "usage", /usage: datasource MEMBER fail/],
    [["datasource", "db2"], "usage", /usage: datasource MEMBER fail/],
    [["failover", "db2"], "usage", /usage: failover \[to MEMBER\]/],
    [["ls", "db2"], "usage", /usage: ls/],
    [["ls", "--frobnicate"], "usage", /help/],
    [["events", "--after", "x"], "usage", /whole number/],
    [["watch", "--interval", "0"], "usage", /seconds/],
    [["create", "beta", "--members", "db1,db2", "--primary", "db3"], "usage", /db1, db2/],
    [["create", "Beta", "--members", "db1", "--primary", "db1"], "usage", /lower-case/],
    [["ls", "--service", "../admin"], "usage", /lower-case/],
    [["ls", "--url", "ftp://x"], "invalid-configuration", /https:/],
    [["expert"], "unknown-command", /--yes/],
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

import { describe, expect, it } from "vitest";
import { commandsIn } from "../../cli/commands/table.ts";
import { complete } from "../../cli/completion.ts";
import { parseScript } from "../../cli/script.ts";
import { promptOf } from "../../cli/shell.ts";

const MEMBERS = ["db1", "db2", "app1"];

describe("completion", () => {
  it.each<[string, string[]]>([
    ["fa", ["failover "]],
    ["e", ["events ", "expert ", "exit "]],
    ["failover ", ["to "]],
    ["failover to d", ["db1 ", "db2 "]],
    ["failover to db1 ", []],
    ["datasource a", ["app1 "]],
    ["datasource db2 ", ["fail "]],
    ["events --f", ["--follow "]],
    ["help wa", ["watch "]],
    ["nonsense ", []],
  ])("of '%s'", (line, expected) => {
    expect(complete(line, commandsIn("session"), MEMBERS)[0]).toEqual(expected);
  });
});

describe("a script", () => {
  it("is commands between lines and semicolons, without comments", () => {
    expect(parseScript("ls;  failover to db2 ;\n# ls; ls\n\nevents # --follow\n")).toEqual([
      ["ls"],
      ["failover", "to", "db2"],
      ["events"],
    ]);
  });
});

describe("the prompt", () => {
  it("shows the mode and the dataservice", () => {
    expect(promptOf({ isExpert: false }, "alpha")).toBe("[LOGICAL] /alpha > ");
    expect(promptOf({ isExpert: true }, "alpha")).toBe("[LOGICAL:EXPERT] /alpha > ");
    expect(promptOf({ isExpert: false }, null)).toBe("[LOGICAL] / > ");
  });
});

import { describe, expect, it } from "vitest";
import { COMMANDS, commandsIn } from "../../cli/commands/table.ts";
import { renderCommandHelp } from "../../cli/render/help.ts";
import { complete } from "../../cli/completion.ts";
import { parseScript } from "../../cli/script.ts";
import { promptOf } from "../../cli/shell.ts";

const MEMBERS = ["db1", "db2", "app1"];

describe("completion", () => {
  it.each<[string, string[]]>([
    ["fa", ["failover "]],
    ["s", ["switch ", "set "]],
    ["e", ["events ", "expert ", "exit "]],
    ["switch to d", ["db1 ", "db2 "]],
    ["failover ", ["to "]],
    ["failover to d", ["db1 ", "db2 "]],
    ["failover to db1 ", []],
    ["datasource a", ["app1 "]],
    ["datasource db2 ", ["fail ", "shun ", "welcome ", "online ", "offline ", "recover "]],
    ["datasource db2 shun --f", ["--force "]],
    ["set ", ["policy ", "durability ", "force "]],
    ["set durability s", ["sync "]],
    ["set durability sync 2 ", ["block ", "degrade "]],
    ["set durability async ", []],
    ["set policy ma", ["manual ", "maintenance "]],
    ["set force ", ["true ", "false "]],
    ["set policy manual ", []],
    ["token ", ["create ", "ls ", "revoke "]],
    ["token create v", ["viewer "]],
    ["webhook d", ["delete "]],
    ["events --f", ["--follow "]],
    ["help wa", ["watch "]],
    ["nonsense ", []],
  ])("of '%s'", (line, expected) => {
    expect(complete(line, commandsIn("session"), MEMBERS)[0]).toEqual(expected);
  });
});

describe("help", () => {
  it.each(COMMANDS.map((spec) => [spec.name, spec] as const))("on %s shows how it is typed", (name, spec) => {
    const example = spec.place === "command-line" ? `rex ${name}` : name;
    expect(renderCommandHelp(spec)).toMatch(new RegExp(`^Example:\\n  ${example}`, "m"));
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

/** The documents name files, functions, tests, settings and keys: what they name must be there. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { COMMANDS } from "../../cli/commands/table.ts";
import { readConfig } from "../../agent/config.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { zCommand } from "#shared/protocol/wire.ts";

const ROOT = new URL("../../", import.meta.url);
const SPEC = read("docs/SPEC.md");

/** One file that is named, with the functions and the quoted texts that stand behind it in brackets. */
interface Reference {
  line: number;
  path: string;
  names: string[];
  quotes: string[];
}

describe("the specification", () => {
  const rules = rulesOf(SPEC);

  test("has rules, each under an id of its own, each with both lines", () => {
    expect(rules.length).toBeGreaterThan(80);
    expect(rules.map(({ id }) => id)).toEqual([...new Set(rules.map(({ id }) => id))]);
    for (const { id, enforced, tested } of rules) {
      expect(enforced, `${id}: "Enforced by"`).toMatch(/`[^`]+`|\*\*not yet\*\*/);
      expect(tested, `${id}: "Tested by"`).toMatch(/`[^`]+`|\*\*not yet\*\*/);
    }
  });

  test("speaks of no rule that it does not state", () => {
    const stated = new Set(rules.map(({ id }) => id));
    const kinds = [...new Set(rules.map(({ id }) => id.replace(/-\d+$/, "")))].join("|");
    const spokenOf = [...SPEC.matchAll(new RegExp(String.raw`\b(?:${kinds})-\d+\b`, "g"))].map(([id]) => id);
    expect(spokenOf.filter((id) => !stated.has(id))).toEqual([]);
  });

  test("names functions and tests that are in the files it names", () => {
    expect(referencesIn(SPEC).flatMap(faultsOf)).toEqual([]);
  });

  test("gives every setting with its default", () => {
    const rows = [...SPEC.matchAll(/^\| ((?:`\w+`(?:, )?)+) \| ([\d,; ]+) \|/gm)].flatMap(
      ([, keys = "", values = ""]) => {
        const numbers = values.split(/, (?=\d)|; /).map((text) => Number(text.replaceAll(",", "")));
        return [...keys.matchAll(/`(\w+)`/g)].map(([, key = ""], index) => [key, numbers[index]] as const);
      },
    );
    expect(Object.fromEntries(rows)).toEqual(DEFAULT_SETTINGS);
  });

  test("says what a member answers to every command", () => {
    const table = SPEC.slice(SPEC.indexOf("## 16."), SPEC.indexOf("## 17."));
    const rows = [...table.matchAll(/^\| ((?:`[\w-]+`(?:, )?)+) \|/gm)].flatMap(([, kinds = ""]) =>
      [...kinds.matchAll(/`([\w-]+)`/g)].map(([, kind]) => kind),
    );
    const commands = zCommand.options.map(({ shape }) => shape.kind.value);
    expect(rows.toSorted()).toEqual(commands.toSorted());
  });
});

test.each(["docs/SPEC.md", "docs/ARCHITECTURE.md", "README.md", "CHANGELOG.md"])(
  "%s names paths that exist",
  (path) => {
    const text = read(path);
    const named = [...text.matchAll(/`((?:agent|bench|cli|demo|docs|shared|sim|test|worker)\/[\w./-]*)`/g)];
    const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)\)/g)];
    const paths = [...named, ...linked].map(([, to = ""]) => to);
    expect(paths.filter((to) => !exists(to) && !existsSync(new URL(to, new URL(path, ROOT))))).toEqual([]);
  },
);

test("the README's example of an agent's configuration is one", () => {
  const [, example = ""] = /```toml\n( *dataservice = [^]*?)```/.exec(read("README.md")) ?? [];
  const directory = mkdtempSync(join(tmpdir(), "readme-"));
  try {
    const path = join(directory, "agent.toml");
    writeFileSync(join(directory, "token"), "a token\n", { mode: 0o600 });
    writeFileSync(path, example.replace("/etc/interrex/token", join(directory, "token")));
    expect(readConfig(path)).toMatchObject({
      host: "db1",
      server: { rebuild: "refuse" },
      connector: { read_only_port: 6433 },
      peer: { port: 7432 },
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the README's table of commands holds commands", () => {
  const rows = read("README.md").matchAll(/^\| ((?:`[^`]+`(?:, )?)+) \|/gm);
  const cells = [...rows].map(([, cell]) => cell).join(" ");
  const words = [...cells.matchAll(/`(\w+)[^`]*`/g)].map(([, word = ""]) => word);
  expect(words).toContain("switch");
  expect(words.filter((word) => !COMMANDS.some(({ name }) => name === word))).toEqual([]);
});

function read(path: string): string {
  return readFileSync(new URL(path, ROOT), "utf8");
}

function exists(path: string): boolean {
  return existsSync(new URL(path, ROOT));
}

interface Rule {
  id: string;
  enforced: string;
  tested: string;
}

/** A rule begins with its id in bold and ends with its line of tests. */
function rulesOf(text: string): Rule[] {
  const pattern =
    /^\*\*([A-Z]+-\d+)\. (?:(?!^\*\*[A-Z]+-\d+\. )[^])*?^- \*Enforced by:\* ([^]*?)\n- \*Tested by:\* ([^]*?)(?=\n\n)/gm;
  const rules = [...text.matchAll(pattern)].map(([, id = "", enforced = "", tested = ""]) => ({
    id,
    enforced,
    tested,
  }));
  const headings = [...text.matchAll(/^\*\*([A-Z]+-\d+)\. /gm)].map(([, id]) => id);
  expect(rules.map(({ id }) => id)).toEqual(headings);
  return rules;
}

/** Paths with what stands behind them in brackets: functions in back quotes, texts in double ones. */
function referencesIn(text: string): Reference[] {
  const pattern = /`([\w./-]+\/[\w.-]+\.\w+)`(?:\s+\(((?:`[^`]*`|"[^"]*"|[^)`"])*)\))?/g;
  return [...text.matchAll(pattern)].map(({ index, 1: path = "", 2: inside = "" }) => ({
    line: text.slice(0, index).split("\n").length,
    path,
    names: [...inside.replaceAll(/"[^"]*"/g, "").matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
    quotes: [...inside.matchAll(/"([^"]*)"/g)].map(([, quote = ""]) => quote.replaceAll(/\s+/g, " ")),
  }));
}

function faultsOf({ line, path, names, quotes }: Reference): string[] {
  if (!exists(path)) return [`line ${line}: ${path} does not exist`];
  const source = read(path);
  return [
    ...names.filter((name) => !declares(source, name)).map((name) => `line ${line}: ${path} declares no ${name}`),
    ...quotes.filter((quote) => !holds(source, quote)).map((quote) => `line ${line}: ${path} holds no "${quote}"`),
  ];
}

/** A function, a method, a constant or a type of that name. */
function declares(source: string, name: string): boolean {
  const word = name.replaceAll(/[#$]/g, String.raw`\$&`);
  const declared = String.raw`(?:function|const|class|interface|type) ${word}\b`;
  const member = String.raw`^ +(?:override |static |async |get |readonly )*${word}(?:<[^>]*>)?(?:\(| = )`;
  return new RegExp(`${declared}|${member}`, "m").test(source);
}

/** A title, an invariant or an entry of a table, which needs no quotes where it is one word. */
function holds(source: string, quote: string): boolean {
  const isQuoted = ['"', "'", "`"].some((mark) => source.includes(`${mark}${quote}${mark}`));
  return isQuoted || (/^\w+$/.test(quote) && new RegExp(`^ +${quote}: `, "m").test(source));
}

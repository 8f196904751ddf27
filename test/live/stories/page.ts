/**
 * Pages: what an operator sees, kept as files beside the stories. A page holds prompts with what was typed, and what came
 * back, as the console prints it; its numbers and times stand for any.
 */
import { readFileSync } from "node:fs";

export interface Page {
  text: string;
  /** What is typed, line by line. */
  typed: string[];
  /** What is answered to the questions. */
  answers: string[];
}

const PROMPT = /^\[LOGICAL(?::EXPERT)?\] \/alpha > (.*)$/gm;
const QUESTION = /^Do you want to continue\? \(y\/n\)> (.*)$/gm;
/** Between the two bars of a row. */
const ROW_WIDTH = 81;

/** The page of `screens/NAME.txt`. */
export function readPage(name: string): Page {
  const text = readFileSync(new URL(`screens/${name}.txt`, import.meta.url), "utf8");
  return { text, typed: lastGroups(text, PROMPT), answers: lastGroups(text, QUESTION) };
}

/** What differs from run to run, and what stands for it in a page. Minus one is a word: it stays. */
const NUMBERS: readonly [RegExp, string][] = [
  [/(connector@\w+)\[\d+\]/g, "$1[7435]"],
  [/created=\d+, active=\d+/g, "created=2, active=0"],
  [/progress=\d+/g, "progress=24425632"],
  [/latency=\d+\.\d{3}/g, "latency=0.200"],
  [/stored=\d+, applied=\d+/g, "stored=24425632, applied=24425632"],
  [/\[\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d [AP]M UTC\]/g, "[2025/01/28 09:07:59 AM UTC]"],
  [/created=\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d UTC/g, "created=2025/01/28 09:07:59 UTC"],
  [/Savepoint (switch|failover)_\d+/g, "Savepoint $1_3"],
  [/A TOTAL OF \d+ ACTIVE/g, "A TOTAL OF 0 ACTIVE"],
  [/operation \d+/g, "operation 7"],
  [/token [0-9a-f]{12} /g, "token e3d5700406a1 "],
];

/** A screen with the numbers and times of a page; rows keep their width. */
export function normalised(screen: string): string {
  const text = NUMBERS.reduce((rest, [pattern, stand]) => rest.replaceAll(pattern, stand), screen);
  const before = screen.split("\n");
  return text
    .split("\n")
    .map((line, index) => (isRow(before[index] ?? "") ? padded(line) : line))
    .join("\n");
}

function isRow(line: string): boolean {
  return line.length === ROW_WIDTH + 2 && line.startsWith("|") && line.endsWith("|");
}

function padded(line: string): string {
  return `|${line.slice(1, -1).trimEnd().padEnd(ROW_WIDTH)}|`;
}

function lastGroups(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match.at(-1) ?? "");
}

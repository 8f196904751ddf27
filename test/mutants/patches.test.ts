/** The list of planted faults is whole: each can be planted, and breaks a rule that exists. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { plant } from "./fault.ts";
import { FAULTS, QUICK } from "./list.ts";

const textOf = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
const SPEC = textOf("docs/SPEC.md");

test.each(FAULTS.map((fault) => [fault.id, fault] as const))("%s can be planted", (_, fault) => {
  expect(plant(textOf(fault.file), fault)).not.toBe(textOf(fault.file));
  expect(SPEC).toContain(`**${fault.rule}.`);
});

test("every fault has a name of its own, and the short run names such that exist", () => {
  const ids = FAULTS.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of QUICK) expect(ids).toContain(id);
});

test("a fault whose text is not there, or is there twice, is named", () => {
  const fault = { id: "x", rule: "G1", what: "", file: "a.ts", search: "one", replace: "two" };
  expect(() => plant("zero", fault)).toThrow("fault 'x': its text is found 0 times in a.ts");
  expect(() => plant("one one", fault)).toThrow("fault 'x': its text is found 2 times in a.ts");
});

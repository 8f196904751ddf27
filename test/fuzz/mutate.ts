/** Values that are almost right: one made wrong in a few places, as fast-check chooses. */
import * as fc from "fast-check";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What is put in the place of something: the kinds of wrong that parsers and rules know least about. */
const junk: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    false,
    0,
    -1,
    0.5,
    1e308,
    -1e308,
    Number.MAX_SAFE_INTEGER,
    2 ** 53,
    "",
    "constructor",
    "__proto__",
    "toString",
    "db1",
    "db2",
    "0/0",
    "FFFFFFFF/FFFFFFFF",
    [],
    {},
    "\u0000",
    "\ud800",
    "a".repeat(5_000),
  ),
  fc.integer(),
  fc.nat(5),
  fc.string({ maxLength: 40 }),
  fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
);

interface Change {
  /** Where: at each level the entry of this number, modulo how many there are. */
  path: number[];
  how: "replace" | "delete" | "add";
  value: Json;
  key: string;
}

const change: fc.Arbitrary<Change> = fc.record({
  path: fc.array(fc.nat(30), { minLength: 1, maxLength: 5 }),
  how: fc.constantFrom("replace", "replace", "replace", "replace", "delete", "add"),
  value: junk,
  key: fc.constantFrom("extra", "kind", "constructor", "state", "0"),
});

/** A copy of `base` that differs from it in one to three places. */
export function mutated(base: unknown): fc.Arbitrary<unknown> {
  return changes.map((list) => changed(base, list));
}

/** Changes to be made to something that is not known yet. */
export const changes = fc.array(change, { minLength: 1, maxLength: 3 });

export function changed(base: unknown, list: readonly Change[]): unknown {
  const copy: unknown = structuredClone(base);
  for (const one of list) apply(copy, one);
  return copy;
}

function apply(root: unknown, { path, how, value, key }: Change): void {
  let at = root;
  for (const [depth, index] of path.entries()) {
    if (typeof at !== "object" || at === null) return;
    const keys = Object.keys(at);
    const name = keys[index % Math.max(1, keys.length)];
    const holder = at as Record<string, unknown>;
    if (how === "add" && depth === path.length - 1) return void (holder[key] = value);
    if (name === undefined) return;
    const next = holder[name];
    const isLeaf = depth === path.length - 1 || typeof next !== "object" || next === null;
    if (!isLeaf) {
      at = next;
      continue;
    }
    if (how === "delete") delete holder[name];
    else holder[name] = value;
    return;
  }
}

/** Bytes made wrong in a few places: overwritten, cut off, doubled. */
export function mutatedText(text: string): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.nat(text.length),
    length: fc.nat(12),
    put: fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constantFrom("", "}", "{", '"', "\n", "=", "[", "-1", "1e999", "\u0000", "null", "true"),
    ),
  });
  return fc.oneof(
    fc
      .array(edit, { minLength: 1, maxLength: 3 })
      .map((edits) =>
        edits.reduce((now, { at, length, put }) => now.slice(0, at) + put + now.slice(at + length), text),
      ),
    fc.nat(text.length).map((end) => text.slice(0, end)),
    fc.string({ maxLength: 200 }),
  );
}

/** So many runs as `FUZZ_RUNS` says, else `usual`. */
export function runsOf(usual: number, asked: string | undefined): { numRuns: number } {
  const runs = Number(asked);
  return { numRuns: Number.isSafeInteger(runs) && runs > 0 ? runs : usual };
}

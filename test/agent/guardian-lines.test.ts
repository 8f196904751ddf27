/** What agent and guardian say to each other: whole, or not at all. */
import { describe, expect, test } from "vitest";
import { LineReader, lineOf, type Line } from "../../agent/guardian/lines.ts";

const LEASE = {
  epoch: 3,
  ttlMs: 5_000,
  base: { monoMs: 10.5, bootMs: 20, wallMs: 30 },
  bootId: "boot",
  hasLeaseDoor: true,
};
const HELD = { attempted: 3, released: 2, policy: "maintenance", policyVersion: 4, lease: LEASE } as const;
const TOLD: Line = { kind: "told", dataDirectory: "/data", fenceMs: 1_500, held: HELD, isFencing: true };

test("a line comes as it was said, in however many pieces", () => {
  const lines: Line[] = [
    { kind: "hello", version: 1, pid: 7 },
    TOLD,
    { ...TOLD, held: { ...HELD, lease: null }, isFencing: false },
    { kind: "look" },
    { kind: "yield" },
  ];
  const text = lines.map(lineOf).join("");
  const reader = new LineReader();
  expect(text.split("").flatMap((letter) => reader.push(letter))).toEqual(lines);
  expect(new LineReader().push(text)).toEqual(lines);
});

describe("a line is not understood", () => {
  const numbers = [-1, 1.5, "1", null];
  const broken: [string, object][] = [
    ...numbers.flatMap((number): [string, object][] => [
      [`attempted ${String(number)}`, { ...TOLD, held: { ...HELD, attempted: number } }],
      [`released ${String(number)}`, { ...TOLD, held: { ...HELD, released: number } }],
      [`policy version ${String(number)}`, { ...TOLD, held: { ...HELD, policyVersion: number } }],
      [`lease of epoch ${String(number)}`, { ...TOLD, held: { ...HELD, lease: { ...LEASE, epoch: number } } }],
      [`lease for ${String(number)} ms`, { ...TOLD, held: { ...HELD, lease: { ...LEASE, ttlMs: number } } }],
      [`fence bound ${String(number)}`, { ...TOLD, fenceMs: number }],
    ]),
    ["a lease without clocks", { ...TOLD, held: { ...HELD, lease: { ...LEASE, base: { monoMs: 1, bootMs: 2 } } } }],
    ["a lease of no boot", { ...TOLD, held: { ...HELD, lease: { ...LEASE, bootId: null } } }],
    ["a policy that there is not", { ...TOLD, held: { ...HELD, policy: "none" } }],
    ["nothing held", { ...TOLD, held: null }],
    ["no directory", { ...TOLD, dataDirectory: 5 }],
    ["a kind that there is not", { kind: "kill" }],
    ["a list", []],
  ];

  test.each(broken)("with %s", (_, line) => {
    expect(() => new LineReader().push(`${JSON.stringify(line)}\n`)).toThrow(/^not an? |^no such line/);
  });

  test("that never ends", () => {
    const reader = new LineReader();
    expect(() => {
      for (let length = 0; length <= 65_536; length += 1_024) reader.push("x".repeat(1_024));
    }).toThrow("a line is too long");
  });
});

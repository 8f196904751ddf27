/**
 * What agent and guardian say to each other: one JSON document a line. They are of one account, and may be of two builds.
 * Checked by hand, because the guardian carries no library.
 */
import type { HeldLease } from "#shared/core/member/state.ts";
import type { Clocks } from "#shared/domain/clocks.ts";
import type { Held } from "./held.ts";

/** Grows with every change of what the guardian does or says: a running one of a lower version is succeeded. */
export const GUARDIAN_VERSION = 2;

const MAX_LINE_BYTES = 65_536;

/** What the agent tells: all there is to know, each time something of it has changed. */
export interface Told {
  dataDirectory: string;
  fenceMs: number;
  held: Held;
  isFencing: boolean;
}

export type Line =
  /** The guardian's first. */
  | { kind: "hello"; version: number; pid: number }
  /** The agent's, and the last one of a guardian that yields. */
  | ({ kind: "told" } & Told)
  /** Guardian to agent: the lease has ended by my clocks. */
  | { kind: "look" }
  /** A newer guardian to an older one: I stand, go. */
  | { kind: "yield" };

export function lineOf(line: Line): string {
  return `${JSON.stringify(line)}\n`;
}

/** Collects bytes into lines. Throws on what is none of ours: the connection is worth nothing then. */
export class LineReader {
  #rest = "";

  push(chunk: string): Line[] {
    const texts = (this.#rest + chunk).split("\n");
    this.#rest = texts.pop() ?? "";
    if (this.#rest.length > MAX_LINE_BYTES) throw new Error("a line is too long");
    return texts.map(parseLine);
  }
}

function parseLine(text: string): Line {
  const raw = asRecord(JSON.parse(text));
  switch (raw["kind"]) {
    case "hello":
      return { kind: "hello", version: asCount(raw["version"]), pid: asCount(raw["pid"]) };
    case "told":
      return {
        kind: "told",
        dataDirectory: asText(raw["dataDirectory"]),
        fenceMs: asCount(raw["fenceMs"]),
        held: asHeld(raw["held"]),
        isFencing: raw["isFencing"] === true,
      };
    case "look":
    case "yield":
      return { kind: raw["kind"] };
    default:
      throw new Error(`no such line: ${String(raw["kind"])}`);
  }
}

/** Throws when it is not one. Of the agent's state only what the guardian needs is looked at. */
export function asHeld(value: unknown): Held {
  const raw = asRecord(value);
  return {
    attempted: asCount(raw["attempted"]),
    released: asCount(raw["released"]),
    policy: asPolicy(raw["policy"]),
    policyVersion: asCount(raw["policyVersion"]),
    lease: asLease(raw["lease"]),
  };
}

/** Throws when it is neither a lease nor null. */
export function asLease(value: unknown): HeldLease | null {
  if (value === null) return null;
  const raw = asRecord(value);
  return {
    epoch: asCount(raw["epoch"]),
    ttlMs: asCount(raw["ttlMs"]),
    base: asClocks(raw["base"]),
    bootId: asText(raw["bootId"]),
    hasLeaseDoor: raw["hasLeaseDoor"] === true,
  };
}

export function asRecord(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error("not an object");
  return value as Record<string, unknown>;
}

function asClocks(value: unknown): Clocks {
  const raw = asRecord(value);
  return { monoMs: asNumber(raw["monoMs"]), bootMs: asNumber(raw["bootMs"]), wallMs: asNumber(raw["wallMs"]) };
}

function asPolicy(value: unknown): Held["policy"] {
  if (value === "automatic" || value === "manual" || value === "maintenance") return value;
  throw new Error("not a policy");
}

function asCount(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  throw new Error("not a count");
}

function asNumber(value: unknown): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new Error("not a number");
}

function asText(value: unknown): string {
  if (typeof value === "string") return value;
  throw new Error("not a text");
}

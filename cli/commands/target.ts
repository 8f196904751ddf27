/** `[to MEMBER]`, which `switch` and `failover` have in common. */
import { usageFailure } from "../failure.ts";
import { usageOf, type Call, type CommandSpec } from "./command.ts";
import { parseName } from "./operands.ts";

/** Whom the operator named; nothing where the choice is the coordinator's. */
export function parseTarget({ operands }: Call, spec: CommandSpec): { to?: string } {
  if (operands.length === 0) return {};
  const [to, member] = operands;
  if (operands.length !== 2 || to !== "to" || member === undefined) {
    throw usageFailure(`'${operands.join(" ")}' is not understood after '${spec.name}'`, usageOf(spec));
  }
  return { to: parseName(member, "the member") };
}

/** Its completion. */
export function nextTarget(before: readonly string[], members: readonly string[]): readonly string[] {
  if (before.length === 0) return ["to"];
  return before.length === 1 && before[0] === "to" ? members : [];
}

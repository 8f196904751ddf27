/** The table docs/MUTANTS.md. */
import type { Fault } from "./fault.ts";
import type { Catch } from "./hunt.ts";

export interface Verdict {
  fault: Fault;
  by: { kind: "simulator"; caught: Catch } | { kind: "test"; test: string } | { kind: "nobody" };
}

export function pageOf(verdicts: Verdict[], { seeds, tookS }: { seeds: string; tookS: number }): string {
  const bySimulator = verdicts.filter(({ by }) => by.kind === "simulator").length;
  const byTests = verdicts.filter(({ by }) => by.kind === "test").length;
  return [
    "# Mutants: what the checkers see",
    "",
    "Written by `npm run mutants`; do not edit. Each row is one rule made wrong in one place (the patches are in",
    "`test/mutants/list.ts`). The simulator hunts for it first, with its seeds from 1 on and then in a few worlds of one",
    "trouble each (`test/mutants/worlds.ts`); what no checker stops is given to the tests of the machines. A fault that",
    "neither sees is a rule that nobody tests.",
    "",
    `${verdicts.length} faults: ${bySimulator} caught by the simulator, ${byTests} by a test, ${verdicts.length - bySimulator - byTests} by nobody. Up to ${seeds} seeds`,
    `in the first world; the whole list took ${Math.ceil(tookS / 60)} minutes on two busy cores.`,
    "",
    "| fault | rule | what is wrong | caught by | seeds run |",
    "|---|---|---|---|---|",
    ...verdicts.map(rowOf),
    "",
  ].join("\n");
}

function rowOf({ fault, by }: Verdict): string {
  const cells = [`\`${fault.id}\``, fault.rule, fault.what, ...caughtBy(by)];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function caughtBy(by: Verdict["by"]): [string, string] {
  switch (by.kind) {
    case "simulator": {
      const { world, seed, rule, what, tried } = by.caught;
      const where = world === "as the seed says" ? `seed ${seed}` : `seed ${seed} of "${world}"`;
      const broken = what.replaceAll(/^.*?(invariant broken: .*)$/g, "$1");
      return [`${rule === "invariant" ? broken : rule}, ${where}`, String(tried)];
    }
    case "test":
      return [`\`${by.test.slice(0, by.test.indexOf(":"))}\`:${by.test.slice(by.test.indexOf(":") + 1)}`, "all"];
    case "nobody":
      return ["**nobody**", "all"];
  }
}

/** The table docs/MUTANTS.md. */
import { OWN_WORLD } from "../../sim/worlds.ts";
import type { Fault } from "./fault.ts";
import type { Catch } from "./hunt.ts";

/** Who caught a fault. */
export type By = { kind: "simulator"; caught: Catch } | { kind: "test"; test: string } | { kind: "nobody" };

export interface Verdict {
  fault: Fault;
  by: By;
}

/** What was found when each fault was last hunted, by its id. */
export type Findings = Record<string, By>;

export function pageOf(faults: readonly Fault[], findings: Findings): string {
  const kinds = faults.map(({ id }) => findings[id]?.kind ?? "none");
  const count = (kind: string): number => kinds.filter((other) => other === kind).length;
  return [
    "# Mutants: what the checkers see",
    "",
    "Written by `npm run -s mutants`; do not edit. Each row is one rule made wrong in one place: the patches are in",
    "`test/mutants/list.ts`. Two hunters look for it: the simulator, with its seeds from 1 on and then in a few worlds of",
    "one trouble each (`sim/worlds.ts`), and the tests of the machines, of which the first that fails is named. One",
    "is enough; both look only where the first saw nothing. Faults in what stands around the machines (`test/mutants/agents.ts`)",
    "are looked at by the tests that they name. A fault that nobody sees is a rule that nobody tests.",
    "`npm run -s mutants -- --only ID,ID` hunts some of them again, with `--seeds N` and `--other-seeds M` for longer, with",
    "`--by tests` or `--by simulator` by one of the two; `-- --quick` is a check of a few in less than a minute.",
    "",
    `${faults.length} faults: ${count("simulator")} caught by the simulator, ${count("test")} by a test, ${count("nobody")} by nobody${count("none") > 0 ? `, ${count("none")} not hunted yet` : ""}.`,
    "",
    "| fault | rule | what is wrong | caught by | seeds run |",
    "|---|---|---|---|---|",
    ...faults.map((fault) => rowOf(fault, findings[fault.id])),
    "",
  ].join("\n");
}

function rowOf({ id, rule, what }: Fault, by: By | undefined): string {
  const cells = [`\`${id}\``, rule, what, ...caughtBy(by)];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function caughtBy(by: By | undefined): [string, string] {
  switch (by?.kind) {
    case "simulator": {
      const { world, seed, rule, what, tried } = by.caught;
      const where = world === OWN_WORLD ? `seed ${seed}` : `seed ${seed} of "${world}"`;
      const broken = what.slice(Math.max(0, what.indexOf("invariant broken")));
      return [`${rule === "invariant" ? broken : rule}, ${where}`, String(tried)];
    }
    case "test": {
      const end = by.test.indexOf(":");
      return [`\`${by.test.slice(0, end)}\`${by.test.slice(end)}`, "all"];
    }
    case "nobody":
      return ["**nobody**", "all"];
    case undefined:
      return ["not hunted yet", ""];
  }
}

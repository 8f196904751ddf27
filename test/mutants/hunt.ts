/**
 * Runs inside the copy with the fault in it: looks for the first seed that a checker stops at. Prints one line of JSON.
 *
 *   node test/mutants/hunt.ts --seeds N --other-seeds M
 */
import { parseArgs } from "node:util";
import { runSeed } from "../../sim/run.ts";
import { OWN_WORLD, WORLDS } from "../../sim/worlds.ts";

export interface Catch {
  world: string;
  seed: number;
  rule: string;
  what: string;
  /** How many seeds were run, this one included. */
  tried: number;
}

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "400" }, "other-seeds": { type: "string", default: "100" } },
});

console.log(JSON.stringify(hunt(Number(values.seeds), Number(values["other-seeds"]))));

function hunt(seeds: number, otherSeeds: number): Catch | null {
  let tried = 0;
  for (const [world, scenario] of Object.entries(WORLDS)) {
    const last = world === OWN_WORLD ? seeds : otherSeeds;
    for (let seed = 1; seed <= last; seed += 1) {
      tried += 1;
      const { violation } = runSeed(seed, { scenario });
      if (violation) return { world, seed, rule: violation.rule, what: violation.what, tried };
    }
  }
  return null;
}

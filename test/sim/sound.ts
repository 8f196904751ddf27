/** What every seed must be: without a violation, and one and the same story when it is told twice. */
import { runSeed, type Alterations, type Outcome } from "../../sim/run.ts";

/** What is wrong with the seeds from `first` to `last`; empty when nothing is. */
export function faultsOf(first: number, last: number): string[] {
  const faults: string[] = [];
  for (let seed = first; seed <= last; seed += 1) faults.push(...faultsOfSeed(seed));
  return faults;
}

export function faultsOfSeed(seed: number): string[] {
  const outcome = runSeed(seed);
  const again = runSeed(seed);
  const { violation } = outcome;
  const told = violation ? [`seed ${seed}: ${violation.rule}: ${violation.what}`] : [];
  return isSameStory(outcome, again) ? told : [...told, `seed ${seed}: two runs differ`];
}

function isSameStory({ trace: a }: Outcome, { trace: b }: Outcome): boolean {
  return a.length === b.length && a.every((line, index) => line === b[index]);
}

/** The first violation from seed `from` on, within `seeds` of them; null when there is none. */
export function firstBroken(
  { from, seeds }: { from: number; seeds: number },
  alterations: Alterations,
): { seed: number; rule: string } | null {
  for (let seed = from; seed < from + seeds; seed += 1) {
    const { violation } = runSeed(seed, alterations);
    if (violation) return { seed, rule: violation.rule };
  }
  return null;
}

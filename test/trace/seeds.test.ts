/**
 * Stories that were once wrong. Each runs the whole of its seed again, and nothing may be broken in it.
 */
import { expect, test } from "vitest";
import { faultsOfSeed } from "../sim/sound.ts";

const STORIES: [seed: number, story: string][] = [
  [179, "what MAINTENANCE left unmarked is not still called ONLINE after somebody else was crowned"],
  [211, "what MAINTENANCE left unmarked is not still called ONLINE after somebody else was crowned"],
  [314, "a search that AUTOMATIC had begun stands down when the operator takes the decision away"],
  [356, "a search that AUTOMATIC had begun stands down when the operator takes the decision away"],
  [390, "what MAINTENANCE left unmarked is not still called ONLINE after somebody else was crowned"],
  [644, "a reopening in MAINTENANCE that fails hands the reign to nobody"],
  [707, "a search that AUTOMATIC had begun stands down when the operator takes the decision away"],
  [10363, "the recovery of several members in one step undoes no operator's word"],
  [10807, "the recovery of several members in one step undoes no operator's word"],
  [10986, "a recovery among many misfortunes, once broken like the two before"],
  [256, "what was acknowledged with others' word is looked for with them also after the primary went on unprotected"],
  [692, "a promotion that never arrived is laid down by the fence, where time may end nothing"],
  [904, "a member that is founded and fenced by one reply breaks no rule of its own"],
  [1680, "a holder that lives on promises and speaks again is not held for expired by its own word"],
  [2088, "a fresh coordinator does not suspect a primary that still speaks with the one before"],
  [2499, "an agent that dies after a rebuild and is told to rebuild again is not taken for a stranger"],
];

test.each(STORIES)("seed %i: %s", { timeout: 30_000 }, (seed) => {
  expect(faultsOfSeed(seed)).toEqual([]);
});

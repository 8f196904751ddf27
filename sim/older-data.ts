/**
 * The worlds of older copies: a data directory is put back to what it was seconds before, of a replica or of the primary,
 * while its agent remembers. Servers die and hosts reboot around it, so that what was lost there is asked for elsewhere.
 */
import { FAIR_WEATHER } from "./network.ts";
import { seededRandom } from "./random.ts";
import type { FaultKind, Scenario } from "./scenario.ts";

export function olderData(seed: number): Partial<Scenario> {
  const random = seededRandom(seed).fork("older data");
  const others: readonly FaultKind[][] = [
    [],
    ["server-crash"],
    ["server-crash", "machine-reboot"],
    ["server-crash", "machine-sleep", "server-partition"],
    ["agent-crash", "coordinator-eviction", "server-crash"],
    ["operator-switch", "operator-recover", "server-crash"],
    ["operator-policy", "operator-recover", "server-crash"],
    ["operator-failover", "operator-fail", "operator-recover"],
  ];
  return {
    weather: FAIR_WEATHER,
    chaosFromMs: 3_000,
    chaosUntilMs: 3_000 + random.between(15_000, 45_000),
    faults: ["data-restored", "data-restored", ...random.pick(others)],
    faultEveryMs: random.pick([2_000, 4_000, 8_000]),
    durability: random.chance(0.6) ? "sync" : "async",
    taskFailureP: random.chance(0.7) ? 0 : 0.1,
    crashAtEffectP: random.chance(0.7) ? 0 : 0.01,
    coordinatorCrashP: random.chance(0.7) ? 0 : 0.01,
    hasGuardian: true,
    onlyCoordinatorFailsFromMs: null,
  };
}

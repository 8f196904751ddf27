/**
 * The world of copied machines: disk or memory of a host, member and all, begins to live beside it and speaks in its name.
 * No agent is cut off from the coordinator for long: what it cannot see of an original it cannot know (SPEC: ID-13). And no
 * write waits for a replica: a copied one would acknowledge in its name.
 */
import { FAIR_WEATHER } from "./network.ts";
import type { Scenario } from "./scenario.ts";

export const COPIED_MACHINES: Partial<Scenario> = {
  weather: FAIR_WEATHER,
  durability: "async",
  chaosFromMs: 3_000,
  chaosUntilMs: 45_000,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  faults: ["agent-cloned", "agent-cloned", "server-crash", "agent-crash", "machine-reboot", "coordinator-eviction"],
  faultEveryMs: 2_500,
  hasGuardian: true,
  hasLeaseDoor: false,
  isUntimely: false,
  answersUpstream: false,
  onlyCoordinatorFailsFromMs: null,
};

/**
 * Worlds in which an operator changes what is promised, in both directions and at any moment: while primaries die, hosts are
 * cut off and switched, and storages come back from another day.
 */
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";
import { FAIR_WEATHER } from "./network.ts";
import type { Scenario } from "./scenario.ts";

const CHANGING: Partial<Scenario> = {
  weather: FAIR_WEATHER,
  settings: { ...DEFAULT_SETTINGS, pollInOperationMs: 50, budget: 1_000 },
  syncPolicy: { k: 1, onLoss: "block" },
  members: [1, 2, 3, 4].map((number) => ({ name: `db${number}`, priority: 0 })),
  chaosFromMs: 3_000,
  chaosUntilMs: 45_000,
  faultEveryMs: 1_500,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  hasGuardian: true,
  isUntimely: false,
  onlyCoordinatorFailsFromMs: null,
};

/** By what goes wrong meanwhile. */
export const CHANGING_DURABILITY = {
  "durability-while-primaries-die": {
    ...CHANGING,
    durability: "async",
    streamsTakeMs: 300,
    readsTails: false,
    faults: [
      "operator-durability",
      "operator-durability",
      "operator-durability",
      "server-crash",
      "server-crash",
      "server-partition",
      "agent-partition",
      "machine-reboot",
      "operator-recover",
      "operator-recover",
    ],
  },
  "durability-among-operators": {
    ...CHANGING,
    durability: "sync",
    members: [1, 2, 3].map((number) => ({ name: `db${number}`, priority: 0 })),
    faults: [
      "operator-durability",
      "operator-durability",
      "operator-switch",
      "operator-policy",
      "operator-datasource",
      "operator-recover",
      "server-crash",
      "agent-partition",
      "coordinator-crash",
      "coordinator-eviction",
    ],
    taskFailureP: 0.1,
    coordinatorCrashP: 0.01,
  },
  "durability-and-storages-of-another-day": {
    ...CHANGING,
    durability: "async",
    faultEveryMs: 2_500,
    hasLateReplies: false,
    faults: [
      "operator-durability",
      "operator-durability",
      "operator-policy",
      "coordinator-restore",
      "coordinator-disk-lost",
      "state-file-lost",
      "server-crash",
      "operator-recover",
    ],
  },
  "durability-and-older-copies": {
    ...CHANGING,
    durability: "async",
    faultEveryMs: 2_000,
    faults: [
      "operator-durability",
      "operator-durability",
      "data-restored",
      "server-crash",
      "machine-reboot",
      "server-partition",
      "operator-recover",
    ],
  },
  // Hosts stand still for longer than any lease allows for: what was promised must hold all the same.
  "durability-while-hosts-stand-still": {
    ...CHANGING,
    durability: "async",
    isUntimely: true,
    hasGuardian: false,
    streamsTakeMs: 300,
    readsTails: false,
    faults: [
      "operator-durability",
      "operator-durability",
      "machine-sleep",
      "agent-pause",
      "server-crash",
      "server-partition",
      "agent-partition",
      "operator-recover",
    ],
  },
} satisfies Record<string, Partial<Scenario>>;

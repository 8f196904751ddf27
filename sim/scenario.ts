/**
 * What one seed stands for: how big the dataservice is, how bad its world, and which kinds of misfortune happen. Each
 * seed leaves some kinds out altogether: a fault that never stops masks the ones that need a quiet moment.
 */
import type { SyncPolicy } from "#shared/core/cluster/state.ts";
import type { Durability } from "#shared/domain/datasource.ts";
import { DEFAULT_SETTINGS, type Settings } from "#shared/domain/settings.ts";
import { FAIR_WEATHER, type Weather } from "./network.ts";
import { seededRandom, type Random } from "./random.ts";

export const FAULT_KINDS = [
  "agent-partition",
  "last-word",
  "server-partition",
  "server-crash",
  "server-hang",
  "agent-crash",
  "agent-pause",
  "machine-sleep",
  "machine-reboot",
  "wall-step",
  "coordinator-crash",
  "coordinator-away",
  "coordinator-eviction",
  "coordinator-wall-step",
  "operator-fail",
  "operator-failover",
  "operator-switch",
  "operator-recover",
  "operator-datasource",
  "operator-policy",
  "operator-force",
  "weather",
] as const;

/** What any world may hold: an absence of many seconds has worlds of its own. */
const ANY_FAULTS = FAULT_KINDS.filter((kind) => kind !== "coordinator-away");

/** What happens to what somebody must not forget: only where a scenario is about that. */
export const STORAGE_FAULTS = ["coordinator-restore", "coordinator-disk-lost", "state-file-lost"] as const;

/** Copied machines have worlds of their own: what the coordinator cannot see of them is not what is looked for elsewhere. */
export const COPY_FAULTS = ["agent-cloned"] as const;

/** Older copies of data directories have worlds of their own: what all have lost nobody can find again. */
export const DATA_FAULTS = ["data-restored"] as const;

/** An operator who changes what is promised: it has worlds of its own too (`changing-durability.ts`). */
export const DURABILITY_FAULTS = ["operator-durability"] as const;

export type FaultKind =
  | (typeof FAULT_KINDS)[number]
  | (typeof STORAGE_FAULTS)[number]
  | (typeof COPY_FAULTS)[number]
  | (typeof DATA_FAULTS)[number]
  | (typeof DURABILITY_FAULTS)[number];

export interface Scenario {
  seed: number;
  members: { name: string; priority: number }[];
  /** Whether the first primary serves already, or is read-only like the others. */
  primaryServes: boolean;
  settings: Settings;
  durability: Durability;
  syncPolicy: SyncPolicy;
  weather: Weather;
  chaosFromMs: number;
  chaosUntilMs: number;
  /** The mean time between two faults. */
  faultEveryMs: number;
  faults: FaultKind[];
  /** How likely a task of an engine fails. */
  taskFailureP: number;
  /** How likely an agent dies at any one of its effects or writes. */
  crashAtEffectP: number;
  /** How likely the coordinator dies at any one of its writes or answers. */
  coordinatorCrashP: number;
  /** Whether a guardian process fences when the agent cannot. Without it nobody stops an agent whose lease is near its end. */
  hasGuardian: boolean;
  /** Whether hosts may stand still beyond what every bound allows for: sync sets must do without any. */
  isUntimely: boolean;
  /** Whether a holder that the coordinator does not answer polls by way of its peers as well. */
  hasTunnel: boolean;
  /** From this moment on nothing but the coordinator, and what leads to it, fails; null when anything may. */
  onlyCoordinatorFailsFromMs: number | null;
  /** Whether a reply that comes after the poll's timeout still reaches the machine. */
  hasLateReplies: boolean;
  /** Whether a server says on a replication connection whether it is writable; those before 14 do not. */
  answersUpstream: boolean;
  /** Whether agents can read the end of a dead server's log. */
  readsTails: boolean;
  /** How long what a primary writes may be on its way to a replica: the longer, the more only its own disk holds. */
  streamsTakeMs: number;
  /**
   * Whether the three clocks of a host run at one rate, so that a host can be slow or fast by all of them; `opposed`: the
   * first primary as slow, and everybody else as fast, as the guarantees allow for.
   */
  clocks: "any" | "agree" | "opposed";
  /** Whether every machine has a door in its kernel that shuts with the lease, whatever becomes of its processes. */
  hasLeaseDoor: boolean;
  /** Whether a promotion reserves the timeline numbers that earlier epochs may have used. */
  reservesTimelines: boolean;
}

/**
 * The scenario of a seed. One in six is a quiet world in which only the end of a lease is attacked, again and again; one
 * in four has busy operators and few misfortunes, so that what they ask for gets as far as its last steps.
 */
export function scenarioOf(seed: number): Scenario {
  const random = seededRandom(seed).fork("scenario");
  const any = { ...anyScenario(seed, random), ...durabilityOf(seed) };
  const peers = seededRandom(seed).fork("peers");
  if (peers.chance(1 / 12)) return { ...any, ...coordinatorAway(peers, any) };
  if (peers.chance(1 / 12)) return { ...any, ...promiseHunt(peers) };
  // Drawn from a stream of its own, so that the other scenarios of a seed stay what they are.
  const storage = seededRandom(seed).fork("storage lost");
  if (storage.chance(1 / 8)) return { ...any, ...lostStorage(storage, any) };
  if (any.durability === "sync" && random.chance(0.6)) return { ...any, ...quorumHunt(random) };
  if (random.chance(1 / 6)) return { ...any, ...leaseHunt(random), clocks: clocksOf(seed) };
  return random.chance(1 / 4) ? { ...any, ...busyOperators(random) } : any;
}

/** How wrong the clocks are where the ends of leases are attacked. Drawn apart. */
function clocksOf(seed: number): Scenario["clocks"] {
  return seededRandom(seed).fork("clocks").pick(["any", "agree", "opposed"]);
}

/** One world in three is synchronous. Drawn apart, so that everything else about a seed stays as it was. */
function durabilityOf(seed: number): Pick<Scenario, "durability" | "syncPolicy"> {
  const random = seededRandom(seed).fork("durability");
  const durability = random.chance(1 / 3) ? "sync" : "async";
  return {
    durability,
    syncPolicy: { k: random.chance(0.8) ? 1 : 2, onLoss: random.chance(0.7) ? "block" : "degrade" },
  };
}

/** The coordinator's storage is restored or lost, among a few other misfortunes. */
function lostStorage(random: Random, { faults, chaosFromMs }: Scenario): Partial<Scenario> {
  const asked = STORAGE_FAULTS.filter(() => random.chance(0.7));
  const others = random.shuffled([...faults]).slice(0, random.whole(0, 4));
  return {
    faults: [...asked, STORAGE_FAULTS[0], ...others],
    chaosFromMs: Math.max(3_000, chaosFromMs),
    chaosUntilMs: Math.max(3_000, chaosFromMs) + random.between(15_000, 40_000),
    faultEveryMs: random.pick([2_500, 5_000]),
    hasLateReplies: false,
  };
}

function busyOperators(random: Random): Partial<Scenario> {
  const misfortunes = ANY_FAULTS.filter((kind) => !kind.startsWith("operator"));
  const asked = random.pick<FaultKind[]>([
    ["operator-switch"],
    ["operator-switch", "operator-recover"],
    ["operator-fail", "operator-recover", "operator-switch"],
    ["operator-policy", "operator-fail", "operator-failover", "operator-recover"],
    ["operator-datasource", "operator-recover", "operator-force"],
  ]);
  const chaosFromMs = 3_000;
  return {
    weather: random.chance(0.7) ? FAIR_WEATHER : weatherOf(random),
    chaosFromMs,
    chaosUntilMs: chaosFromMs + random.between(15_000, 40_000),
    faultEveryMs: random.pick([1_000, 2_500]),
    // An operator's wish is twice as likely as a misfortune, and may come right after one.
    faults: [...asked, ...asked, ...asked, ...random.shuffled([...misfortunes]).slice(0, random.whole(0, 2))],
    taskFailureP: random.chance(0.5) ? 0 : 0.05,
    crashAtEffectP: random.chance(0.7) ? 0 : 0.01,
    coordinatorCrashP: random.chance(0.7) ? 0 : 0.01,
  };
}

/** What only the read quorums stand against: one failover right after the other, and hosts that stand still for long. */
function quorumHunt(random: Random): Partial<Scenario> {
  const chaosFromMs = 3_000;
  return {
    members: Array.from({ length: random.whole(3, 4) }, (_, index) => ({ name: `db${index + 1}`, priority: 0 })),
    weather: FAIR_WEATHER,
    chaosFromMs,
    chaosUntilMs: chaosFromMs + random.between(15_000, 40_000),
    faultEveryMs: random.pick([500, 1_500, 3_000]),
    faults: random.pick<FaultKind[]>([
      ["server-crash", "server-partition"],
      ["machine-sleep", "server-partition"],
      ["machine-sleep", "agent-pause", "server-crash"],
      ["server-crash", "machine-reboot", "server-partition", "server-partition"],
      ["agent-crash", "agent-partition", "server-partition", "coordinator-eviction"],
      ["operator-recover", "operator-recover", "server-crash", "machine-sleep"],
    ]),
    taskFailureP: random.chance(0.7) ? 0 : 0.1,
    crashAtEffectP: random.chance(0.7) ? 0 : 0.01,
    coordinatorCrashP: random.chance(0.7) ? 0 : 0.01,
    hasGuardian: random.chance(0.5),
    isUntimely: true,
  };
}

function leaseHunt(random: Random): Partial<Scenario> {
  const chaosFromMs = 2_000;
  return {
    weather: FAIR_WEATHER,
    chaosFromMs,
    chaosUntilMs: chaosFromMs + 40_000,
    faultEveryMs: 8_000,
    faults: random.pick([
      ["last-word"],
      ["wall-step"],
      ["last-word", "wall-step", "coordinator-wall-step"],
      ["last-word", "server-crash", "agent-pause"],
    ]),
    taskFailureP: 0,
    crashAtEffectP: 0,
    coordinatorCrashP: 0,
    hasGuardian: false,
    hasLateReplies: true,
    answersUpstream: random.chance(0.2),
  };
}

/** A healthy dataservice whose coordinator cannot be reached, for seconds or for minutes, by its primary or by anybody. */
function coordinatorAway(random: Random, { durability }: Scenario): Partial<Scenario> {
  const chaosFromMs = 8_000;
  const isHolderAlone = random.chance(0.3);
  const lossP = random.pick([0, 0, 0.03]);
  // Where writes are synchronous, a primary of whom two polls in a row are lost is suspected by design, and may be succeeded.
  const isLossless = durability === "sync";
  return {
    settings: { ...DEFAULT_SETTINGS, pollInOperationMs: 50 },
    weather: { ...FAIR_WEATHER, lossP: isLossless ? 0 : lossP, maxMs: random.pick([5, 20, 50]) },
    chaosFromMs,
    chaosUntilMs: chaosFromMs + random.between(30_000, 90_000),
    faultEveryMs: random.pick([5_000, 20_000]),
    faults: isHolderAlone ? ["agent-partition"] : ["coordinator-crash", "coordinator-away", "coordinator-eviction"],
    taskFailureP: 0,
    crashAtEffectP: 0,
    coordinatorCrashP: 0,
    hasGuardian: true,
    hasTunnel: isHolderAlone || random.chance(0.5),
    onlyCoordinatorFailsFromMs: chaosFromMs,
  };
}

/** Holders that live on promises, again and again, while those who gave them are restarted, cut off and told to take over. */
function promiseHunt(random: Random): Partial<Scenario> {
  const chaosFromMs = 4_000;
  const others = [
    "agent-crash",
    "agent-pause",
    "machine-reboot",
    "wall-step",
    "server-crash",
    "operator-fail",
  ] as const;
  return {
    weather: random.chance(0.6) ? FAIR_WEATHER : weatherOf(random),
    chaosFromMs,
    chaosUntilMs: chaosFromMs + random.between(25_000, 50_000),
    faultEveryMs: random.pick([1_500, 4_000]),
    faults: [
      "agent-partition",
      "agent-partition",
      "coordinator-away",
      "server-partition",
      ...random.shuffled([...others]).slice(0, 2),
    ],
    hasGuardian: true,
    hasTunnel: random.chance(0.2),
  };
}

function anyScenario(seed: number, random: Random): Omit<Scenario, "durability" | "syncPolicy"> {
  const chaosFromMs = random.chance(0.25) ? 0 : random.between(1_000, 4_000);
  return {
    seed,
    members: Array.from({ length: random.whole(2, 5) }, (_, index) => ({
      name: `db${index + 1}`,
      priority: random.whole(0, 2),
    })),
    primaryServes: random.chance(0.5),
    settings: {
      ...DEFAULT_SETTINGS,
      pollInOperationMs: random.pick([20, 50, 100]),
      budget: random.chance(0.15) ? DEFAULT_SETTINGS.budget : 1_000,
    },
    weather: weatherOf(random),
    chaosFromMs,
    chaosUntilMs: chaosFromMs + random.between(8_000, 40_000),
    faultEveryMs: random.pick([300, 1_000, 3_000, 6_000]),
    faults: ANY_FAULTS.filter((kind) => random.chance(kind.startsWith("operator") ? 0.2 : 0.5)),
    taskFailureP: random.chance(0.5) ? 0 : random.between(0, 0.3),
    crashAtEffectP: random.chance(0.5) ? 0 : random.between(0, 0.02),
    coordinatorCrashP: random.chance(0.5) ? 0 : random.between(0, 0.02),
    hasGuardian: random.chance(0.5),
    isUntimely: false,
    hasTunnel: seed % 2 === 0,
    onlyCoordinatorFailsFromMs: null,
    hasLateReplies: random.chance(0.7),
    clocks: "any",
    reservesTimelines: true,
    answersUpstream: random.chance(0.5),
    streamsTakeMs: seededRandom(seed).fork("streams").pick([8, 8, 8, 300]),
    readsTails: seededRandom(seed).fork("tails").chance(0.8),
    hasLeaseDoor: seededRandom(seed).fork("lease door").chance(0.4),
  };
}

/** The weather of a moment, from fair to foul. */
export function weatherOf(random: Random): Weather {
  const isFoul = random.chance(0.5);
  return {
    lossP: isFoul ? random.between(0, 0.3) : 0,
    duplicateP: isFoul ? random.between(0, 0.2) : 0,
    minMs: 1,
    maxMs: random.pick([5, 20, 100]),
    slowP: isFoul ? random.between(0, 0.2) : 0,
    slowMs: random.pick([300, 1_000, 5_000]),
  };
}

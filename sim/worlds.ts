/** The worlds that can be asked for by name: that of the seed, and some in which one kind of trouble comes again and again. */
import { CHANGING_DURABILITY } from "./changing-durability.ts";
import { COPIED_MACHINES } from "./copied-machines.ts";
import { FAIR_WEATHER } from "./network.ts";
import type { Scenario } from "./scenario.ts";

/** The world that a seed makes by itself. */
export const OWN_WORLD = "as-the-seed-says";

const QUIET: Partial<Scenario> = {
  weather: FAIR_WEATHER,
  chaosFromMs: 3_000,
  chaosUntilMs: 45_000,
  taskFailureP: 0,
  crashAtEffectP: 0,
  coordinatorCrashP: 0,
  onlyCoordinatorFailsFromMs: null,
};

/** What each has otherwise than its seed says. */
export const WORLDS: Readonly<Record<string, Partial<Scenario>>> = {
  [OWN_WORLD]: {},
  // Operators that change their minds, and agents that do not hear of it for a while. The question to the upstream is a
  // second net under the leases: without it they must hold alone.
  policies: {
    ...QUIET,
    faults: ["operator-policy", "operator-policy", "agent-partition", "agent-partition"],
    faultEveryMs: 2_500,
    answersUpstream: false,
  },
  // A slow holder, fast witnesses, a fast coordinator: here the margin is spent.
  "at-the-edge": {
    ...QUIET,
    durability: "async",
    faults: ["last-word"],
    faultEveryMs: 6_000,
    answersUpstream: false,
    hasGuardian: false,
    hasLateReplies: true,
    clocks: "opposed",
  },
  synchronous: { durability: "sync", syncPolicy: { k: 1, onLoss: "block" } },
  "synchronous-two": {
    ...QUIET,
    durability: "sync",
    syncPolicy: { k: 2, onLoss: "degrade" },
    faults: ["server-partition", "server-crash", "agent-partition", "machine-reboot", "operator-recover"],
    faultEveryMs: 1_500,
  },
  "synchronous-by-force": {
    ...QUIET,
    durability: "sync",
    faults: [
      "operator-force",
      "operator-force",
      "server-crash",
      "agent-partition",
      "server-partition",
      "operator-recover",
    ],
    faultEveryMs: 1_500,
  },
  "upstream-not-asked": { answersUpstream: false, hasGuardian: false, hasLateReplies: true },
  "lost-agents": {
    ...QUIET,
    faults: ["agent-partition", "agent-pause", "coordinator-crash", "coordinator-eviction", "last-word", "wall-step"],
    faultEveryMs: 3_000,
    answersUpstream: false,
    hasGuardian: false,
    hasLateReplies: true,
  },
  crashes: {
    ...QUIET,
    faults: ["server-crash", "machine-reboot", "agent-crash", "server-partition", "operator-recover"],
    faultEveryMs: 2_000,
    taskFailureP: 0.15,
    crashAtEffectP: 0.01,
    hasLateReplies: true,
  },
  // What is promised changes in the middle of everything else.
  ...CHANGING_DURABILITY,
  // Machines are copied, disk or memory, and the copies speak beside the originals.
  copies: COPIED_MACHINES,
  // Data directories are put back to older copies, and what was lost there is asked for elsewhere.
  "older-copies": {
    ...QUIET,
    durability: "sync",
    faults: ["data-restored", "data-restored", "server-crash", "machine-reboot"],
    faultEveryMs: 3_000,
  },
  switches: {
    ...QUIET,
    faults: ["operator-switch", "operator-switch", "operator-recover", "server-partition", "server-crash"],
    faultEveryMs: 2_000,
    taskFailureP: 0.1,
  },
  force: {
    ...QUIET,
    faults: ["operator-force", "operator-datasource", "operator-fail", "operator-recover", "server-crash"],
    faultEveryMs: 1_500,
  },
};

/**
 * The stored state of an earlier version, made whole. Fields are only ever added to it: what an older Worker did not
 * know takes the value that means what that Worker did.
 */
import {
  DEFAULT_SYNC_POLICY,
  type DurableState,
  type Identity,
  type LeaseRecord,
  type Phase,
  type Plan,
} from "#shared/core/cluster/state.ts";
import type { Command } from "#shared/domain/messages.ts";
import { DEFAULT_SETTINGS } from "#shared/domain/settings.ts";

/** The state as it is stored: the reigns have rows of their own. */
export type StoredState = Omit<DurableState, "reigns">;

export function upgraded(stored: StoredState): StoredState {
  return {
    ...stored,
    settings: { ...DEFAULT_SETTINGS, ...stored.settings },
    identities: mapped(stored.identities, (identity): Identity => ({
      ...WITHOUT_POLICY,
      ...WITHOUT_FORKS,
      ...WITHOUT_LOSSES,
      ...WITHOUT_TIMELINE,
      ...identity,
    })),
    phase: upgradedPhase(stored.phase),
    commands: upgradedCommands(stored),
    plan: stored.plan ?? null,
    durabilityChange: stored.durabilityChange ?? null,
    electorate: { ...WITHOUT_CHANGES, ...stored.electorate },
    endlessBelow: stored.endlessBelow ?? 0,
    syncPolicy: stored.syncPolicy ?? DEFAULT_SYNC_POLICY,
    syncVersion: stored.syncVersion ?? 0,
    syncTold: stored.syncTold ?? {},
    syncSets: stored.syncSets ?? [],
    restoration: stored.restoration ?? null,
  };
}

/** Its list had never changed. */
const WITHOUT_CHANGES = { unconfirmed: [] };
const WITHOUT_POLICY = { policyVersion: 0, rebuildOp: 0, isStray: false, readmitOp: 0, assumedEpoch: 0 };
/** Nobody looked for two agents of one identity. */
const WITHOUT_FORKS = { place: null, isForked: false, forks: 0, forkedEpoch: 0 };
/** Nor for a log that is shorter than it was. */
const WITHOUT_LOSSES = { lost: null, losses: 0, lostEpoch: 0 };
/** Nor at what timelines members had been heard on. */
const WITHOUT_TIMELINE = { timeline: 0, isUnproven: false };
/** Nobody had a kernel door when there was no such word. */
export function upgradedLease(stored: LeaseRecord): LeaseRecord {
  return { ...WITHOUT_DOOR, ...stored };
}

/** Nor had anybody said where its state lies. */
const WITHOUT_DOOR = { hasLeaseDoor: false, place: null };

function upgradedPhase(phase: Phase): Phase {
  switch (phase.kind) {
    case "collecting":
      return { ...WITHOUT_INQUIRY, ...phase };
    case "vacant":
      return { ...WITHOUT_WELCOME, ...phase };
    case "reigning":
      return { ...WITHOUT_SUSPICION, ...phase };
    case "founding":
      return { ...WITHOUT_FORCE, ...phase };
    case "deposing":
      return phase;
  }
}

const WITHOUT_FORCE = { isForced: false } as const;
const WITHOUT_SUSPICION = { isSuspected: false } as const;
const WITHOUT_INQUIRY = {
  inquiry: { kind: "clear" },
  salvage: { kind: "none" },
  isForced: false,
  mayLose: false,
} as const;
const WITHOUT_WELCOME = { cause: "retry", welcomed: null } as const;

/** What no agent could read is not given: a reply with it would be none, and its lease would not arrive. */
function upgradedCommands({ commands, plan }: StoredState): Record<string, Command> {
  return Object.fromEntries(
    Object.entries(commands).flatMap(([member, command]) => {
      const whole = upgradedCommand(command, plan ?? null);
      return whole === null ? [] : [[member, whole]];
    }),
  );
}

function upgradedCommand(command: Command, plan: Plan | null): Command | null {
  if (command.kind === "fence") return { ...WITHOUT_PATIENCE, ...command };
  return command.kind === "shut" && !("heir" in command) ? shutFor(command, plan) : command;
}

/** Nobody had to be told whose stream is watched: it is the target's. Without its switch the command has no use. */
function shutFor(command: Omit<ShutCommand, "heir">, plan: Plan | null): ShutCommand | null {
  return plan?.kind === "switch" && plan.op === command.op ? { ...command, heir: plan.target } : null;
}

type ShutCommand = Extract<Command, { kind: "shut" }>;

const WITHOUT_PATIENCE = { patienceMs: 0 };

function mapped<T>(record: Record<string, T>, upgrade: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, upgrade(value)]));
}

/** The settings of a dataservice: durations in milliseconds, sizes in bytes. */

export interface Settings {
  /** How long a granted lease runs. */
  ttlMs: number;
  /** How long an agent may take to make its server unable to write. */
  fenceMs: number;
  /** Clock drift and scheduling, added to every wait for somebody else's lease. */
  marginMs: number;
  pollMs: number;
  pollInOperationMs: number;
  pollTimeoutMs: number;
  /** A replica whose agent is silent for this long is FAILED(MANAGER STOPPED). */
  silentMs: number;
  /** In synchronous mode the replicas stop acknowledging to a primary whose agent is silent for this long. */
  suspicionMs: number;
  /** How long a failover waits for the positions of the candidates. */
  collectMs: number;
  /** How long a successor may take to fetch what only the dead primary's disk holds; 0: it does not try. */
  salvageMs: number;
  /** How long a primary that gave up its lease by itself is waited for before another takes over. */
  failsafeReturnMs: number;
  /** The whole of one failover. */
  failoverMs: number;
  /** The longest promotion, from the command to a writable server. */
  promoteMs: number;
  /** How long sessions inside a transaction may go on once a switch has shut the door. */
  drainMs: number;
  /** How long a switch waits for its target to be nearly caught up, while writes continue. */
  catchUpMs: number;
  /** How long a switch waits for the target to have everything, while nobody can write. */
  flushMs: number;
  /** The whole of one switch, up to the point of no return. */
  switchMs: number;
  /** How long one member's recovery may take, a rebuild included. */
  recoverMs: number;
  /** A replica whose newest applied change is older is not read from through the connectors. */
  maxLatencyMs: number;
  /** How far behind the last known position of the primary a winner may be. */
  maxLossBytes: number;
  /** How many automatic failovers are allowed in `budgetWindowMs`. */
  budget: number;
  budgetWindowMs: number;
}

export const DEFAULT_SETTINGS: Settings = {
  ttlMs: 5_000,
  fenceMs: 1_500,
  marginMs: 500,
  pollMs: 1_000,
  pollInOperationMs: 20,
  pollTimeoutMs: 500,
  silentMs: 10_000,
  suspicionMs: 2_000,
  collectMs: 300,
  salvageMs: 2_000,
  failsafeReturnMs: 2_000,
  failoverMs: 30_000,
  promoteMs: 10_000,
  drainMs: 5_000,
  catchUpMs: 30_000,
  flushMs: 5_000,
  switchMs: 60_000,
  recoverMs: 3_600_000,
  maxLatencyMs: 900_000,
  maxLossBytes: 1_048_576,
  budget: 3,
  budgetWindowMs: 600_000,
};

/** Below these a setting takes away what it is there for: a margin, the time for a fence, any succession at all. */
const LEAST: Partial<Settings> = {
  ttlMs: 1_000,
  fenceMs: 100,
  marginMs: 50,
  pollInOperationMs: 10,
  pollTimeoutMs: 50,
  silentMs: 1_000,
  suspicionMs: 500,
  collectMs: 50,
  failoverMs: 1_000,
  promoteMs: 1_000,
  catchUpMs: 100,
  flushMs: 100,
  switchMs: 1_000,
  recoverMs: 1_000,
  maxLatencyMs: 100,
  budget: 1,
  budgetWindowMs: 1_000,
};

/** A setting that cannot stand: which one, its value, and what would do. */
export interface SettingProblem {
  key: keyof Settings;
  value: number;
  remedy: string;
}

/**
 * Checks settings against each other. The lease budget: a holder that loses one renewal must still be able to poll
 * again, time out, and hear the answer before its lease is over.
 */
export function checkSettings(settings: Settings): SettingProblem[] {
  const problems: SettingProblem[] = [];
  for (const [key, value] of Object.entries(settings) as [keyof Settings, number][]) {
    if (!Number.isSafeInteger(value) || value < 0)
      problems.push({ key, value, remedy: "use a whole number, 0 or more" });
  }
  for (const [key, least] of Object.entries(LEAST) as [keyof Settings, number][]) {
    if (settings[key] < least) problems.push({ key, value: settings[key], remedy: `use at least ${least}` });
  }
  if (settings.pollMs < settings.pollInOperationMs) {
    problems.push({ key: "pollMs", value: settings.pollMs, remedy: "use at least pollInOperationMs" });
  }
  const used = settings.ttlMs / 3 + settings.pollMs + 2 * settings.pollTimeoutMs;
  if (used >= settings.ttlMs) {
    problems.push({
      key: "ttlMs",
      value: settings.ttlMs,
      remedy: `use more than ${Math.max(1_000, Math.ceil(((settings.pollMs + 2 * settings.pollTimeoutMs) * 3) / 2))}: a third of it, one poll, its timeout and one promise round must fit`,
    });
  }
  const longestMs = expiryWaitMs({ ttlMs: settings.ttlMs, fenceMs: MOST_FENCE_MS }, settings);
  if (longestMs > MOST_PROMISE_MS) {
    const most = Math.max(0, settings.ttlMs - (longestMs - MOST_PROMISE_MS));
    problems.push({
      key: "ttlMs",
      value: settings.ttlMs,
      remedy: `use at most ${most}: with the longest fence and the margin it is how long members are bound by a promise, ${MOST_PROMISE_MS} at most`,
    });
  }
  return problems;
}

/** The longest that a promise may bind, and so the longest wait for the end of a lease. */
export const MOST_PROMISE_MS = 3_600_000;

/** The longest that an agent may declare its fence to take. */
export const MOST_FENCE_MS = 60_000;

/** How long a coordinator waits after the last grant before it holds the lease for expired. */
export function expiryWaitMs(
  lease: { ttlMs: number; fenceMs: number; hasLeaseDoor?: boolean },
  settings: Settings,
): number {
  // A kernel door shuts with the lease: there is no fence to be waited for.
  const fenceMs = lease.hasLeaseDoor ? 0 : Math.max(lease.fenceMs, settings.fenceMs);
  return Math.max(lease.ttlMs, settings.ttlMs) + fenceMs + settings.marginMs;
}

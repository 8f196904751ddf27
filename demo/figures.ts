/** What a run is judged by, worked out from what the clients and the probe wrote down. Times are monotonic milliseconds. */

/** A write that a server acknowledged. */
export interface Ack {
  n: number;
  /** The port of the server that acknowledged it. */
  server: number;
  /** The timeline that the write went to: a promotion begins a new one. */
  timeline: number;
  sentAtMs: number;
  ackedAtMs: number;
}

/** A connection that ended in an error instead of an acknowledgement. */
export interface ClientError {
  n: number;
  openedAtMs: number;
  /** When the error came. */
  atMs: number;
  message: string;
}

/** One acknowledged write, with the reign that it went to. */
export interface ReignAck {
  /** Whoever acknowledged it: a member's name or its server's port. */
  member: string | number;
  timeline: number;
  sentAtMs: number;
  ackedAtMs: number;
}

/**
 * How long the writing client got nothing acknowledged: from the last acknowledgement before to the first by another
 * server than `oldServer`. Null while no other server has acknowledged anything.
 */
export function outageMs(acks: readonly Ack[], oldServer: number): number | null {
  const first = acks.filter(({ server }) => server !== oldServer).reduce(earliest, null);
  if (!first) return null;
  const last = acks.filter(({ ackedAtMs }) => ackedAtMs < first.ackedAtMs).reduce(latest, null);
  return last ? first.ackedAtMs - last.ackedAtMs : null;
}

/** The longest time without an acknowledgement from `sinceMs` to `untilMs`, for a client that goes on writing. */
export function longestGapMs(acks: readonly Ack[], { sinceMs, untilMs }: { sinceMs: number; untilMs: number }): number {
  const times = acks.map(({ ackedAtMs }) => ackedAtMs).filter((time) => time >= sinceMs && time <= untilMs);
  const moments = [...times, untilMs].toSorted((a, b) => a - b);
  return Math.max(0, ...moments.slice(1).map((moment, index) => moment - (moments[index] ?? moment)));
}

/** The acknowledged numbers that the table does not hold. */
export function lostNumbers(acks: readonly Ack[], present: ReadonlySet<number>): number[] {
  return acks.map(({ n }) => n).filter((n) => !present.has(n));
}

/** The errors of connections that were opened at or after `sinceMs`, and no later than `untilMs`. */
export function errorsOpened(
  errors: readonly ClientError[],
  { sinceMs, untilMs = Number.POSITIVE_INFINITY }: { sinceMs: number; untilMs?: number },
): ClientError[] {
  return errors.filter(({ openedAtMs }) => openedAtMs >= sinceMs && openedAtMs <= untilMs);
}

/** How often a client was cut off at or after `sinceMs`, whenever it had connected. */
export function cutsSince(errors: readonly ClientError[], sinceMs: number): number {
  return errors.filter(({ atMs }) => atMs >= sinceMs).length;
}

/** The writes of clients that know their servers by port. */
export function byServer(acks: readonly Ack[]): ReignAck[] {
  return acks.map(({ server, timeline, sentAtMs, ackedAtMs }) => ({ member: server, timeline, sentAtMs, ackedAtMs }));
}

/**
 * Writes acknowledged by one server after another had already acknowledged some in a later reign.
 *
 * A reign is told by what the servers themselves say, not by the coordinator: one member on one timeline. Of two
 * reigns the later one is the one whose first acknowledgement came later. An acknowledgement counts as wrong only when
 * its request was sent after that first one had arrived: what was in flight at that moment may have been earlier.
 */
export function dualWrites(acks: readonly ReignAck[]): ReignAck[] {
  const firsts = new Map<string, ReignAck>();
  for (const ack of acks) {
    const known = firsts.get(reignOf(ack));
    if (!known || ack.ackedAtMs < known.ackedAtMs) firsts.set(reignOf(ack), ack);
  }
  return acks.filter((ack) => {
    const own = firsts.get(reignOf(ack)) ?? ack;
    return [...firsts.values()].some(
      (other) => other.member !== ack.member && other.ackedAtMs > own.ackedAtMs && ack.sentAtMs > other.ackedAtMs,
    );
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Milliseconds, to a tenth. */
export function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}

function reignOf(ack: ReignAck): string {
  return `${ack.member} ${ack.timeline}`;
}

function earliest(found: Ack | null, ack: Ack): Ack {
  return found && found.ackedAtMs <= ack.ackedAtMs ? found : ack;
}

function latest(found: Ack | null, ack: Ack): Ack {
  return found && found.ackedAtMs >= ack.ackedAtMs ? found : ack;
}

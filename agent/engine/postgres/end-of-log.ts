/**
 * Where a server's log ends, from what the server says about itself.
 *
 * No SQL function tells a standby's timeline: the control file's lags until the next restart point, and the receiver's row
 * is gone when the stream ends. `IDENTIFY_SYSTEM` does, together with the log's end, read at one moment: on a primary the
 * flushed log; on a standby the timeline of the replay, and the received log where it is of that timeline, else the
 * replayed. Its one understatement: a standby that receives a new timeline before its replay has reached the fork.
 */
import { lsnBytes, type Lsn } from "#shared/domain/position.ts";

export interface LogPoint {
  timeline: number;
  lsn: Lsn;
}

/** What one probe reads. */
export interface LogFacts {
  inRecovery: boolean;
  /** From `IDENTIFY_SYSTEM`; null where the server grants no replication connection. */
  identified: LogPoint | null;
  /** A primary's flushed log. */
  current: LogPoint | null;
  /** A standby's: received since its start, replayed, and the newest timeline its control file knows. */
  received: Lsn | null;
  replayed: Lsn | null;
  controlTimeline: number;
  /** The receiver's row, while there is one. */
  stream: LogPoint | null;
  /** The wait event of a standby's startup process; null while it is at work. */
  startupWaitsFor: string | null;
}

/**
 * Whether a server has read its own log to the end since it started. A standby takes connections long before that, most of
 * all after a crash, and until then what it has replayed says nothing about what it has. Where somebody has paused the
 * replay it waits for ever: then what is replayed is all that can be known.
 */
export function hasReadItsLog({ inRecovery, received, startupWaitsFor }: LogFacts): boolean {
  if (!inRecovery || received !== null) return true;
  return startupWaitsFor === "RecoveryPause" || waitsAtTheEnd(startupWaitsFor);
}

/**
 * Whether nothing of what a server holds is left to be read: its end is then the end of the log, and no earlier place in
 * it. A standby whose replay was paused before its own log's end holds more than it says, also when it goes on; so does one
 * whose receiver has brought log of a later timeline than it replays, and of one that grants no replication connection
 * nothing is known. `hasReachedTheEnd`: it was seen to wait there before, since it was connected to.
 */
export function isLogWhole(facts: LogFacts, end: LogPoint | null, hasReachedTheEnd = false): boolean {
  const { inRecovery, received, startupWaitsFor, identified } = facts;
  if (end === null || !inRecovery) return end !== null;
  if (identified === null) return false;
  return received === null ? hasReachedTheEnd || waitsAtTheEnd(startupWaitsFor) : !isPast(received, end.lsn);
}

/** Whether a startup process has come to the end of what there is, and waits for more. */
export function waitsAtTheEnd(startupWaitsFor: string | null): boolean {
  return startupWaitsFor === "RecoveryRetrieveRetryInterval" || startupWaitsFor === "RecoveryWalStream";
}

/** The end of the log; null when the server cannot say. */
export function endOfLog(facts: LogFacts): LogPoint | null {
  if (!facts.inRecovery) return facts.current ?? facts.identified;
  const known = facts.identified ?? withoutIdentification(facts);
  const { stream } = facts;
  // The stream's log joins the local one without a gap, so its end is ours also before the replay has changed timelines.
  if (stream && (!known || (stream.timeline > known.timeline && isPast(stream.lsn, known.lsn)))) return stream;
  return known;
}

function withoutIdentification({ received, replayed, controlTimeline, stream }: LogFacts): LogPoint | null {
  const lsn = received && replayed && isPast(received, replayed) ? received : (replayed ?? received);
  return lsn ? { timeline: Math.max(controlTimeline, stream?.timeline ?? 0), lsn } : null;
}

function isPast(a: Lsn, b: Lsn): boolean {
  return lsnBytes(a) > lsnBytes(b);
}

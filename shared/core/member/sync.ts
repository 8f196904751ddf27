/**
 * The sync set of this member's server (SPEC: SYNC). A replica is told one as well: should it be promoted, nobody's write
 * is acknowledged by a server that has not heard yet whom to wait for.
 *
 * A set is on disk before the server hears of it, and an older one is never gone back to: writes may have been
 * acknowledged under the newer one, and under the older one that nobody counts any more they must not be.
 */
import type { Reply } from "../../domain/messages.ts";
import { type MemberEvent, type MemberState, NO_SYNC } from "./state.ts";
import { beFounded, pollNow, setDurable, startTask, type Work } from "./work.ts";

/** A checkpoint is part of it, and one of a busy server takes its time. */
const SYNC_DEADLINE_MS = 120_000;

/** Whether the running server goes by the newest set that was told. */
export function isSynced({ durable, live }: Pick<MemberState, "durable" | "live">): boolean {
  return durable.syncSet.version > 0 && live.sync.applied === durable.syncSet.version;
}

/** Takes a newer set from a reply. */
export function hearSync(work: Work, { sync }: Reply): void {
  if (sync === null || sync.version <= work.durable.syncSet.version) return;
  setDurable(work, { syncSet: sync });
  work.live = { ...work.live, sync: NO_SYNC };
  bringToSync(work);
}

/** Has the running server go by the set that was told, unless it does or is about to. */
export function bringToSync(work: Work): void {
  foundByMembership(work);
  const { durable, live, phase } = work;
  const isUp = live.view.report.state === "running";
  if (!isUp && (live.sync.applied > 0 || live.sync.taskId !== null)) work.live = { ...live, sync: NO_SYNC };
  const isOurs = durable.founded && phase.kind !== "observing" && phase.kind !== "fencing" && !durable.isDamaged;
  if (!isUp || !isOurs || durable.syncSet.version === 0 || isSynced(work) || live.sync.taskId !== null) return;
  const taskId = startTask(work, { kind: "sync", set: durable.syncSet, deadlineMs: SYNC_DEADLINE_MS });
  work.live = { ...work.live, sync: { applied: 0, taskId } };
}

/** Only members of a founded dataservice are told a set: its read-only server is founded by it, as soon as it runs. */
function foundByMembership(work: Work): void {
  const { report } = work.live.view;
  if (work.phase.kind !== "observing" || work.durable.syncSet.version === 0) return;
  if (report.state === "running" && report.inRecovery) beFounded(work);
}

/** The end of such a task; false when the task is none. One that failed is tried again with the next observation. */
export function finishSync(work: Work, { taskId, outcome }: Extract<MemberEvent, { kind: "finished" }>): boolean {
  if (work.live.sync.taskId !== taskId) return false;
  const applied = outcome.ok ? work.durable.syncSet.version : 0;
  work.live = { ...work.live, sync: { applied, taskId: null } };
  work.reasons.push({ kind: "task-ended", task: "sync", ok: outcome.ok, code: outcome.ok ? "" : outcome.code });
  if (outcome.ok) pollNow(work, false);
  return true;
}

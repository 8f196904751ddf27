/**
 * A member whose log is shorter than it was: its data directory was put back to an older copy, under the same agent's
 * state (SPEC: ID-14).
 *
 * What a server has flushed it never loses by itself. So each member's furthest place is remembered, by its agent on the
 * host's disk and here for as long as this incarnation lives, and a log that ends before it lacks what the member may have
 * acknowledged. Until that is there again nobody is elected on such a log and no read quorum is made of it; and what was
 * acknowledged before counts no more even then, because the mark is only as new as the last poll.
 */
import { isOperatorsWord } from "../../domain/datasource.ts";
import type { LogPoint, Poll } from "../../domain/messages.ts";
import type { MemberName } from "../../domain/names.ts";
import { furthest, hasReached, type Position } from "../../domain/position.ts";
import { isRestoring } from "./restoring.ts";
import type { ClusterState, PhaseOf } from "./state.ts";
import { type Work, because, identity, member, nextOp, setHost, setIdentity, setPhase, setState } from "./work.ts";

/** Takes in how far the log of an admitted poll reaches; `before` is what was known of the same data directory. */
export function noteFurthest(work: Work, { host, server }: Poll, before: Position | null): void {
  if (!server || server.isDamaged || work.durable.phase.kind === "founding") return;
  const { position, report } = server;
  const said = server.furthest === null ? before : furthest(before, server.furthest);
  // What a dead server has left was not all flushed: it may end with its host.
  const mark = position === null || report.state === "stopped" ? said : furthest(said, position);
  setHost(work, host, { furthest: mark });
  if (position === null) return;
  const { lost } = identity(work, host);
  if (lost !== null && hasReached(position, lost)) return regain(work, host, { had: lost, has: position });
  // A server that has not read all it has may yet turn out to have it.
  const isShort = mark !== null && !hasReached(position, mark);
  if (isShort && lost === null && server.isWhole) lose(work, host, { had: mark, has: position });
}

/** Why nobody may be elected on the log of this member now; null when nothing is known against it. */
export function logTrouble({ durable, live }: ClusterState, name: MemberName): "log-lost" | "log-unread" | null {
  if (hasLostLog({ durable }, name)) return "log-lost";
  const host = live.hosts[name];
  const position = host?.poll.server?.position;
  return host?.furthest && position && !hasReached(position, host.furthest) ? "log-unread" : null;
}

/** Whether a member lacks log that it was seen to have. */
export function hasLostLog({ durable }: Pick<ClusterState, "durable">, name: MemberName): boolean {
  return (durable.identities[name]?.lost ?? null) !== null;
}

interface Ends {
  had: Position;
  has: Position;
}

function lose(work: Work, name: MemberName, { had, has }: Ends): void {
  const { losses } = identity(work, name);
  setIdentity(work, name, { lost: had, losses: losses + 1, lostEpoch: work.durable.epoch });
  because(work, { kind: "log-lost", member: name, had: pointOf(had), has: pointOf(has) });
  markLast(work, name);
}

function regain(work: Work, name: MemberName, { had, has }: Ends): void {
  setIdentity(work, name, { lost: null });
  because(work, { kind: "log-regained", member: name, had: pointOf(had), has: pointOf(has) });
}

/** Of the last primary nobody else says what it is called now; a replica's state is observed. */
function markLast(work: Work, name: MemberName): void {
  const { phase, policy } = work.durable;
  if ((phase.kind !== "collecting" && phase.kind !== "vacant") || phase.deposed !== name) return;
  const { reason } = member(work, name);
  const isOut = isOperatorsWord(reason) || reason.kind === "failed-over-to";
  if (policy !== "maintenance" && !isOut && !isRestoring(work)) setState(work, name, "shunned", { kind: "log-lost" });
}

/** Nobody reigns on a log that is shorter than what it may have acknowledged, whoever opened it. */
export function deposeOlder(work: Work, { primary, epoch }: PhaseOf<"reigning">): void {
  const op = nextOp(work);
  because(work, { kind: "primary-fencing", op, epoch, member: primary, cause: "log-lost" });
  setPhase(work, { kind: "deposing", epoch, primary, op, cause: "log-lost" });
}

function pointOf({ timeline, lsn }: Position): LogPoint {
  return { timeline, lsn };
}

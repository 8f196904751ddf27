/**
 * The transcript of an operation, in the words that operators of Tungsten's console know. It is made when it is read,
 * from typed reasons: nothing is ever decided upon prose.
 */
import type { Durability, Role, State } from "../domain/datasource.ts";
import type { LogPoint } from "../domain/messages.ts";
import type { HostName, MemberName } from "../domain/names.ts";
import { lsnBytes, type Lsn } from "../domain/position.ts";
import type { OperationStatus } from "./api.ts";

/** The reasons that a transcript words. Whatever else an operation noted stays in the event log. */
export type ToldReason =
  | { kind: "founded"; primary: MemberName; how: "adopt" | "promote" }
  | { kind: "datasource-set"; member: MemberName; to: State }
  | { kind: "operation-locked" | "operation-unlocked"; policy: string }
  | { kind: "savepoint-created"; op: number; operation: string; wallMs: number }
  | { kind: "failover-started"; deposed: MemberName; cause: string }
  | { kind: "primary-fencing"; member: MemberName; cause: string }
  | { kind: "upstream-asked"; member: MemberName; answer: string }
  | { kind: "candidate-position"; member: MemberName; lsn: Lsn; applied: number | null; latencyMs: number | null }
  | { kind: "candidate-passed-over"; member: MemberName; why: string }
  | { kind: "candidate-chosen" | "replicator-frozen" | "most-advanced"; member: MemberName }
  | { kind: "tail-fetching" | "tail-salvaged" | "tail-lost"; member: MemberName; bytes: number }
  | { kind: "possible-loss"; member: MemberName; bytes: number }
  | { kind: "read-quorum-awaited"; missing: MemberName[] }
  | { kind: "read-quorum-overridden"; member: MemberName; missing: MemberName[] }
  | { kind: "durability-changing"; from: Durability; to: Durability; k: number }
  | { kind: "durability-changed"; to: Durability }
  | { kind: "durability-unchanged"; code: string }
  | { kind: "durability-awaited"; to: Durability; code: string }
  | { kind: "sync-set-told"; member: MemberName; k: number; members: MemberName[] }
  | { kind: "sync-set-taken"; member: MemberName }
  | { kind: "catching-up"; member: MemberName; upstream: MemberName }
  | { kind: "connectors-holding"; waitedFor: HostName[] }
  | { kind: "sessions-purging" | "transactions-flushing"; member: MemberName }
  | { kind: "sessions-purged"; member: MemberName; count: number }
  | { kind: "replicator-awaited" | "replicator-degraded"; member: MemberName }
  | { kind: "primary-opened"; member: MemberName }
  | { kind: "failover-completed"; member: MemberName; deposed: MemberName }
  | { kind: "failover-aborted"; deposed: MemberName; code: string; members: MemberName[] }
  | { kind: "prior-primary-returning" | "prior-primary-not-back" | "switch-completed"; member: MemberName }
  | { kind: "switch-rolled-back"; member: MemberName; step: string; code: string }
  | { kind: "service-recovering" | "no-active-primary" }
  | { kind: "service-recovered"; count: number }
  | { kind: "recovery-found" | "recovery-started" | "recovery-verifying" | "recovery-verified"; member: MemberName }
  | { kind: "recovery-rebuilding"; member: MemberName; fork: LogPoint; end: Lsn; bytes: number }
  | { kind: "recovery-rebuilt"; member: MemberName; how: string }
  | { kind: "recovery-using"; member: MemberName; primary: MemberName }
  | { kind: "role-changed"; member: MemberName; from: Role; to: Role }
  | { kind: "recovery-completed"; member: MemberName }
  | { kind: "recovery-failed"; member: MemberName; code: string; detail: string }
  | { kind: "command-result"; member: MemberName; id: string; outcome: string; code: string; detail: string };

/** What the words depend on besides the reasons: whose operation it is, and of which kind. */
export interface TranscriptContext {
  dataservice: string;
  /** The coordinator's name, which stands where other consoles name the host that coordinates. */
  coordinator: string;
  operation: OperationStatus["kind"];
}

/** What was told before in the same transcript and decides how the next reason is worded. */
interface Telling extends TranscriptContext {
  /** An operator's operation has said whom it is about: what everybody knows is not told again. */
  isLocked: boolean;
  /** The newest succession: whose, and why. */
  deposed: MemberName | null;
  cause: string | null;
}

/** The told reasons of kind `K`: some of them share a shape. */
type ToldOf<K, R = ToldReason> = R extends { kind: infer Kinds } ? (K extends Kinds ? R : never) : never;

type Words = { [K in ToldReason["kind"]]: (reason: ToldOf<K>, telling: Telling) => string[] };

const WORDS: Words = {
  founded: ({ primary, how }, { dataservice: s }) => [
    how === "adopt" ? `ADOPT THE SERVING MASTER '${primary}@${s}'` : `PROMOTE THE FIRST MASTER '${primary}@${s}'`,
  ],
  "datasource-set": ({ member, to }, telling) => [datasourceSet(member, to, telling)],
  "operation-locked": ({ policy }) => [`SET POLICY: ${policy.toUpperCase()} => MAINTENANCE`],
  "operation-unlocked": ({ policy }) => [`REVERT POLICY: MAINTENANCE => ${policy.toUpperCase()}`],
  "savepoint-created": ({ op, operation, wallMs }, { dataservice: s, coordinator }) => [
    `Savepoint ${operation}_${op}(cluster=${s}, source=${coordinator}, created=${savepointTime(wallMs)}) created`,
  ],
  "failover-started": (reason, telling) => failoverStarted(reason, telling),
  // An operator's own word has said it already.
  "primary-fencing": ({ member, cause }, { dataservice: s }) =>
    cause.startsWith("operator-") ? [] : [`FENCING '${member}@${s}': ${spelled(cause)}`],
  "upstream-asked": ({ member, answer }, { dataservice: s }) => [
    answer === "writable"
      ? `'${member}@${s}' HEARS A PREVIOUS MASTER THAT STILL ACCEPTS WRITES`
      : `'${member}@${s}' HEARS NO PREVIOUS MASTER THAT ACCEPTS WRITES: ${spelled(answer)}`,
  ],
  "candidate-position": ({ member, lsn, applied, latencyMs }) => {
    const latency = latencyMs === null ? "-1.000" : (latencyMs / 1_000).toFixed(3);
    const progress = `stored=${lsnBytes(lsn)}, applied=${applied ?? -1}, latency=${latency}`;
    return [`EVALUATING SLAVE: ${member}(${progress}, datasource-group-id=0)`];
  },
  "candidate-passed-over": ({ member, why }, { isLocked, deposed, cause }) => {
    // In a switch the target is settled, and in an operator's failover everybody knows who has failed.
    const isKnown = cause === "switch" || (isLocked && member === deposed);
    return isKnown ? [] : [`PASSED OVER: ${member}(${spelled(why)})`];
  },
  "candidate-chosen": ({ member }, { dataservice: s }) => [`SELECTED SLAVE: ${member}@${s}`],
  "replicator-frozen": ({ member }) => [`Replicator '${member}' is now OFFLINE`],
  "most-advanced": () => ["THIS IS THE MOST UPTODATE SLAVE. NO ACTION IS NEEDED."],
  "possible-loss": ({ member, bytes }, { dataservice: s }) => [
    `'${member}@${s}' LACKS ${bytes} BYTES OF THE PREVIOUS MASTER'S LOG`,
  ],
  "read-quorum-awaited": ({ missing }) => [
    `WAITING FOR WHO MAY HAVE ACKNOWLEDGED THE LAST WRITES: ${missing.join(", ")}`,
  ],
  "read-quorum-overridden": ({ member, missing }, { dataservice: s }) => [
    `'${member}@${s}' IS TAKEN AS IT IS. WRITES ACKNOWLEDGED BY ${missing.join(", ")} MAY BE LOST`,
  ],
  "durability-changing": ({ from, to, k }) => [
    `SET DURABILITY: ${from.toUpperCase()} => ${to.toUpperCase()}${to === "sync" ? `, ${k} TO ACKNOWLEDGE` : ""}`,
  ],
  "durability-changed": ({ to }, { dataservice: s }) => [
    to === "sync"
      ? `'${s}' IS SYNCHRONOUS: WHAT IS ACKNOWLEDGED FROM NOW ON OUTLIVES ITS MASTER`
      : `'${s}' IS ASYNCHRONOUS: NO COMMIT WAITS FOR A SLAVE`,
  ],
  "durability-unchanged": ({ code }, { dataservice: s }) => [`'${s}' IS STILL ASYNCHRONOUS: ${spelled(code)}`],
  "durability-awaited": ({ to, code }, { dataservice: s }) => [
    `'${s}' IS ${to === "sync" ? "SYNCHRONOUS" : "ASYNCHRONOUS"}; NOT EVERY SERVER GOES BY IT YET, AND WILL BY ITSELF: ${spelled(code)}`,
  ],
  "sync-set-told": ({ member, k, members }, { dataservice: s }) => [
    k === 0
      ? `'${member}@${s}' IS TOLD TO WAIT FOR NOBODY`
      : `'${member}@${s}' IS TOLD TO WAIT FOR ${k} OF: ${members.join(", ")}`,
  ],
  "sync-set-taken": ({ member }, { dataservice: s }) => [`ALL OF '${member}@${s}' GOES BY IT`],
  "tail-fetching": ({ member, bytes }, { dataservice: s }) => [
    `'${member}@${s}' FETCHES ${bytes} BYTES OF LOG FROM THE DISK OF THE PREVIOUS MASTER`,
  ],
  "tail-salvaged": ({ member, bytes }, { dataservice: s }) => [
    `'${member}@${s}' HAS ${bytes} BYTES OF LOG FROM THE DISK OF THE PREVIOUS MASTER`,
  ],
  "tail-lost": ({ member, bytes }, { dataservice: s }) => [
    `'${member}@${s}' GOES ON WITHOUT ${bytes} BYTES OF LOG THAT ARE ON THE DISK OF THE PREVIOUS MASTER`,
  ],
  "catching-up": ({ member, upstream }, { dataservice: s }) => [
    `'${member}@${s}' FIRST CATCHES UP FROM '${upstream}@${s}', WHICH IS MORE ADVANCED`,
  ],
  "connectors-holding": ({ waitedFor }) => [`NEW CONNECTIONS DO NOT WAIT YET ON: ${waitedFor.join(", ")}`],
  "sessions-purging": ({ member }, { dataservice: s }) => [
    `PURGE REMAINING ACTIVE SESSIONS ON CURRENT MASTER '${member}@${s}'`,
  ],
  "sessions-purged": ({ member, count }, { dataservice: s }) => [
    `PURGED A TOTAL OF ${count} ACTIVE SESSIONS ON MASTER '${member}@${s}'`,
  ],
  "transactions-flushing": ({ member }, { dataservice: s }) => [
    `FLUSH TRANSACTIONS ON CURRENT MASTER '${member}@${s}'`,
  ],
  "replicator-awaited": ({ member }) => [`WAITING FOR REPLICATOR '${member}' TO REACH STATE DEGRADED`],
  "replicator-degraded": ({ member }) => [`Replicator '${member}' is now in DEGRADED state`],
  "primary-opened": ({ member }, { dataservice: s, deposed }) => [
    member === deposed ? `PUT THE MASTER '${member}@${s}' ONLINE AGAIN` : `PUT THE NEW MASTER '${member}@${s}' ONLINE`,
  ],
  "failover-completed": ({ member, deposed }, { dataservice: s }) => [
    `SHUNNING PREVIOUS MASTER '${deposed}@${s}'`,
    `PUT THE NEW MASTER '${member}@${s}' ONLINE`,
    `FAILOVER TO '${member}' WAS COMPLETED`,
  ],
  "failover-aborted": ({ deposed, code, members }, { dataservice: s }) => [
    `FAILOVER OF '${deposed}@${s}' WAS ABORTED: ${[spelled(code), ...members].join(", ")}`,
  ],
  "prior-primary-returning": ({ member }, { dataservice: s }) => [
    `PUT THE PRIOR MASTER '${member}@${s}' ONLINE AS A SLAVE`,
  ],
  "prior-primary-not-back": ({ member }, { dataservice: s }) => [
    `THE PRIOR MASTER '${member}@${s}' IS NOT BACK AS A SLAVE YET. IF IT STAYS AWAY: datasource ${member} recover`,
  ],
  "switch-completed": ({ member }, { dataservice: s }) => [`SWITCH TO '${member}@${s}' WAS SUCCESSFUL`],
  "switch-rolled-back": (reason, telling) => [rolledBack(reason, telling)],
  "service-recovering": (_, { dataservice: s }) => [`RECOVERING DATASERVICE '${s}'`],
  "no-active-primary": (_, { dataservice: s }) => [`DATA SERVICE '${s}' DOES NOT HAVE AN ACTIVE PRIMARY`],
  "service-recovered": ({ count }, { dataservice: s }) => [`RECOVERED ${count} DATA SOURCES IN SERVICE '${s}'`],
  "recovery-found": ({ member }, { dataservice: s }) => [`FOUND PHYSICAL DATASOURCE TO RECOVER: '${member}@${s}'`],
  "recovery-started": ({ member }, { dataservice: s }) => [`RECOVERING DATASOURCE '${member}@${s}'`],
  "recovery-verifying": ({ member }) => [`VERIFYING THAT WE CAN CONNECT TO DATA SERVER '${member}'`],
  "recovery-verified": ({ member }) => [
    `Verified that DB server notification '${member}' is in state 'ONLINE'`,
    `DATA SERVER '${member}' IS NOW AVAILABLE FOR CONNECTIONS`,
  ],
  "recovery-rebuilding": ({ member, fork, end, bytes }, { dataservice: s }) => [
    `'${member}@${s}' LEFT THE MASTER'S LOG AT ${fork.lsn} OF TIMELINE ${fork.timeline}: ${bytes} BYTES UP TO ${end} ARE ITS OWN`,
    `REBUILDING '${member}@${s}'. WHAT IS ITS OWN IS KEPT ASIDE FIRST`,
  ],
  "recovery-rebuilt": ({ member, how }, { dataservice: s }) => [
    `REBUILT '${member}@${s}'${how === "" ? "" : `: ${how}`}`,
  ],
  "recovery-using": ({ member, primary }, { dataservice: s }) => [
    `RECOVERING '${member}@${s}' TO A SLAVE USING '${primary}@${s}' AS THE MASTER`,
  ],
  "role-changed": ({ member, from, to }, { dataservice: s }) => [
    `SETTING THE ROLE OF DATASOURCE '${member}@${s}' FROM '${ROLES[from]}' TO '${ROLES[to]}'`,
  ],
  "recovery-completed": ({ member }, { dataservice: s }) => [`RECOVERY OF '${member}@${s}' WAS SUCCESSFUL`],
  "recovery-failed": ({ member, code, detail }, { dataservice: s }) => [
    `RECOVERY OF '${member}@${s}' FAILED: ${spelled(code)}${detail === "" ? "" : `, ${detail}`}`,
    ...(Object.hasOwn(RECOVERY_REMEDIES, code) ? [`  ${RECOVERY_REMEDIES[code]}`] : []),
  ],
  "command-result": ({ member, id, outcome, code, detail }, { dataservice: s }) => [
    `COMMAND ${id} ON '${member}@${s}': ${[spelled(outcome), code, detail].filter((word) => word !== "").join(", ")}`,
  ],
};

/** What an operator can do about a member that was not recovered; where it is missing, the detail says it. */
const RECOVERY_REMEDIES: Record<string, string> = {
  "manager-stopped": "start its agent, then recover it again",
  "server-does-not-start": "its server's log says why",
  "rebuild-refused": `allow it with rebuild = "rewind" or "clone" in its agent's configuration, or rebuild the server by hand`,
  "rebuild-failed": "its data directory is worth nothing now: recover it again, or clone it by hand",
  "not-in-time": "recover it again; the setting recoverMs bounds each step",
};

const ROLES: Record<Role, string> = { primary: "master", replica: "slave" };

/** The transcript of one operation's reasons, in their order. It grows at its end only, so that a reader may follow it. */
export function transcriptOf(reasons: readonly { kind: string }[], context: TranscriptContext): string[] {
  let telling: Telling = { ...context, isLocked: false, deposed: null, cause: null };
  return reasons.filter(isTold).flatMap((reason, index, told) => {
    // A completed failover tells the opening itself, after the shunning, as operators' scripts expect it.
    const isTwice = reason.kind === "primary-opened" && told[index + 1]?.kind === "failover-completed";
    const lines = isTwice ? [] : linesOf(reason, telling);
    telling = tellingAfter(telling, reason);
    return lines;
  });
}

/** Each function of WORDS takes the reasons of its own key, which the compiler cannot correlate. */
function linesOf(reason: ToldReason, telling: Telling): string[] {
  return (WORDS[reason.kind] as (reason: ToldReason, telling: Telling) => string[])(reason, telling);
}

function tellingAfter(telling: Telling, reason: ToldReason): Telling {
  if (reason.kind === "operation-locked") return { ...telling, isLocked: true };
  if (reason.kind !== "failover-started") return telling;
  return { ...telling, deposed: reason.deposed, cause: reason.cause };
}

function isTold(reason: { kind: string }): reason is ToldReason {
  return Object.hasOwn(WORDS, reason.kind);
}

/** Failing is told with the dataservice's name, shunning and a recovery without it: scripts wait for either as it always was. */
function datasourceSet(member: MemberName, to: State, { dataservice, operation }: Telling): string {
  const isRecovery = operation === "recover" || operation === "datasource-recover";
  const name = to === "shunned" || isRecovery ? member : `${member}@${dataservice}`;
  const isMarked = to === "failed" || to === "shunned";
  return `DataSource '${name}' ${isMarked ? "set to" : "is now"} ${to.toUpperCase()}`;
}

function failoverStarted(
  { deposed, cause }: Extract<ToldReason, { kind: "failover-started" }>,
  { dataservice: s, isLocked }: Telling,
): string[] {
  switch (cause) {
    case "switch":
    case "switch-undone":
      return [];
    case "operator-asserted":
      return [`'${deposed}@${s}' IS DEAD BY THE OPERATOR'S WORD: NO PROOF IS WAITED FOR`];
    case "operator-restart":
      return [`REOPENING MASTER '${deposed}@${s}'`];
    default:
      return isLocked ? [] : [`FAILOVER OF MASTER '${deposed}@${s}': ${spelled(cause)}`];
  }
}

/** Where the switch was, what stood in its way, and who is the master now. */
function rolledBack(
  { member, step, code }: Extract<ToldReason, { kind: "switch-rolled-back" }>,
  { dataservice: s }: Telling,
): string {
  const why = `THE SWITCH WAS ROLLED BACK WHILE ${step.toUpperCase()}: ${spelled(code)}`;
  if (code === "primary-lost") return `${why}. THE MASTER '${member}@${s}' HAS FAILED MEANWHILE`;
  const isStopped = step === "stopping";
  return `${why}. '${member}@${s}' ${isStopped ? "IS MADE THE MASTER AGAIN" : "IS STILL THE MASTER"}`;
}

/** `2025/01/27 13:54:48 UTC` */
function savepointTime(wallMs: number): string {
  const [date = "", time = ""] = new Date(wallMs).toISOString().split("T");
  return `${date.replaceAll("-", "/")} ${time.slice(0, 8)} UTC`;
}

/** A stable word as a transcript spells it: `agent-silent` is AGENT SILENT. */
function spelled(word: string): string {
  return word.replaceAll("-", " ").toUpperCase();
}

/**
 * The transcript of an operation, in the words that operators of Tungsten's console know. It is made when it is read,
 * from typed reasons: nothing is ever decided upon prose.
 */
import type { MemberName } from "../domain/names.ts";
import { lsnBytes, type Lsn } from "../domain/position.ts";

/** The reasons that a transcript words. Whatever else an operation noted stays in the event log. */
export type ToldReason =
  | { kind: "founded"; primary: MemberName; how: "adopt" | "promote" }
  | { kind: "failover-started"; deposed: MemberName; cause: string }
  | { kind: "primary-fencing"; member: MemberName }
  | { kind: "candidate-position"; member: MemberName; lsn: Lsn; applied: number | null; latencyMs: number | null }
  | { kind: "candidate-passed-over"; member: MemberName; why: string }
  | { kind: "candidate-chosen"; member: MemberName }
  | { kind: "possible-loss"; member: MemberName; bytes: number }
  | { kind: "primary-opened"; member: MemberName }
  | { kind: "failover-completed"; member: MemberName; deposed: MemberName }
  | { kind: "failover-aborted"; deposed: MemberName; code: string; members: MemberName[] }
  | { kind: "command-result"; member: MemberName; id: string; outcome: string; code: string; detail: string };

type Words = { [K in ToldReason["kind"]]: (reason: Extract<ToldReason, { kind: K }>, dataservice: string) => string[] };

const WORDS: Words = {
  founded: ({ primary, how }, s) => [
    how === "adopt" ? `ADOPT THE SERVING MASTER '${primary}@${s}'` : `PROMOTE THE FIRST MASTER '${primary}@${s}'`,
  ],
  "failover-started": ({ deposed, cause }, s) => [`FAILOVER OF MASTER '${deposed}@${s}': ${spelled(cause)}`],
  "primary-fencing": ({ member }, s) => [`PURGE REMAINING ACTIVE SESSIONS ON CURRENT MASTER '${member}@${s}'`],
  "candidate-position": ({ member, lsn, applied, latencyMs }) => {
    const latency = latencyMs === null ? "-1.000" : (latencyMs / 1_000).toFixed(3);
    const progress = `stored=${lsnBytes(lsn)}, applied=${applied ?? -1}, latency=${latency}`;
    return [`EVALUATING SLAVE: ${member}(${progress}, datasource-group-id=0)`];
  },
  "candidate-passed-over": ({ member, why }) => [`PASSED OVER: ${member}(${spelled(why)})`],
  "candidate-chosen": ({ member }, s) => [`SELECTED SLAVE: ${member}@${s}`],
  "possible-loss": ({ member, bytes }, s) => [`'${member}@${s}' LACKS ${bytes} BYTES OF THE PREVIOUS MASTER'S LOG`],
  "primary-opened": ({ member }, s) => [`PUT THE NEW MASTER '${member}@${s}' ONLINE`],
  "failover-completed": ({ member, deposed }, s) => [
    `SHUNNING PREVIOUS MASTER '${deposed}@${s}'`,
    `PUT THE NEW MASTER '${member}@${s}' ONLINE`,
    `FAILOVER TO '${member}' WAS COMPLETED`,
  ],
  "failover-aborted": ({ deposed, code, members }, s) => [
    `FAILOVER OF '${deposed}@${s}' WAS ABORTED: ${[spelled(code), ...members].join(", ")}`,
  ],
  "command-result": ({ member, id, outcome, code, detail }, s) => [
    `COMMAND ${id} ON '${member}@${s}': ${[spelled(outcome), code, detail].filter((word) => word !== "").join(", ")}`,
  ],
};

/** The lines that one reason gives; none for a reason that only the event log tells. */
export function transcriptLines(reason: { kind: string }, dataservice: string): string[] {
  if (!isTold(reason)) return [];
  // Each function of WORDS takes the reasons of its own key, which the compiler cannot correlate.
  return (WORDS[reason.kind] as (reason: ToldReason, dataservice: string) => string[])(reason, dataservice);
}

/** The transcript of one operation's reasons, in their order. */
export function transcriptOf(reasons: readonly { kind: string }[], dataservice: string): string[] {
  return reasons.flatMap((reason, index) => {
    // A completed failover tells the opening itself, after the shunning, as operators' scripts expect it.
    const isTwice = reason.kind === "primary-opened" && reasons[index + 1]?.kind === "failover-completed";
    return isTwice ? [] : transcriptLines(reason, dataservice);
  });
}

function isTold(reason: { kind: string }): reason is ToldReason {
  return Object.hasOwn(WORDS, reason.kind);
}

/** A stable word as a transcript spells it: `agent-silent` is AGENT SILENT. */
function spelled(word: string): string {
  return word.replaceAll("-", " ").toUpperCase();
}

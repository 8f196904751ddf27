/** What people are told of the coordinator's answers: every kind of trouble once in each outage, not with every poll. */
import type { Logger } from "pino";
import type { PollOutcome } from "./coordinator-client.ts";
import { UNREACHABLE } from "./unreachable.ts";

/** An outage ends with the first reply; whatever goes wrong again afterwards is told again. */
export function tellOutcomes(log: Pick<Logger, "info" | "warn" | "error">): (outcome: PollOutcome) => void {
  const told = new Set<string>();
  let isAnswered = false;
  return (outcome) => {
    if (outcome.kind === "reply") {
      if (!isAnswered) log.info("coordinator answers");
      isAnswered = true;
      return told.clear();
    }
    isAnswered = false;
    const what = outcome.kind === "problem" ? `problem ${outcome.code}` : outcome.cause;
    if (told.has(what)) return;
    told.add(what);
    if (outcome.kind === "problem") {
      const { code, status, detail } = outcome;
      return log.error({ code, status, detail }, "coordinator refuses");
    }
    const { cause, detail } = outcome;
    const { means, remedy } = UNREACHABLE[cause];
    log.warn({ cause, detail, remedy }, `coordinator unreachable: ${means}`);
  };
}

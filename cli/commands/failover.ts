import { usageFailure } from "../failure.ts";
import { followOperation } from "../follow.ts";
import { confirmExpert } from "../guard.ts";
import { clientOf, serviceOf } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { parseName } from "./operands.ts";

/** The unplanned change of the primary, by hand. */
export const FAILOVER: CommandSpec = {
  ...ORDINARY,
  name: "failover",
  operands: "[to MEMBER]",
  summary: "promote a replica in place of a FAILED primary",
  details: [
    "Without a target the most advanced eligible replica is promoted; a named one must be eligible too.",
    "Follows the operation and prints its transcript as it happens; the operation goes on when this console dies.",
  ],
  isExpert: true,
  next: (before, members) => (before.length === 0 ? ["to"] : before.length === 1 && before[0] === "to" ? members : []),
  run: async (call, session) => {
    const to = parseTarget(call);
    await confirmExpert(session, "failover");
    const accepted = await clientOf(session).command(serviceOf(session), {
      command: "failover",
      ...(to === null ? {} : { to }),
    });
    await followOperation(session, accepted);
  },
};

function parseTarget({ operands }: Call): string | null {
  if (operands.length === 0) return null;
  const [to, member] = operands;
  if (operands.length !== 2 || to !== "to" || member === undefined) {
    throw usageFailure(`'${operands.join(" ")}' is not understood after 'failover'`, usageOf(FAILOVER));
  }
  return parseName(member, "the member");
}

import { usageFailure } from "../failure.ts";
import { followOperation } from "../follow.ts";
import { confirmExpert } from "../guard.ts";
import { clientOf, serviceOf } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { parseName } from "./operands.ts";
import { notCarried } from "./unsupported.ts";

/** What an operator may do to one datasource. */
export const DATASOURCE: CommandSpec = {
  ...ORDINARY,
  name: "datasource",
  operands: "MEMBER fail",
  summary: "mark a datasource FAILED; the primary's failure starts a failover in AUTOMATIC",
  details: ["What an operator failed stays FAILED until the operator says otherwise."],
  isExpert: true,
  next: (before, members) => (before.length === 0 ? members : before.length === 1 ? ["fail"] : []),
  run: async (call, session) => {
    const member = parseFail(call);
    await confirmExpert(session, `datasource ${member} fail`);
    const service = serviceOf(session);
    const accepted = await clientOf(session).command(service, { command: "datasource-fail", member });
    const ended = await followOperation(session, accepted);
    const done = `DataSource '${member}@${service}' set to FAILED`;
    if (!session.json && !ended.transcript.includes(done)) session.screen.write(`${done}\n`);
  },
};

function parseFail({ operands }: Call): string {
  const [member, action] = operands;
  if (member === undefined || action === undefined)
    throw usageFailure("datasource wants a member and what to do with it", usageOf(DATASOURCE));
  if (action !== "fail")
    throw (
      notCarried(`datasource ${action}`) ??
      usageFailure(`'${action}' is not understood after 'datasource ${member}'`, usageOf(DATASOURCE))
    );
  if (operands.length > 2)
    throw usageFailure(`'${operands[2]}' is not understood after 'datasource ${member} fail'`, usageOf(DATASOURCE));
  return parseName(member, "the member");
}

import { failure, usageFailure } from "../failure.ts";
import { carryOut, FORCE, forceOf } from "../order.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { parseName } from "./operands.ts";
import { notCarried } from "./unsupported.ts";

/** What may be done to a datasource, and what force means to it. */
const ACTIONS = {
  fail: { isExpert: true, isForceable: false },
  shun: { isExpert: false, isForceable: true },
  welcome: { isExpert: true, isForceable: true },
  online: { isExpert: false, isForceable: false },
  offline: { isExpert: false, isForceable: true },
  recover: { isExpert: false, isForceable: true },
} as const;

type Action = keyof typeof ACTIONS;

/** What an operator may do to one datasource. */
export const DATASOURCE: CommandSpec = {
  ...ORDINARY,
  name: "datasource",
  operands: `MEMBER {${Object.keys(ACTIONS).join("|")}}`,
  summary: "change the state of one datasource",
  details: [
    "fail     marks it FAILED; the primary's failure starts a failover in AUTOMATIC. Expert-level",
    "shun     keeps it out until you say otherwise; replication goes on",
    "welcome  ends a shun without any repair: it is then OFFLINE. Expert-level",
    "         With force, where no primary is left, it becomes the primary with what it holds",
    "online   takes it in again after `offline`",
    "offline  takes it out for now; in AUTOMATIC it comes back by itself",
    "recover  brings a FAILED or SHUNNED one back as a replica, a former primary too",
    "         With force also one whose agent has lost its state file: it is readmitted",
    "With force the living primary can be shunned or taken offline: it is fenced, and nothing takes over.",
  ],
  example: "datasource db1 recover",
  options: [FORCE],
  next: (before, members) => (before.length === 0 ? members : before.length === 1 ? Object.keys(ACTIONS) : []),
  run: async (call, session) => {
    const { member, action } = parseAction(call);
    const words = `datasource ${member} ${action}`;
    const { isExpert, isForceable } = ACTIONS[action];
    if (call.options["force"] === true && !isForceable)
      throw failure("usage", `there is nothing to force in '${words}'`, "leave --force out");
    const force = isForceable ? forceOf(call, session) : {};
    await carryOut(session, { words, isExpert, command: { command: `datasource-${action}`, member, ...force } });
  },
};

function parseAction({ operands }: Call): { member: string; action: Action } {
  const [member, action, ...extra] = operands;
  if (member === undefined || action === undefined)
    throw usageFailure("datasource wants a member and what to do with it", usageOf(DATASOURCE));
  if (!isAction(action)) {
    const misunderstood = `'${action}' is not understood after 'datasource ${member}'`;
    throw notCarried(`datasource ${action}`) ?? usageFailure(misunderstood, usageOf(DATASOURCE));
  }
  if (extra.length > 0)
    throw usageFailure(`'${extra[0]}' is not understood after 'datasource ${member} ${action}'`, usageOf(DATASOURCE));
  return { member: parseName(member, "the member"), action };
}

function isAction(word: string): word is Action {
  return Object.hasOwn(ACTIONS, word);
}

import { fetchStatus } from "../picture.ts";
import { withProgress } from "../progress.ts";
import { renderMember } from "../render/members.ts";
import { writeJson } from "../session.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** Who belongs to the dataservice. */
export const MEMBERS: CommandSpec = {
  ...ORDINARY,
  name: "members",
  summary: "list the members, whether their managers run, and where their servers are",
  example: "members",
  run: async (call, session) => {
    expectNoOperands(call, MEMBERS);
    const { dataservice, datasources } = await withProgress(session, "asking the coordinator", fetchStatus(session));
    const members = datasources.map(({ member, manager, endpoint }) => ({ member, manager, endpoint }));
    if (session.json) return writeJson(session, { members });
    session.screen.write(members.map((each) => `${renderMember(each, dataservice)}\n`).join(""));
  },
};

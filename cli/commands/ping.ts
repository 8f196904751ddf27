import { fetchStatus } from "../picture.ts";
import { withProgress } from "../progress.ts";
import { renderPing } from "../render/members.ts";
import { writeJson } from "../session.ts";
import { ORDINARY, type CommandSpec } from "./command.ts";
import { expectNoOperands } from "./operands.ts";

/** Whether the hosts are there, as the coordinator hears them. */
export const PING: CommandSpec = {
  ...ORDINARY,
  name: "ping",
  summary: "say which hosts the coordinator hears",
  details: ["A host is ALIVE while its agent reports: a host whose agent alone is stopped is not heard either."],
  example: "ping",
  run: async (call, session) => {
    expectNoOperands(call, PING);
    const { datasources } = await withProgress(session, "asking the coordinator", fetchStatus(session));
    const hosts = datasources.map(({ member, manager, endpoint }) => ({ member, manager, endpoint }));
    if (session.json)
      return writeJson(session, {
        hosts: hosts.map(({ member, manager, endpoint }) => ({
          host: member,
          address: endpoint?.host ?? null,
          isAlive: manager.state === "online",
        })),
      });
    session.screen.write(hosts.map((each) => `${renderPing(each)}\n`).join(""));
  },
};

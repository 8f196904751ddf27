/** Words of the command set that operators bring with them and that this version does not carry, and what to use instead. */
import { failure, type Failure } from "../failure.ts";

const FAIL_OVER = "`datasource PRIMARY fail` and then `failover` move the primary, and cut the sessions that are open";
const BY_ITSELF =
  "a replica that failed comes back by itself once its server answers; what an operator failed or a failover shunned must be rebuilt";
const POLICY = "the policy is always AUTOMATIC: a primary that stops is failed over";
const KEEP_OUT = "`datasource MEMBER fail` keeps a replica out";
const OWN_TOOLS = "use the database's own tools";
const SEE_LS = "`ls` shows every component; with --json every field";

const INSTEAD: Record<string, string> = {
  switch: FAIL_OVER,
  recover: BY_ITSELF,
  shun: KEEP_OUT,
  welcome: BY_ITSELF,
  drain: KEEP_OUT,
  set: POLICY,
  router: "stop or start the agent of that host: its connector goes with it",
  replicator: `${OWN_TOOLS} on that host; \`ls\` shows the outcome`,
  cluster: SEE_LS,
  members: SEE_LS,
  ping: SEE_LS,
  show: SEE_LS,
  service: "`ls --service NAME` shows one dataservice",
  services: "`ls --service NAME` shows one dataservice",
  use: "start `rex --service NAME`",
  cd: "start `rex --service NAME`",
  why: "`events` tells why each candidate was chosen or refused",
  logical: "every session is in logical mode; `exit` leaves expert mode with the session",
  physical: "there is no mode for single processes: use the host's service manager",
  admin: "there is nothing to administer in the console: use the coordinator's API",
  backup: OWN_TOOLS,
  restore: OWN_TOOLS,
  "datasource shun": KEEP_OUT,
  "datasource drain": KEEP_OUT,
  "datasource welcome": BY_ITSELF,
  "datasource recover": BY_ITSELF,
  "datasource provision": "rebuild the member with the database's own tools, then start its agent",
  "datasource online": BY_ITSELF,
  "datasource offline": KEEP_OUT,
  "datasource connections": "`ls` shows created and active connections of every datasource",
  "datasource drop": "create the dataservice anew without the member",
  "datasource set": POLICY,
  "datasource backup": OWN_TOOLS,
  "datasource restore": OWN_TOOLS,
};

/** The Failure for a known word that is not carried; null for every other word. */
export function notCarried(word: string): Failure | null {
  if (!Object.hasOwn(INSTEAD, word)) return null;
  return failure("not-carried", `'${word}' is not supported in this version`, INSTEAD[word] ?? "");
}

/** The known words that begin a command. */
export const WORDS_NOT_CARRIED: readonly string[] = Object.keys(INSTEAD).filter((word) => !word.includes(" "));

/** Words of the command set that operators bring with them and that this version does not carry, and what to use instead. */
import { failure, type Failure } from "../failure.ts";

const OWN_TOOLS = "use the database's own tools";
const SEE_LS = "`ls` shows every component; with --json every field";
const ONE_SERVICE = "`ls --service NAME` shows one dataservice";
const OTHER_SERVICE = "start `rex --service NAME`";
const SHUN_AND_WAIT = "`datasource MEMBER shun` keeps it out; `ls` shows its connections until they have ended";

const INSTEAD: Record<string, string> = {
  shun: "say of whom: `datasource MEMBER shun`",
  welcome: "say of whom: `datasource MEMBER welcome`",
  drain: SHUN_AND_WAIT,
  router: "stop or start the agent of that host: its connector goes with it",
  replicator: `\`datasource MEMBER shun\` keeps it out; ${OWN_TOOLS} on its host`,
  cluster: SEE_LS,
  show: SEE_LS,
  service: ONE_SERVICE,
  services: ONE_SERVICE,
  use: OTHER_SERVICE,
  cd: OTHER_SERVICE,
  why: "`events` tells why each candidate was chosen or refused",
  logical: "every session is in logical mode; `exit` leaves expert mode with the session",
  physical: "there is no mode for single processes: use the host's service manager",
  admin: "there is nothing to administer in the console: use the coordinator's API",
  backup: OWN_TOOLS,
  restore: OWN_TOOLS,
  "datasource drain": SHUN_AND_WAIT,
  "datasource provision": "`datasource MEMBER recover` rebuilds it where its host's agent allows that",
  "datasource connections": "`ls` shows created and active connections of every datasource",
  "datasource drop": "create the dataservice anew without the member",
  "datasource set": "priorities are given when the dataservice is created",
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

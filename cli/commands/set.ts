import { failure, usageFailure } from "../failure.ts";
import { carryOut } from "../order.ts";
import { writeJson, type Session } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";

const POLICIES = ["automatic", "manual", "maintenance"] as const;
const TRUTHS = ["true", "false"] as const;

/** The policy of the dataservice, and the force of this session. */
export const SET: CommandSpec = {
  ...ORDINARY,
  name: "set",
  operands: `{policy {${POLICIES.join("|")}} | force {true|false}}`,
  summary: "set the dataservice's policy, or this session's force",
  details: [
    "automatic    failures are detected, fenced and repaired",
    "manual       failures are detected and fenced; `failover` and `recover` are yours",
    "maintenance  failures are shown and nothing is done: work on the hosts in peace",
    "Force overrides guards, as long as this session lasts: `help failover` and `help datasource` tell which.",
    "Every command that changes something is expert-level meanwhile.",
  ],
  example: "set policy maintenance",
  next: ([what, value]) => {
    if (what === undefined) return ["policy", "force"];
    return value !== undefined ? [] : what === "policy" ? POLICIES : what === "force" ? TRUTHS : [];
  },
  run: async (call, session) => {
    const setting = parseSetting(call);
    if (setting.what === "force") return setForce(session, setting.value === "true");
    const policy = setting.value;
    await carryOut(session, { words: "set policy", isExpert: false, command: { command: "set-policy", policy } });
    if (!session.json) session.screen.write(`policy mode is now ${policy.toUpperCase()}\n`);
  },
};

type Setting = { what: "policy"; value: (typeof POLICIES)[number] } | { what: "force"; value: (typeof TRUTHS)[number] };

function parseSetting({ operands }: Call): Setting {
  const [what, given, ...extra] = operands;
  const word = given?.toLowerCase();
  const policy = POLICIES.find((each) => each === word);
  const truth = TRUTHS.find((each) => each === word);
  if (extra.length === 0 && what === "policy" && policy) return { what, value: policy };
  if (extra.length === 0 && what === "force" && truth) return { what, value: truth };
  throw usageFailure(`'${["set", ...operands].join(" ")}' is not understood`, usageOf(SET));
}

function setForce(session: Session, isForced: boolean): void {
  if (session.input === "command-line")
    throw failure("usage", "force lasts as long as a session, and this is none", "add --force to the command itself");
  session.state.isForced = isForced;
  if (session.json) writeJson(session, { force: isForced });
  else session.screen.write(`FORCE: ${isForced}\n`);
}

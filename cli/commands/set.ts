import { failure, usageFailure } from "../failure.ts";
import type { CommandRequest } from "../client.ts";
import { carryOut } from "../order.ts";
import { writeJson, type Session } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";

const POLICIES = ["automatic", "manual", "maintenance"] as const;
const TRUTHS = ["true", "false"] as const;
const DURABILITIES = ["async", "sync"] as const;
const LOSSES = ["block", "degrade"] as const;

/** The policy and the durability of the dataservice, and the force of this session. */
export const SET: CommandSpec = {
  ...ORDINARY,
  name: "set",
  operands: `{policy {${POLICIES.join("|")}} | durability {async | sync [K] [${LOSSES.join("|")}]} | force {true|false}}`,
  summary: "set the dataservice's policy or durability, or this session's force",
  details: [
    "automatic    failures are detected, fenced and repaired",
    "manual       failures are detected and fenced; `failover` and `recover` are yours",
    "maintenance  failures are shown and nothing is done: work on the hosts in peace",
    "sync K       K replicas (1) acknowledge every commit; with fewer left commits wait (block) or go on (degrade)",
    "async        no commit waits for a replica: a failover can lose the newest ones",
    "Durability is changed step by step while clients go on; it is promised when the transcript says so, not before.",
    "Force overrides guards, as long as this session lasts: `help failover` and `help datasource` tell which.",
    "Every command that changes something is expert-level meanwhile.",
  ],
  example: "set policy maintenance",
  next: ([what, value, ...rest]) => {
    if (what === undefined) return ["policy", "durability", "force"];
    if (what === "durability" && value === "sync" && !rest.some((word) => isOneOf(LOSSES, word))) return LOSSES;
    if (value !== undefined) return [];
    return what === "policy" ? POLICIES : what === "durability" ? DURABILITIES : what === "force" ? TRUTHS : [];
  },
  run: async (call, session) => {
    const setting = parseSetting(call);
    if (setting.what === "force") return setForce(session, setting.value);
    if (setting.what === "durability") {
      return carryOut(session, { words: "set durability", isExpert: false, command: setting.value });
    }
    const policy = setting.value;
    await carryOut(session, { words: "set policy", isExpert: false, command: { command: "set-policy", policy } });
    if (!session.json) session.screen.write(`policy mode is now ${policy.toUpperCase()}\n`);
  },
};

type DurabilityRequest = Extract<CommandRequest, { command: "set-durability" }>;

type Setting =
  | { what: "policy"; value: (typeof POLICIES)[number] }
  | { what: "durability"; value: DurabilityRequest }
  | { what: "force"; value: boolean };

function parseSetting({ operands }: Call): Setting {
  const [what, ...given] = operands;
  const words = given.map((word) => word.toLowerCase());
  const [word, ...extra] = words;
  const policy = POLICIES.find((each) => each === word);
  if (extra.length === 0 && what === "policy" && policy) return { what, value: policy };
  if (extra.length === 0 && what === "force" && isOneOf(TRUTHS, word)) return { what, value: word === "true" };
  const durability = what === "durability" ? parseDurability(words) : null;
  if (durability !== null) return { what: "durability", value: durability };
  throw usageFailure(`'${["set", ...operands].join(" ")}' is not understood`, usageOf(SET));
}

/** `async`, or `sync [K] [block|degrade]`; null for anything else. */
function parseDurability([durability, ...rest]: readonly string[]): DurabilityRequest | null {
  const command = "set-durability";
  if (durability === "async" && rest.length === 0) return { command, durability };
  if (durability !== "sync") return null;
  const [k, loss, ...extra] = /^[0-9]+$/.test(rest[0] ?? "") ? rest : ["1", ...rest];
  const onLoss = LOSSES.find((each) => each === (loss ?? "block"));
  const count = Number(k);
  if (extra.length > 0 || onLoss === undefined || count < 1 || count > 14) return null;
  return { command, durability, sync: { k: count, onLoss } };
}

function isOneOf<T extends string>(words: readonly T[], word: string | undefined): word is T {
  return words.some((each) => each === word);
}

function setForce(session: Session, isForced: boolean): void {
  if (session.input === "command-line")
    throw failure("usage", "force lasts as long as a session, and this is none", "add --force to the command itself");
  session.state.isForced = isForced;
  if (session.json) writeJson(session, { force: isForced });
  else session.screen.write(`FORCE: ${isForced}\n`);
}

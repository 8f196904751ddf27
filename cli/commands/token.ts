import type { TokenSpec } from "#shared/protocol/api.ts";
import { failure, usageFailure } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { renderToken } from "../render/token.ts";
import { clientOf, serviceOf, writeJson, type Session } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { optionText, parseId, parseName } from "./operands.ts";

const KINDS = ["operator", "viewer", "agent"] as const;

/** Who may speak to the coordinator about a dataservice. */
export const TOKEN: CommandSpec = {
  ...ORDINARY,
  name: "token",
  operands: `{create {${KINDS.join("|")}} | ls | revoke ID}`,
  summary: "create, list and revoke tokens",
  details: [
    "operator  reads and commands",
    "viewer    reads",
    "agent     polls for one host: create a second one, give it to the agent, then revoke the first",
    "A new token is written to standard output, this once; a revoked one is refused at once.",
  ],
  example: "token create viewer --label grafana",
  options: [
    { flags: "--host <name>", summary: "the host that an agent's token speaks for" },
    { flags: "--label <text>", summary: "whose an operator's or viewer's token is, for the event log" },
  ],
  next: ([deed, ...more]) =>
    deed === undefined ? ["create", "ls", "revoke"] : deed === "create" && more.length === 0 ? KINDS : [],
  run: (call, session) => {
    const [deed, word, ...extra] = call.operands;
    if (deed === "ls" && word === undefined) return list(session);
    if (deed === "create" && word !== undefined && extra.length === 0) return create(session, parseSpec(call, word));
    if (deed === "revoke" && word !== undefined && extra.length === 0)
      return revoke(session, parseId(word, "the token"));
    throw usageFailure(`'${["token", ...call.operands].join(" ")}' is not understood`, usageOf(TOKEN));
  },
};

function parseSpec(call: Call, word: string): TokenSpec {
  const kind = KINDS.find((each) => each === word);
  const [host, label] = [optionText(call, "host"), optionText(call, "label")];
  if (!kind) throw failure("usage", `the kind is '${word}'`, `give one of ${KINDS.join(", ")}`);
  if (kind !== "agent") {
    if (host !== undefined) throw failure("usage", `--host is '${host}'`, `leave it out: a ${kind} speaks for no host`);
    return { kind, ...(label === undefined ? {} : { label }) };
  }
  if (label !== undefined) throw failure("usage", `--label is '${label}'`, "leave it out: an agent goes by its host");
  if (host === undefined) throw failure("usage", "--host is missing", "name the host that the agent speaks for");
  return { kind, host: parseName(host, "the host") };
}

async function create(session: Session, spec: TokenSpec): Promise<void> {
  const created = await withProgress(
    session,
    "creating the token",
    clientOf(session).createToken(serviceOf(session), spec),
  );
  if (session.json) return writeJson(session, created);
  session.screen.note(`Token ${created.id} created. It is shown this once:\n`);
  session.screen.write(`${created.token}\n`);
}

async function list(session: Session): Promise<void> {
  const tokens = await withProgress(session, "asking the coordinator", clientOf(session).tokens(serviceOf(session)));
  if (session.json) return writeJson(session, { tokens });
  session.screen.write(tokens.map((token) => `${renderToken(token)}\n`).join(""));
}

async function revoke(session: Session, id: string): Promise<void> {
  await withProgress(session, "revoking the token", clientOf(session).revokeToken(serviceOf(session), id));
  if (session.json) return writeJson(session, { revoked: id });
  session.screen.write(`Token ${id} revoked\n`);
}

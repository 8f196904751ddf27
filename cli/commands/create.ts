import { failure, usageFailure } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { renderCreated } from "../render/created.ts";
import type { CreateRequest } from "../client.ts";
import { clientOf, writeJson } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { optionText, parseName, parseNames } from "./operands.ts";

/** A new dataservice. */
export const CREATE: CommandSpec = {
  ...ORDINARY,
  name: "create",
  operands: "NAME",
  summary: "create a dataservice and show its agents' tokens, once",
  details: [
    "The primary is the member that is writable now, or that becomes the first primary.",
    "Nothing is touched until the agent of every member has reported.",
  ],
  example: "create alpha --members db1,db2,db3 --primary db1 --routers app1",
  options: [
    { flags: "--members <names>", summary: "the hosts with a database server, between commas", isRequired: true },
    { flags: "--primary <name>", summary: "the first primary", isRequired: true },
    { flags: "--routers <names>", summary: "hosts that carry only a connector, between commas" },
    { flags: "--sync <k>", summary: "so many replicas acknowledge every commit; without it none is waited for" },
    {
      flags: "--loss <word>",
      summary: "when fewer are left: block (writes wait) or degrade (they go on, unprotected)",
    },
    { flags: "--restored", summary: "its members were founded before, and their coordinator's storage is lost" },
  ],
  run: async (call, session) => {
    const wanted = parseCreate(call);
    const created = await withProgress(session, `creating ${wanted.name}`, clientOf(session).create(wanted));
    if (session.json) writeJson(session, created);
    else session.screen.write(renderCreated(created));
  },
};

function parseCreate(call: Call): CreateRequest {
  const [name, ...extra] = call.operands;
  const [members, primary] = [optionText(call, "members"), optionText(call, "primary")];
  if (name === undefined || extra.length > 0 || members === undefined || primary === undefined) {
    throw usageFailure("create wants one name, --members and --primary", usageOf(CREATE));
  }
  const names = parseNames(members, "a name in --members");
  if (!names.includes(primary))
    throw failure("usage", `--primary is '${primary}'`, `give one of the members: ${names.join(", ")}`);
  return {
    name: parseName(name, "the dataservice"),
    members: names.map((member) => ({ name: member })),
    primary,
    routers: parseNames(optionText(call, "routers"), "a name in --routers"),
    ...durabilityOf(call, names.length - 1),
    ...(call.options["restored"] === true ? { restored: true } : {}),
  };
}

/** Synchronous when `--sync` says so; what cannot be is refused before anything is asked. */
function durabilityOf(call: Call, replicas: number): Pick<CreateRequest, "durability" | "sync"> {
  const [text, given] = [optionText(call, "sync"), optionText(call, "loss")];
  if (text === undefined) {
    if (given === undefined) return {};
    throw failure("usage", "--loss says what becomes of --sync", "give --sync K as well, or leave it out");
  }
  const k = Number(text);
  if (!/^[0-9]+$/.test(text) || k < 1 || k > replicas) {
    throw failure(
      "usage",
      `--sync is '${text}'`,
      `give a whole number, 1 to ${replicas}: that many replicas there are`,
    );
  }
  const onLoss = given ?? "block";
  if (onLoss !== "block" && onLoss !== "degrade") {
    throw failure("usage", `--loss is '${onLoss}'`, "give block or degrade");
  }
  return { durability: "sync", sync: { k, onLoss } };
}

import type { WebhookSpec } from "#shared/protocol/api.ts";
import { failure, usageFailure } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { renderWebhook } from "../render/webhook.ts";
import { clientOf, serviceOf, writeJson, type Session } from "../session.ts";
import { ORDINARY, usageOf, type Call, type CommandSpec } from "./command.ts";
import { optionText, parseId } from "./operands.ts";

/** Whom the coordinator tells of what happens. */
export const WEBHOOK: CommandSpec = {
  ...ORDINARY,
  name: "webhook",
  operands: "{create URL | ls | delete ID}",
  summary: "create, list and delete webhooks: events sent to an address of yours",
  details: [
    "Each event is sent at least once, in order, with a Standard Webhooks signature.",
    "The secret that checks it is written to standard output, this once.",
  ],
  example: "webhook create https://example.com/hook --events failover-completed,failover-aborted",
  options: [
    { flags: "--events <kinds>", summary: "only these kinds, between commas, as `events` shows them (default all)" },
  ],
  next: (before) => (before.length === 0 ? ["create", "ls", "delete"] : []),
  run: (call, session) => {
    const [deed, word, ...extra] = call.operands;
    if (deed === "ls" && word === undefined) return list(session);
    if (deed === "create" && word !== undefined && extra.length === 0) return create(session, parseSpec(call, word));
    if (deed === "delete" && word !== undefined && extra.length === 0)
      return remove(session, parseId(word, "the webhook"));
    throw usageFailure(`'${["webhook", ...call.operands].join(" ")}' is not understood`, usageOf(WEBHOOK));
  },
};

function parseSpec(call: Call, url: string): WebhookSpec {
  if (!URL.canParse(url))
    throw failure("usage", `the address is '${url}'`, "give one such as https://example.com/hook");
  const kinds = optionText(call, "events");
  return { url, ...(kinds === undefined ? {} : { events: kinds.split(",").map(parseKind) }) };
}

function parseKind(text: string): string {
  const kind = text.trim();
  if (/^[a-z]+(-[a-z]+)*$/.test(kind)) return kind;
  throw failure(
    "usage",
    `a kind in --events is '${kind}'`,
    "give kinds as `events` shows them, such as primary-opened",
  );
}

async function create(session: Session, spec: WebhookSpec): Promise<void> {
  const asked = clientOf(session).createWebhook(serviceOf(session), spec);
  const created = await withProgress(session, "creating the webhook", asked);
  if (session.json) return writeJson(session, created);
  session.screen.note(`Webhook ${created.id} created. Its secret is shown this once:\n`);
  session.screen.write(`${created.secret}\n`);
}

async function list(session: Session): Promise<void> {
  const webhooks = await withProgress(
    session,
    "asking the coordinator",
    clientOf(session).webhooks(serviceOf(session)),
  );
  if (session.json) return writeJson(session, { webhooks });
  session.screen.write(webhooks.map((webhook) => `${renderWebhook(webhook)}\n`).join(""));
}

async function remove(session: Session, id: string): Promise<void> {
  await withProgress(session, "deleting the webhook", clientOf(session).deleteWebhook(serviceOf(session), id));
  if (session.json) return writeJson(session, { deleted: id });
  session.screen.write(`Webhook ${id} deleted\n`);
}

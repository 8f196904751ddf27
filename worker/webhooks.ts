/** Webhooks as resources: who asks to be told of which events. */
import { randomBytes } from "node:crypto";
import type { Deliveries, Delivery, WebhookCreated, WebhookLine, WebhookSpec } from "#shared/protocol/api.ts";
import { refuse, type Answer, type Refused } from "./answer.ts";
import type { Change } from "./change.ts";
import type { StoredWebhook } from "./outbox.ts";
import { EVENT_KINDS } from "./reason.ts";
import type { Store } from "./store.ts";
import { refuseUrl } from "./webhook-url.ts";

const MOST_WEBHOOKS = 20;

/** What may not stand although it has the right shape; null when it may. */
export function refuseWebhook(spec: WebhookSpec, allowInsecure: boolean): Refused | null {
  const refused = refuseUrl(spec.url, allowInsecure);
  if (refused !== null) return refuse("url-not-allowed", `url: ${refused}`);
  const unknown = spec.events?.find((kind) => !EVENT_KINDS.includes(kind));
  if (unknown === undefined) return null;
  return refuse("invalid-request", `events: '${unknown}' is no kind of event: use some of ${EVENT_KINDS.join(", ")}`);
}

/** Adds a webhook. Its own creation is the first thing that it is told, if it asked for such events. */
export function createWebhook({ store, by, wallMs }: Change, spec: WebhookSpec): Answer<WebhookCreated> {
  if (store.outbox.webhooks().length >= MOST_WEBHOOKS) {
    return refuse("too-many-webhooks", `there are ${MOST_WEBHOOKS} webhooks already: delete one first`);
  }
  const webhook: StoredWebhook = {
    id: randomBytes(6).toString("hex"),
    url: spec.url,
    events: spec.events ?? null,
    secret: spec.secret ?? `whsec_${randomBytes(32).toString("base64")}`,
    createdWallMs: wallMs,
  };
  store.outbox.addWebhook(webhook);
  store.appendEvent({ kind: "webhook-created", webhook: webhook.id, origin: originOf(webhook), by }, wallMs);
  return { ok: true, value: { ...webhookLine(webhook), secret: webhook.secret } };
}

/** Removes a webhook; what was pending for it goes with it. */
export function deleteWebhook({ store, by, wallMs }: Change, id: string): Answer<WebhookLine> {
  const webhook = known(store, id);
  if ("ok" in webhook) return webhook;
  store.outbox.removeWebhook(id);
  store.appendEvent({ kind: "webhook-deleted", webhook: id, origin: originOf(webhook), by }, wallMs);
  return { ok: true, value: webhookLine(webhook) };
}

export function deliveriesOf(store: Store, id: string): Answer<Deliveries> {
  const webhook = known(store, id);
  return "ok" in webhook ? webhook : { ok: true, value: store.outbox.deliveries(id) };
}

/** Sends a dead letter again. */
export function retryDelivery({ store, wallMs }: Change, id: string, n: number): Answer<Delivery> {
  const webhook = known(store, id);
  if ("ok" in webhook) return webhook;
  const { outbox } = store;
  const delivery = outbox.delivery(id, n);
  if (!delivery) {
    return refuse("unknown-delivery", `delivery: ${n} is none of webhook '${id}', or one too old to be kept`);
  }
  if (delivery.state !== "dead") {
    return refuse("wrong-state", `delivery: ${n} is ${delivery.state}: only a dead one can be retried by hand`);
  }
  outbox.revive(n, wallMs);
  return { ok: true, value: { ...delivery, state: "pending", tries: 0, nextTryWallMs: wallMs, endedWallMs: null } };
}

/** What may be shown of a webhook. */
export function webhookLine({ id, url, events, createdWallMs }: StoredWebhook): WebhookLine {
  return { id, url, events, createdWallMs };
}

/** What may be shown of it to those who only look: for many receivers the path of the address is the secret. */
export function webhookOutline(webhook: StoredWebhook): WebhookLine {
  return { ...webhookLine(webhook), url: originOf(webhook) };
}

function known(store: Store, id: string): StoredWebhook | Refused {
  const webhook = store.outbox.webhooks().find((each) => each.id === id);
  return webhook ?? refuse("unknown-webhook", `webhook: '${id}' does not exist: list the webhooks`);
}

function originOf({ url }: StoredWebhook): string {
  return new URL(url).origin;
}

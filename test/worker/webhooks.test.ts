import {
  abortAllDurableObjects,
  evictDurableObject,
  reset,
  runDurableObjectAlarm,
  runInDurableObject,
} from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import {
  zDeliveries,
  zDelivery,
  zWebhookCreated,
  zWebhooks,
  type Deliveries,
  type WebhookCreated,
} from "#shared/protocol/api.ts";
import { backoffMs, MAX_TRIES } from "../../worker/delivery.ts";
import { refuseUrl } from "../../worker/webhook-url.ts";
import { EVENT_KINDS } from "../../worker/reason.ts";
import { Store } from "../../worker/store.ts";
import { DELIVERED_KEPT, PENDING_KEPT } from "../../worker/outbox.ts";
import type { Box, Letter, ReceiverAnswer } from "./receiver.ts";
import {
  ADMIN,
  ask,
  createService,
  eventsOf,
  foundedService,
  isWhole,
  killPrimary,
  pass,
  refusedWith,
  round,
  roundsUntil,
  rowsChanged,
  send,
  stored,
  stub,
} from "./service.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"] });
});

afterEach(async () => {
  vi.useRealTimers();
  await reset();
});

const ALPHA = "/v1/dataservices/alpha";
const WEBHOOKS = `${ALPHA}/webhooks`;

interface Made extends WebhookCreated {
  /** The receiver's box that it is delivered to. */
  box: string;
}

interface Message {
  type: string;
  timestamp: string;
  dataservice: string;
  data: Record<string, unknown>;
}

/** A webhook with a box of its own, which answers like this. */
async function subscribe(
  options: { answers?: ReceiverAnswer[]; events?: string[]; secret?: string; box?: string } = {},
): Promise<Made> {
  const { answers = [204], box = crypto.randomUUID(), ...spec } = options;
  await tell(box, ...answers);
  const response = await ask(WEBHOOKS, { body: { ...spec, url: `${inject("receiverUrl")}/hook/${box}` } });
  expect(response.status).toBe(201);
  return { ...zWebhookCreated.parse(await response.json()), box };
}

async function tell(box: string, ...answers: ReceiverAnswer[]): Promise<void> {
  await fetch(`${inject("receiverUrl")}/box/${box}`, { method: "PUT", body: JSON.stringify(answers) });
}

/** The box once `count` letters have come. */
async function received({ box }: Made, count: number): Promise<Box> {
  const content = await (await fetch(`${inject("receiverUrl")}/box/${box}?count=${count}`)).json<Box>();
  expect(content.letters.length).toBeGreaterThanOrEqual(count);
  return content;
}

function opened({ headers, body }: Letter, { secret }: Made): Message {
  return new Webhook(secret).verify(body, headers) as Message;
}

async function deliveries({ id }: Made): Promise<Deliveries> {
  return zDeliveries.parse(await (await ask(`${WEBHOOKS}/${id}/deliveries`)).json());
}

/** Asks until it is so: what a receiver has answered is noted a moment later. */
async function until(isSo: (now: Deliveries) => boolean, webhook: Made): Promise<Deliveries> {
  for (let count = 0; count < 1_000; count += 1) {
    const now = await deliveries(webhook);
    if (isSo(now)) return now;
    await scheduler.wait(10);
  }
  throw new Error(`not so in time: ${JSON.stringify(await deliveries(webhook))}`);
}

const isEmpty = ({ pending }: Deliveries): boolean => pending.length === 0;
const isTried =
  (tries: number) =>
  ({ pending }: Deliveries): boolean =>
    pending[0]?.tries === tries;

/** An event that anybody can cause. */
async function happen(label: string): Promise<void> {
  await ask(`${ALPHA}/tokens`, { body: { kind: "viewer", label } });
}

const labelled = (letters: Letter[], webhook: Made): unknown[] =>
  letters.map((letter) => opened(letter, webhook).data["label"]);

const alarm = (): Promise<number | null> => runInDurableObject(stub(), (_, { storage }) => storage.getAlarm());

describe("a webhook", () => {
  it("is told of its own creation, signed, in the documented shape", async () => {
    await createService();
    const webhook = await subscribe();
    const [letter] = (await received(webhook, 1)).letters;
    const [told] = await eventsOf("webhook-created");
    expect(opened(letter!, webhook)).toEqual({
      type: "webhook-created",
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      dataservice: "alpha",
      data: told!.data,
    });
    expect(letter!.headers).toMatchObject({
      "content-type": "application/json",
      "webhook-id": expect.stringMatching(`^msg_${webhook.id}_\\d+$`),
    });
    expect(() =>
      new Webhook(`whsec_${btoa("another secret, not this one")}`).verify(letter!.body, letter!.headers),
    ).toThrow(/No matching signature/);
    const { delivered } = await until(isEmpty, webhook);
    expect(delivered).toMatchObject([{ type: "webhook-created", state: "delivered", tries: 1, lastError: null }]);
  });

  it("is listed without its secret, which is shown once", async () => {
    await createService();
    const { secret, box: _, ...line } = await subscribe({ events: ["founded"] });
    const text = await (await ask(WEBHOOKS)).text();
    expect(zWebhooks.parse(JSON.parse(text)).webhooks).toEqual([line]);
    expect(text).not.toContain(secret);
    expect(JSON.stringify(await eventsOf("webhook-created"))).not.toContain("/hook/");
  });

  it("gets the kinds it asked for and no others, under the secret it was given", async () => {
    const service = await foundedService();
    const secret = `whsec_${btoa("a secret of twenty-four bytes, and more")}`;
    const webhook = await subscribe({ events: ["failover-started", "failover-completed"], secret });
    expect(webhook.secret).toBe(secret);
    killPrimary(service);
    await roundsUntil(service, () => isWhole(2, ["db1"]));
    const { letters } = await received(webhook, 2);
    expect(letters.map((letter) => opened(letter, webhook))).toMatchObject([
      { type: "failover-started", data: { deposed: "db1", cause: "server-died" } },
      { type: "failover-completed", data: { member: "db2", deposed: "db1" } },
    ]);
  });

  it("gets every event of a failover in the order of the log", async () => {
    const service = await foundedService();
    const webhook = await subscribe();
    killPrimary(service);
    await roundsUntil(service, () => isWhole(2, ["db1"]));
    await until(isEmpty, webhook);
    const { events } = await (
      await ask(`${ALPHA}/events?limit=1000`)
    ).json<{ events: { id: number; kind: string }[] }>();
    const since = events.findIndex(({ kind }) => kind === "webhook-created");
    const { letters } = await received(webhook, events.length - since);
    expect(letters.map((letter) => opened(letter, webhook).type)).toEqual(events.slice(since).map(({ kind }) => kind));
  });

  it("is refused where it makes no sense", async () => {
    await createService();
    const url = "https://example.com/";
    await refusedWith(await ask(WEBHOOKS, { body: { url: "nowhere" } }), "url-not-allowed");
    const detail = await refusedWith(await ask(WEBHOOKS, { body: { url, events: ["fail-over"] } }), "invalid-request");
    expect(detail).toContain("'fail-over'");
    await refusedWith(await ask(WEBHOOKS, { body: { url, secret: "whsec_short" } }), "invalid-request");
    await refusedWith(await ask(WEBHOOKS, { body: { url, events: [] } }), "invalid-request");
    for (let count = 0; count < 20; count += 1) await subscribe({ events: ["founded"] });
    await refusedWith(await ask(WEBHOOKS, { body: { url } }), "too-many-webhooks");
    await refusedWith(await ask(`${WEBHOOKS}/0123456789ab/deliveries`), "unknown-webhook");
    await refusedWith(await ask(`${WEBHOOKS}/0123456789ab`, { method: "DELETE" }), "unknown-webhook");
    expect((await ask(WEBHOOKS, { body: { url, events: EVENT_KINDS } })).status).toBe(409);
  });

  it("is read by a viewer and changed by an operator only", async () => {
    await createService();
    const webhook = await subscribe();
    const token = async (kind: string): Promise<string> =>
      (await (await ask(`${ALPHA}/tokens`, { body: { kind } })).json<{ token: string }>()).token;
    const [viewer, operator] = [await token("viewer"), await token("operator")];
    const one = `${WEBHOOKS}/${webhook.id}`;
    expect((await ask(`${one}/deliveries`, { token: viewer })).status).toBe(200);
    await refusedWith(await ask(one, { method: "DELETE", token: viewer }), "forbidden");
    await refusedWith(await ask(WEBHOOKS, { token: viewer, body: { url: webhook.url } }), "forbidden");
    await refusedWith(await ask(`${one}/deliveries/1/retry`, { method: "POST", token: viewer }), "forbidden");
    expect((await ask(one, { method: "DELETE", token: operator })).status).toBe(200);
    expect(await eventsOf("webhook-deleted")).toMatchObject([
      { data: { webhook: webhook.id, by: expect.stringMatching(/^operator:/) } },
    ]);
  });
});

describe("a receiver that fails", () => {
  it("gets the same again later, then the rest in order; another webhook waits for nothing", async () => {
    await createService();
    const failing = await subscribe({ answers: [500, 503, 204], events: ["token-created"] });
    const other = await subscribe({ events: ["token-created"] });
    for (const label of ["one", "two", "three"]) await happen(label);
    expect(labelled((await received(other, 3)).letters, other)).toEqual(["one", "two", "three"]);
    const first = (await until(isTried(1), failing)).pending;
    expect(first[0]).toMatchObject({ tries: 1, lastError: "answered 500" });
    const waitMs = first[0]!.nextTryWallMs! - Date.now();
    expect(waitMs).toBeGreaterThan(1_500);
    expect(waitMs).toBeLessThanOrEqual(2_400);
    // Nobody is earlier, whatever else happens; the alarm is armed for then.
    await happen("four");
    expect((await deliveries(failing)).pending.map(({ tries }) => tries)).toEqual([1, 0, 0, 0]);
    expect((await alarm())! - Date.now()).toBeLessThanOrEqual(10_000);
    pass(2_400);
    await runDurableObjectAlarm(stub());
    expect((await until(isTried(2), failing)).pending[0]!.lastError).toBe("answered 503");
    pass(4_800);
    await runDurableObjectAlarm(stub());
    await until(isEmpty, failing);
    const { letters } = await received(failing, 6);
    expect(labelled(letters, failing)).toEqual(["one", "one", "one", "two", "three", "four"]);
    const [a, b, c, d] = letters.map(({ headers, body }) => ({ id: headers["webhook-id"], body }));
    expect([b, c]).toEqual([a, a]);
    expect(d!.id).not.toBe(a!.id);
  });

  it("keeps its wait across an eviction", async () => {
    await createService();
    const webhook = await subscribe({ answers: [500, 204], events: ["token-created"] });
    await happen("one");
    const [before] = (await until(isTried(1), webhook)).pending;
    await evictDurableObject(stub());
    expect((await deliveries(webhook)).pending).toEqual([before]);
    expect((await received(webhook, 1)).letters).toHaveLength(1);
    pass(2_400);
    await evictDurableObject(stub());
    // Whoever wakes the object, here the alarm, wakes the delivery.
    await runDurableObjectAlarm(stub());
    await until(isEmpty, webhook);
    expect((await received(webhook, 2)).letters).toHaveLength(2);
  });

  it("is given up after twelve tries: the letter is dead, the next goes out, and a hand sends it again", async () => {
    await createService();
    const webhook = await subscribe({ answers: [500], events: ["token-created"] });
    await happen("one");
    await happen("two");
    for (let tries = 1; tries < MAX_TRIES; tries += 1) {
      await until(isTried(tries), webhook);
      if (tries === MAX_TRIES - 1) await tell(webhook.box, 500, 204);
      pass(4_000_000);
      await runDurableObjectAlarm(stub());
    }
    const { dead, delivered } = await until(isEmpty, webhook);
    expect(dead).toMatchObject([{ state: "dead", tries: MAX_TRIES, lastError: "answered 500", nextTryWallMs: null }]);
    expect(delivered).toHaveLength(1);

    const retry = (n: number): Promise<Response> =>
      ask(`${WEBHOOKS}/${webhook.id}/deliveries/${n}/retry`, { method: "POST" });
    const response = await retry(dead[0]!.n);
    expect(response.status).toBe(202);
    expect(zDelivery.parse(await response.json())).toMatchObject({ state: "pending", tries: 0 });
    expect((await until(isEmpty, webhook)).dead).toEqual([]);
    const { letters } = await received(webhook, MAX_TRIES + 2);
    // Signed long ago, most of them: a receiver would refuse them by now.
    const labels = letters.map(({ body }) => (JSON.parse(body) as Message).data["label"]);
    expect(labels).toEqual([...Array.from({ length: MAX_TRIES }, () => "one"), "two", "one"]);
    await refusedWith(await retry(dead[0]!.n), "wrong-state");
    await refusedWith(await retry(999), "unknown-delivery");
  });

  it("by sending elsewhere is not followed", async () => {
    await createService();
    const webhook = await subscribe({ answers: [307], events: ["token-created"] });
    await happen("one");
    const { pending } = await until(isTried(1), webhook);
    expect(pending[0]!.lastError).toBe("answered 307: redirects are not followed");
    expect((await received({ ...webhook, box: "elsewhere" }, 0)).letters).toEqual([]);
  });

  it("by not being there is told so", async () => {
    await createService();
    const response = await ask(WEBHOOKS, { body: { url: "http://127.0.0.1:1/" } });
    const webhook = { ...zWebhookCreated.parse(await response.json()), box: "" };
    const { pending } = await until(isTried(1), webhook);
    expect(pending[0]!.lastError).toMatch(/^not delivered: /);
  });
});

describe("a receiver that hangs", () => {
  it("delays no poll and no command, and is given up after five seconds", async () => {
    const service = await foundedService();
    const webhook = await subscribe({ answers: ["hang"] });
    expect((await received(webhook, 1)).open).toBe(1);
    killPrimary(service);
    await roundsUntil(service, () => isWhole(2, ["db1"]));
    expect((await ask(`${ALPHA}/commands`, { body: { command: "datasource-shun", member: "db3" } })).status).toBe(202);
    // All of that happened while the first letter was still under way.
    expect((await received(webhook, 1)).open).toBe(1);
    expect((await deliveries(webhook)).pending[0]).toMatchObject({ tries: 0 });
    const { pending } = await until(isTried(1), webhook);
    expect(pending[0]!.lastError).toBe("no answer within 5000 ms");
  });

  it("holds one of four places, which is free for another when its webhook is deleted", async () => {
    await createService();
    const webhooks: Made[] = [];
    for (let count = 0; count < 6; count += 1) {
      const box = webhooks[0]?.box;
      webhooks.push(await subscribe({ answers: ["hang"], events: ["token-created"], ...(box ? { box } : {}) }));
    }
    await happen("one");
    const full = await received(webhooks[0]!, 4);
    expect(full).toMatchObject({ open: 4, mostOpen: 4 });
    const holders = full.letters.map(({ headers }) => headers["webhook-id"]!.split("_")[1]);
    expect(new Set(holders).size).toBe(4);
    await ask(`${WEBHOOKS}/${holders[0]}`, { method: "DELETE" });
    // The next event, here somebody's look, fills the place.
    await ask(ALPHA);
    const refilled = await received(webhooks[0]!, 5);
    expect(refilled.letters[4]!.headers["webhook-id"]).not.toContain(holders[0]);
    expect(refilled.letters).toHaveLength(5);
  });

  it("is left alone once its webhook is deleted", async () => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"] });
    await happen("one");
    await received(webhook, 1);
    expect((await ask(`${WEBHOOKS}/${webhook.id}`, { method: "DELETE" })).status).toBe(200);
    for (let count = 0; (await received(webhook, 1)).open > 0; count += 1) {
      expect(count).toBeLessThan(200);
      await scheduler.wait(10);
    }
    pass(60_000);
    await runDurableObjectAlarm(stub());
    await happen("two");
    expect((await received(webhook, 1)).letters).toHaveLength(1);
    expect((await stored())["deliveries"]).toEqual([]);
  });

  it("ends with its dataservice", async () => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"] });
    await received(webhook, 1);
    await ask(`${ALPHA}?confirm=alpha`, { method: "DELETE" });
    for (let count = 0; (await received(webhook, 1)).open > 0; count += 1) {
      expect(count).toBeLessThan(200);
      await scheduler.wait(10);
    }
    expect(await alarm()).toBeNull();
  });
});

describe("between commit and delivery", () => {
  it.each([
    ["abort", () => abortAllDurableObjects()],
    ["eviction", () => evictDurableObject(stub())],
  ])("an %s loses nothing: the next incarnation delivers", async (_, end) => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"], events: ["token-created", "coordinator-started"] });
    await happen("one");
    const [cut] = (await received(webhook, 1)).letters;
    await happen("two");
    await tell(webhook.box, 204);
    await end();
    // An orderly end waits for the letter under way, whose failure is then noted.
    pass(2_400);
    await ask(ALPHA);
    await until(isEmpty, webhook);
    const { letters } = await received(webhook, 4);
    const messages = letters.map((letter) => opened(letter, webhook));
    expect(messages.map(({ type, data }) => data["label"] ?? type)).toEqual([
      "one",
      "one",
      "two",
      "coordinator-started",
    ]);
    expect(letters[1]!.headers["webhook-id"]).toBe(cut!.headers["webhook-id"]);
  });

  it("the events and what is to be told of them stand or fall together", async () => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"], events: ["token-created"] });
    await happen("one");
    const rows = (await stored())["deliveries"] as { event_id: number }[];
    const { events } = await (await ask(`${ALPHA}/events`)).json<{ events: { id: number; kind: string }[] }>();
    expect(rows.map(({ event_id }) => event_id)).toEqual(
      events.filter(({ kind }) => kind === "token-created").map(({ id }) => id),
    );
    await runInDurableObject(stub(), (_, { storage }) => {
      const store = new Store(storage.sql);
      expect(() =>
        storage.transactionSync(() => {
          store.appendEvent(
            { kind: "token-revoked", token: "x", tokenKind: "viewer", host: null, label: null, by: "" },
            0,
          );
          store.appendEvent(
            { kind: "token-created", token: "x", tokenKind: "viewer", host: null, label: null, by: "" },
            0,
          );
          throw new Error("taken back");
        }),
      ).toThrow("taken back");
    });
    expect((await deliveries(webhook)).pending).toHaveLength(1);
  });

  it("a replaced incarnation notes nothing of how its letters ended", async () => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"], events: ["token-created"] });
    await happen("one");
    await received(webhook, 1);
    await runInDurableObject(stub(), (_, { storage }) => {
      storage.sql.exec("UPDATE meta SET generation = generation + 1");
    });
    const silenced = vi.spyOn(console, "error").mockImplementation(() => {});
    // The letter fails when its receiver has hung for five seconds.
    await vi.waitFor(async () => expect((await received(webhook, 1)).open).toBe(0), { timeout: 10_000 });
    await scheduler.wait(200);
    expect((await deliveries(webhook)).pending).toMatchObject([{ tries: 0, lastError: null }]);
    silenced.mockRestore();
  });
});

describe("at rest", () => {
  it("a webhook costs nothing: no alarm, and one row for each lease extension", async () => {
    const service = await foundedService();
    const webhook = await subscribe();
    await until(isEmpty, webhook);
    await round(service, { apartMs: 333 });
    const serial = async (): Promise<number> => {
      const [lease] = (await stored())["lease"] as { body: string }[];
      return (JSON.parse(lease!.body) as { serial: number }).serial;
    };
    expect(await alarm()).toBeNull();
    const before = { rows: await rowsChanged(), serial: await serial() };
    for (let second = 0; second < 20; second += 1) await round(service, { apartMs: 333 });
    expect((await rowsChanged()) - before.rows).toBe((await serial()) - before.serial);
    expect(await alarm()).toBeNull();
  });

  it("what was delivered is kept for a while only, and so is what nobody takes", async () => {
    await createService();
    const webhook = await subscribe({ answers: ["hang"], events: ["token-created"] });
    await happen("one");
    await received(webhook, 1);
    const counts = await runInDurableObject(stub(), (_, { storage }) => {
      const { outbox } = new Store(storage.sql);
      const reason = {
        kind: "token-created",
        token: "x",
        tokenKind: "viewer",
        host: null,
        label: null,
        by: "",
      } as const;
      const count = (state: string): number =>
        storage.sql.exec<{ n: number }>("SELECT count(*) AS n FROM deliveries WHERE state = ?", state).one().n;
      return storage.transactionSync(() => {
        for (let id = 1; id <= PENDING_KEPT + 300; id += 1) outbox.enqueue({ id, reason, wallMs: 0 });
        const pending = count("pending");
        const dead = count("dead");
        for (let tries = 0; tries < DELIVERED_KEPT + 50; tries += 1) outbox.delivered(outbox.heads()[0]!, 0);
        return { pending, dead, delivered: count("delivered") };
      });
    });
    expect(counts).toEqual({ pending: PENDING_KEPT, dead: 301, delivered: DELIVERED_KEPT });
  });
});

describe("addresses", () => {
  it.each([
    "https://example.com/hook?x=1",
    "https://93.184.216.34/",
    "https://172.32.0.1/",
    "https://100.128.0.1/",
    "https://[2606:2800:220:1::1]/",
    "https://localhost.example.com/",
  ])("%s is allowed", (url) => {
    expect(refuseUrl(url, false)).toBeNull();
  });

  it.each([
    ["nowhere", "no URL"],
    ["ftp://example.com/", "https:"],
    ["http://example.com/", "https:"],
    ["https://user:secret@example.com/", "user or password"],
    ["https://localhost/", "localhost"],
    ["https://a.localhost./", "localhost"],
    ["https://127.0.0.1/", "127.0.0.1"],
    ["https://2130706433/", "127.0.0.1"],
    ["https://0x7f.1/", "127.0.0.1"],
    ["https://127.0.0.1./", "127.0.0.1"],
    ["https://0.0.0.0/", "0.0.0.0"],
    ["https://10.1.2.3/", "10.1.2.3"],
    ["https://100.64.0.1/", "100.64.0.1"],
    ["https://169.254.169.254/latest/meta-data", "169.254.169.254"],
    ["https://172.16.0.1/", "172.16.0.1"],
    ["https://172.31.255.255/", "172.31.255.255"],
    ["https://192.168.1.1/", "192.168.1.1"],
    ["https://198.18.0.1/", "198.18.0.1"],
    ["https://224.0.0.1/", "224.0.0.1"],
    ["https://255.255.255.255/", "255.255.255.255"],
    ["https://[::1]/", "::1"],
    ["https://[::]/", "[::]"],
    ["https://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"],
    ["https://[::ffff:8.8.8.8]/", "[::ffff:808:808]"],
    ["https://[fe80::1]/", "fe80"],
    ["https://[fd00::1]/", "fd00"],
    ["https://[2002:7f00:1::]/", "2002"],
    ["https://[64:ff9b::7f00:1]/", "64:ff9b"],
  ])("%s is refused, naming %s", (url, word) => {
    expect(refuseUrl(url, false)).toContain(word);
  });

  it.each(["http://127.0.0.1:8080/", "http://localhost/", "https://[::1]/", "http://10.0.0.1/"])(
    "%s is allowed where the operator permits it",
    (url) => {
      expect(refuseUrl(url, true)).toBeNull();
    },
  );

  it("are refused by the Worker, before any object, unless its operator permits them", async () => {
    await createService();
    const worker = (await import("../../worker/index.ts")).default;
    const request = (): Request =>
      new Request(`http://coordinator${WEBHOOKS}`, {
        method: "POST",
        headers: { Authorization: `Bearer ${ADMIN}`, "Content-Type": "application/json" },
        body: JSON.stringify({ url: "http://127.0.0.1:9/" }),
      });
    const reached = vi.spyOn(Object.getPrototypeOf(env.COORDINATOR) as typeof env.COORDINATOR, "getByName");
    await refusedWith(await worker.fetch(request(), { ...env, ALLOW_INSECURE_WEBHOOKS: "false" }), "url-not-allowed");
    expect(reached).not.toHaveBeenCalled();
    expect((await worker.fetch(request(), env)).status).toBe(201);
    reached.mockRestore();
  });
});

describe("waits between tries", () => {
  it("double from two seconds up to an hour, a fifth more or less, and end after the twelfth", () => {
    const middle = Array.from({ length: MAX_TRIES }, (_, index) => backoffMs(index + 1, 0.5));
    expect(middle.slice(0, 4)).toEqual([2_000, 4_000, 8_000, 16_000]);
    expect(middle.at(-2)).toBe(2_048_000);
    expect(middle.at(-1)).toBeNull();
    expect([backoffMs(1, 0), backoffMs(1, 1)]).toEqual([1_600, 2_400]);
  });
});

it("a poll is answered by an object whose webhook was deleted under way", async () => {
  const service = await foundedService();
  const webhook = await subscribe({ answers: ["hang"] });
  await received(webhook, 1);
  await ask(`${WEBHOOKS}/${webhook.id}`, { method: "DELETE" });
  pass(1_000);
  expect((await service.members.db1.speak(send)).status).toBe(200);
});

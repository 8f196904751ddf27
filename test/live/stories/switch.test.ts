/** The planned change of the primary, at rest and under two writing applications, and who may order it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { DemoClients } from "../../../demo/clients.ts";
import { HOLD_TIMEOUT_MS } from "../../../demo/cluster.ts";
import { cutsSince, errorsOpened } from "../../../demo/figures.ts";
import { freezeAll, thawAll } from "../../../demo/frost.ts";
import { openSession } from "../../../demo/session.ts";
import { until } from "../../../demo/until.ts";
import { freezeReceiver } from "./receiver.ts";
import { progressOf, Story } from "./story.ts";

const ACKS_MS = 20_000;
const LOOK_EVERY_MS = 10;

let story: Story;

beforeAll(async () => {
  story = await Story.open();
});

afterAll(() => story.close());

describe("at rest", () => {
  beforeAll(() => story.calm());

  it("switches to the most caught-up slave, telling each step, and the prior master is ONLINE as a slave", async () => {
    const frozen = await freezeReceiver(story.cluster.host("db3"));
    try {
      await story.sql("insert into story values (302)");
      await story.until("db2 is ahead", (now) => progressOf(now, "db2") > progressOf(now, "db3"));
      expect(await story.play("switch")).toBe(0);
    } finally {
      thawAll(frozen);
    }
    await story.untilPage("db2-master");
  });

  it("switches to the slave that is named", async () => {
    expect(await story.play("switch-to")).toBe(0);
    await story.untilPage("db3-master");
    expect(await story.play("switch-back")).toBe(0);
  });

  it("says why a target is refused: no member, the master already, SHUNNED", async () => {
    expect(await story.play("switch-to-a-stranger")).toBe(1);
    expect(await story.play("switch-to-the-primary")).toBe(1);
    await story.type("datasource db3 shun");
    expect(await story.play("switch-to-a-shunned")).toBe(1);
  });
});

describe("under two writing applications", () => {
  let clients: DemoClients;

  beforeAll(() => story.calm());

  beforeEach(async () => {
    await story.calm();
    clients = new DemoClients({ connectorPort: story.cluster.connectorPort, holdTimeoutMs: HOLD_TIMEOUT_MS });
    await story.sql("drop table if exists writes");
    await clients.start();
    await untilAcks(100);
    return () => clients.abandon();
  });

  it("switches without an error on any connection opened meanwhile, and cuts the kept one once", async () => {
    const sinceMs = performance.now();
    const { screen, status } = await story.type("switch to db2");
    expect(screen).toMatch(/^SWITCH TO 'db2@alpha' WAS SUCCESSFUL$/m);
    expect(status).toBe(0);
    await untilAcks(clients.ackCount + 200);
    await clients.stop();
    const errors = errorsOpened([...clients.perWrite.errors, ...clients.kept.errors], { sinceMs });
    expect(errors).toEqual([]);
    expect(cutsSince(clients.kept.errors, sinceMs)).toBe(1);
    const written = await clients.present();
    const acks = [...clients.perWrite.acks, ...clients.kept.acks];
    expect(acks.filter(({ n }) => !written.has(n))).toEqual([]);
  });

  it("ends a transaction that stays open beyond the drain, once, and then switches", async () => {
    const lingering = openSession(story.cluster.connectorPort);
    try {
      await lingering.client.connect();
      await lingering.client.query("begin");
      await lingering.client.query("insert into story values (301)");
      let ends = 0;
      lingering.client.once("end", () => (ends += 1));
      const began = performance.now();
      const { screen, status } = await story.type("switch to db2");
      expect(status).toBe(0);
      expect(screen).toMatch(/^PURGED A TOTAL OF [1-9]\d* ACTIVE SESSIONS ON MASTER 'db1@alpha'$/m);
      expect(performance.now() - began).toBeGreaterThan(4_500);
      await until("the end of the session", { deadlineMs: 5_000, everyMs: LOOK_EVERY_MS }, () =>
        ends > 0 ? { found: true } : { missing: "it is open" },
      );
      expect(ends).toBe(1);
      expect(await story.sql("select n from story where n = 301")).toEqual([]);
    } finally {
      lingering.cut("the story is over");
    }
  });

  it("is rolled back when the target stands still: db1 is still the master in the same epoch, and writes go on", async () => {
    const before = await story.cluster.status();
    const sinceMs = performance.now();
    const typed = story.type("switch to db2");
    await story.until("the switch is under way", ({ operation }) => operation?.kind === "switch");
    const frozen = await freezeAll("the target's server", () => story.cluster.host("db2").servers);
    try {
      const { screen, status } = await typed;
      expect(status).toBe(1);
      expect(screen).toMatch(/^THE SWITCH WAS ROLLED BACK WHILE .*: TARGET LOST\. 'db1@alpha' IS STILL THE MASTER$/m);
      expect(screen).toMatch(/^REVERT POLICY: MAINTENANCE => AUTOMATIC$/m);
      await untilAcks(clients.ackCount + 200);
      const after = await story.cluster.status();
      expect(after).toMatchObject({ epoch: before.epoch, primary: "db1", policy: "automatic" });
      expect(errorsOpened([...clients.perWrite.errors, ...clients.kept.errors], { sinceMs })).toEqual([]);
    } finally {
      thawAll(frozen);
    }
  });

  function untilAcks(count: number): Promise<true> {
    return until("writes", { deadlineMs: ACKS_MS, everyMs: LOOK_EVERY_MS }, () =>
      clients.ackCount >= count ? { found: true } : { missing: `${clients.ackCount} of ${count} are acknowledged` },
    );
  }
});

describe("tokens", () => {
  beforeAll(() => story.calm());

  it("lets a viewer look and refuses its `switch`, with the token to use", async () => {
    const token = await story.cluster.createToken("viewer", "wallboard");
    expect((await story.console(token).type(["ls"])).status).toBe(0);
    expect(await story.play("viewer-refused", token)).toBe(1);
    const { status, stderr } = await story.cluster.rex(["switch"], { token });
    expect(status).toBe(1);
    expect(stderr).toContain("forbidden");
    expect((await story.cluster.status()).primary).toBe("db1");
  });

  it("lets an operator switch, and the events say who it was", async () => {
    const token = await story.cluster.createToken("operator", "night shift");
    const after = await story.lastEvent();
    expect((await story.console(token).type(["switch"])).status).toBe(0);
    const commands = (await story.eventsSince(after)).filter(({ kind }) => kind === "operator-command");
    expect(commands).toHaveLength(1);
    expect(commands[0]?.data).toMatchObject({ command: "switch" });
    expect(commands[0]?.data["by"]).toContain("night shift");
  });
});

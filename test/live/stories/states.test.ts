/** SHUNNED, OFFLINE and FAILED: what an operator put somewhere stays there, and what failed comes back. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isIn, Story } from "./story.ts";

const WATCH_MS = 2_000;

let story: Story;

beforeAll(async () => {
  story = await Story.open();
});

afterAll(() => story.close());

describe("a replica is shunned by hand", () => {
  beforeAll(() => story.calm());

  it("shows db3(slave:SHUNNED(MANUALLY-SHUNNED)), and AUTOMATIC leaves it there, replicating", async () => {
    expect(await story.play("shun")).toBe(0);
    await story.untilPage("manually-shunned");
    await story.sql("insert into story values (401)");
    await story.untilRow("db3", 401);
    await story.during(WATCH_MS, "db3 stays out", (status) => isIn(status, "db3", "shunned"));
  });

  it("lets `recover` take it in again without any repair: OFFLINE, then ONLINE by itself", async () => {
    expect(await story.play("recover-merely-shunned")).toBe(0);
    await story.cluster.untilOnline();
  });

  it("leaves it SHUNNED through a failover: the other slave is promoted", async () => {
    await story.type("datasource db3 shun");
    await story.cluster.host("db1").kill();
    await story.untilPage("two-out");
    await story.during(WATCH_MS, "db3 stays out", (status) => isIn(status, "db3", "shunned"));
    expect((await story.cluster.status()).primary).toBe("db2");
  });

  it("puts it OFFLINE by `welcome`, and AUTOMATIC brings it ONLINE behind the new master", async () => {
    expect(await story.play("welcome-shunned")).toBe(0);
    await story.cluster.untilOnline(() => ["db1"]);
    await story.sql("insert into story values (402)");
    await story.untilRow("db3", 402);
  });
});

describe("both slaves are shunned by hand and the primary's server is killed", () => {
  beforeAll(() => story.calm());

  it("leaves them SHUNNED, starts the primary's server again, and opens it in a new epoch", async () => {
    const { epoch } = await story.cluster.status();
    await story.type("datasource db2 shun", "datasource db3 shun");
    await story.cluster.host("db1").kill();
    const status = await story.until("db1 reigns again", (now) => now.primary === "db1" && now.epoch > epoch);
    expect(isIn(status, "db2", "shunned") && isIn(status, "db3", "shunned")).toBe(true);
    await story.sql("insert into story values (403)");
  });
});

describe("the living primary", () => {
  beforeAll(() => story.calm());

  it("is not shunned without force", async () => {
    expect(await story.play("shun-primary-refused")).toBe(1);
    expect((await story.cluster.status()).primary).toBe("db1");
  });
});

describe("a replica is taken OFFLINE", () => {
  beforeEach(() => story.calm());

  it("comes back by itself in AUTOMATIC", async () => {
    const after = await story.lastEvent();
    expect(await story.play("offline")).toBe(0);
    await story.until("db3 is ONLINE again", (status) => isIn(status, "db3", "online"));
    expect(await statesOf("db3", after)).toEqual(["offline", "online"]);
  });

  it.each(["manual", "maintenance"])("stays OFFLINE in %s, STATUS [WARN], until `online`", async (policy) => {
    await story.type(`set policy ${policy}`);
    expect(await story.play("offline")).toBe(0);
    await story.untilPage(`offline-in-${policy}`);
    await story.during(WATCH_MS, "db3 stays OFFLINE", (status) => isIn(status, "db3", "offline"));
    expect(await story.play("online")).toBe(0);
    expect(isIn(await story.cluster.status(), "db3", "online")).toBe(true);
  });
});

describe("a replica's server is killed", () => {
  beforeEach(() => story.calm());

  it("is FAILED, started again and ONLINE by itself in AUTOMATIC", async () => {
    const after = await story.lastEvent();
    await story.cluster.host("db3").kill();
    await story.until("db3 is FAILED", (status) => isIn(status, "db3", "failed"));
    await story.cluster.untilOnline();
    expect(await statesOf("db3", after)).toEqual(["failed", "online"]);
  });

  it("shows FAILED(DATASERVER 'db3@alpha' STOPPED), STATUS [CRITICAL] and REASON in MANUAL, until `recover`", async () => {
    await story.type("set policy manual");
    await story.cluster.host("db3").kill();
    await story.untilPage("replica-failed");
    await story.during(WATCH_MS, "db3 stays FAILED", (status) => isIn(status, "db3", "failed"));
    expect(await story.play("recover-replica")).toBe(0);
    await story.cluster.untilOnline();
  });
});

async function statesOf(member: string, after: number): Promise<unknown[]> {
  const events = await story.eventsSince(after);
  return events
    .filter(({ kind, data }) => kind === "datasource-changed" && data["member"] === member)
    .map(({ data }) => data["to"]);
}

/** AUTOMATIC: a failover, the way back, and what is left to do when nobody may succeed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isIn, Story } from "./story.ts";

let story: Story;

beforeAll(async () => {
  story = await Story.open();
});

afterAll(() => story.close());

describe("the primary's server is killed", () => {
  beforeAll(() => story.calm());

  it("shows db1(master:SHUNNED(FAILED-OVER-TO-db2)), its replicator DEGRADED, its server STOPPED, and db2 as the master", async () => {
    await story.cluster.host("db1").kill();
    await story.untilPage("failed-over");
    await story.sql("insert into story values (101)");
    expect(await story.sqlOn("db2", "select n from story where n = 101")).toHaveLength(1);
  });

  it("shows the server ONLINE once it is started by hand, read-only, and db1 still SHUNNED", async () => {
    await story.cluster.host("db1").launchServer();
    await story.untilPage("failed-over-and-back");
    expect(await story.sqlOn("db1", "select pg_is_in_recovery() as standby")).toEqual([{ standby: true }]);
    await story.during(2_000, "db1 stays out", (status) => isIn(status, "db1", "shunned") && status.primary === "db2");
  });

  it("recovers db1 as a slave of db2, telling each step, and it is ONLINE with every row", async () => {
    expect(await story.play("recover-former-primary")).toBe(0);
    await story.untilPage("db2-master");
    await story.untilRow("db1", 101);
  });
});

describe("the primary is failed by hand", () => {
  beforeAll(() => story.calm());

  it("sets db1 to FAILED and fails over as if its server had died", async () => {
    expect(await story.play("fail-primary")).toBe(0);
    await story.untilPage("failed-over");
  });
});

describe("a former primary and a shunned replica are out", () => {
  beforeAll(() => story.calm());

  it("recovers both by one `recover`, and counts them", async () => {
    await story.type("datasource db3 shun");
    await story.cluster.host("db1").kill();
    await story.untilPage("two-out");
    expect(await story.play("recover-two")).toBe(0);
    await story.untilPage("db2-master");
  });
});

describe("no primary is left", () => {
  beforeAll(async () => {
    await story.calm();
    await story.type("switch to db3");
    await story.cluster.untilOnline();
  });

  it("shows the primary SHUNNED by force as the only master, and promotes nobody", async () => {
    const { epoch } = await story.cluster.status();
    expect(await story.play("shun-primary-by-force")).toBe(0);
    await story.untilPage("primary-shunned");
    await story.during(2_000, "nobody reigns", (status) => status.primary === null && status.epoch === epoch);
  });

  it("refuses `recover`: the dataservice DOES NOT HAVE AN ACTIVE PRIMARY", async () => {
    expect(await story.play("no-active-primary")).toBe(1);
    const { status, stdout } = await story.cluster.rex(["recover"]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^DATA SERVICE 'alpha' DOES NOT HAVE AN ACTIVE PRIMARY$/m);
  });

  it("refuses `welcome` without force", async () => {
    expect(await story.play("welcome-refused")).toBe(1);
    expect(isIn(await story.cluster.status(), "db3", "shunned")).toBe(true);
  });

  it("with `set force true`, `welcome` puts db3 OFFLINE, and then all is ONLINE by itself, db3 the master", async () => {
    expect(await story.play("welcome-by-force")).toBe(0);
    await story.untilPage("db3-master");
    await story.sql("insert into story values (102)");
    await story.untilRow("db1", 102);
    await story.untilRow("db2", 102);
  });
});

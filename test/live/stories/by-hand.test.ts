/** MAINTENANCE and MANUAL: what fails is shown, or marked, and the rest is the operator's. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isIn, Story } from "./story.ts";

let story: Story;

beforeAll(async () => {
  story = await Story.open();
});

afterAll(() => story.close());

describe("in MAINTENANCE the primary's server is killed", () => {
  let epoch: number;

  beforeAll(async () => {
    await story.calm();
    ({ epoch } = await story.cluster.status());
  });

  it("still shows db1(master:ONLINE), STATUS [OK], its server STOPPED, and promotes nobody", async () => {
    expect(await story.play("set-policy-maintenance")).toBe(0);
    await story.cluster.host("db1").kill();
    await story.untilPage("maintenance-server-stopped");
    await story.during(3_000, "nothing happens", (status) => isIn(status, "db1", "online") && status.epoch === epoch);
  });

  it("refuses `failover` of a primary that is not FAILED", async () => {
    expect(await story.play("failover-of-a-healthy-primary")).toBe(1);
  });

  it("asks before `expert`, then `datasource db1 fail` sets db1 to FAILED(MANUALLY-FAILED), with the REASON", async () => {
    expect(await story.play("fail-in-expert-mode")).toBe(0);
    await story.untilPage("manually-failed");
  });

  it("tells each step of `failover`, and shows db1 SHUNNED(FAILED-OVER-TO-db2)", async () => {
    expect(await story.play("failover-by-hand")).toBe(0);
    await story.untilPage("failed-over-by-hand");
    await story.sql("insert into story values (201)");
  });

  it("is back to normal after `set policy automatic` and `recover`", async () => {
    await story.type("set policy automatic");
    expect(await story.play("recover-former-primary")).toBe(0);
    await story.untilPage("db2-master");
    await story.untilRow("db1", 201);
  });
});

describe("in MAINTENANCE the operator restarts the primary's server", () => {
  beforeAll(() => story.calm());

  it("opens it again in a new epoch, without any command, and the policy stays", async () => {
    const { epoch } = await story.cluster.status();
    await story.type("set policy maintenance");
    const host = story.cluster.host("db1");
    await host.stopServer("fast");
    await host.launchServer();
    const status = await story.until("db1 reigns again", ({ primary, epoch: now }) => primary === "db1" && now > epoch);
    expect(status.epoch).toBe(epoch + 1);
    expect(status.policy).toBe("maintenance");
    await story.sql("insert into story values (202)");
    await story.untilRow("db2", 202);
  });
});

describe("in MANUAL the primary's server is killed", () => {
  beforeAll(() => story.calm());

  it("shows db1(master:FAILED(DATASERVER 'db1@alpha' STOPPED)) with the REASON, and promotes nobody", async () => {
    const { epoch } = await story.cluster.status();
    await story.type("set policy manual");
    await story.cluster.host("db1").kill();
    await story.untilPage("manual-server-stopped");
    await story.during(2_000, "nobody is promoted", (status) => status.primary === null);
    expect((await story.cluster.status()).epoch).toBe(epoch);
  });

  it("fails over by hand", async () => {
    expect(await story.play("failover-in-manual")).toBe(0);
    expect((await story.cluster.status()).primary).toBe("db2");
    await story.sql("insert into story values (203)");
  });
});

describe("in MANUAL the primary's server is killed, and nobody is to succeed it", () => {
  beforeAll(() => story.calm());

  it("is started again by `datasource db1 recover`, read-only, and opened in a new epoch", async () => {
    const { epoch } = await story.cluster.status();
    await story.type("set policy manual");
    await story.cluster.host("db1").kill();
    await story.until("db1 is FAILED", (status) => isIn(status, "db1", "failed"));
    const { screen, status } = await story.type("datasource db1 recover");
    expect(screen).toMatch(/^PUT THE MASTER 'db1@alpha' ONLINE AGAIN$/m);
    expect(status).toBe(0);
    expect(await story.cluster.status()).toMatchObject({ primary: "db1", epoch: epoch + 1, policy: "manual" });
    await story.sql("insert into story values (204)");
  });
});

describe("the primary's server was killed in MAINTENANCE, and the policy is AUTOMATIC again", () => {
  beforeAll(() => story.calm());

  it("fails over by itself", async () => {
    await story.type("set policy maintenance");
    await story.cluster.host("db1").kill();
    await story.until("nobody reigns", ({ primary }) => primary === null);
    await story.type("set policy automatic");
    await story.untilPage("failed-over");
    expect((await story.cluster.status()).primary).toBe("db2");
  });
});

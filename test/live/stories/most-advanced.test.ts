/** The most advanced replica comes first: it is chosen, or the one that is named first fetches the rest from it. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { thawAll } from "../../../demo/frost.ts";
import { lsnBytes } from "#shared/domain/position.ts";
import { freezeReceiver } from "./receiver.ts";
import { isIn, progressOf, Story } from "./story.ts";

/** More than the sockets between two servers can hold: what a frozen receiver has not read is then lost with its primary. */
const ROWS = 40_000;
const BULK = `insert into bulk select g, repeat(md5(g::text), 30) from generate_series(1, ${ROWS}) g`;

let story: Story;

beforeAll(async () => {
  story = await Story.open();
});

beforeEach(() => story.calm());

afterAll(() => story.close());

it("promotes the slave that holds more, whatever its name", async () => {
  await loseDb1WithDb2Behind("automatic");
  const { primary } = await story.until("a successor", (status) => status.primary !== null && status.primary !== "db1");
  expect(primary).toBe("db3");
  expect(await story.sql("select count(*)::int as rows from bulk")).toEqual([{ rows: ROWS }]);
});

it("lets the named slave first catch up from the one that is ahead, and it then has every row", async () => {
  await loseDb1WithDb2Behind("manual");
  await story.until("db1 is FAILED", (status) => isIn(status, "db1", "failed"));
  expect(await story.play("failover-to-the-one-behind")).toBe(0);
  expect((await story.cluster.status()).primary).toBe("db2");
  expect(await story.sql("select count(*)::int as rows from bulk")).toEqual([{ rows: ROWS }]);
});

/** While db2 receives nothing, rows are written that db3 has; then the primary's server dies, and db2 goes on. */
async function loseDb1WithDb2Behind(policy: string): Promise<void> {
  await story.type(`set policy ${policy}`);
  await story.sql("drop table if exists bulk");
  await story.sql("create table bulk(n int, filler text)");
  const receiver = await freezeReceiver(story.cluster.host("db2"));
  try {
    await story.sql(BULK);
    const [end] = await story.sql("select pg_current_wal_flush_lsn()::text as lsn");
    const all = Number(lsnBytes(String(end?.["lsn"])));
    await story.until("db3 has all", (status) => progressOf(status, "db3") >= all);
    await story.cluster.host("db1").kill();
  } finally {
    thawAll(receiver);
  }
}

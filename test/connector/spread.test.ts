import { beforeEach, expect, test } from "vitest";
import { Spread } from "../../agent/connector/spread.ts";
import { upstream } from "./peers.ts";

const courses = ["db1", "db2", "db3"].map((member) => ({ epoch: 1, target: upstream(member, 1) }));

let spread: Spread;
beforeEach(() => {
  spread = new Spread();
});

function taken(nowMs = 0, from = courses): string | undefined {
  return spread.take(from, nowMs)?.target.member;
}

test("equals take turns", () => {
  expect(Array.from({ length: 6 }, () => taken())).toEqual(["db1", "db2", "db3", "db1", "db2", "db3"]);
});

test("the least loaded takes the next", () => {
  for (const member of ["db1", "db1", "db2", "db3", "db3"]) spread.began(member);
  expect([taken(), taken()]).toEqual(["db2", "db2"]);
  spread.ended("db3");
  spread.ended("db3");
  expect(taken()).toBe("db3");
});

test("one that failed lately comes last, until it serves again or time has passed", () => {
  for (const member of ["db2", "db3"]) spread.began(member);
  spread.failed("db1", 0);
  expect(taken(1_999)).toBe("db2");
  expect(taken(1_999, courses.slice(0, 1))).toBe("db1");
  expect(taken(2_000)).toBe("db1");
  spread.failed("db1", 2_000);
  spread.served("db1");
  expect(taken(2_001)).toBe("db1");
});

test("there is nothing to take from nobody", () => {
  expect(taken(0, [])).toBe(undefined);
});

/** Courses of a failover that were once wrong, each as short as it can be told. */
import { describe, expect, test } from "vitest";
import {
  createdCluster,
  frozenPatch,
  kindOf,
  pass,
  passWithout,
  poll,
  secondReign,
  silencedCluster,
} from "./builders.ts";

describe("an expired lease", () => {
  test("ends the reign it belongs to and not the next one", () => {
    const cluster = secondReign();
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", epoch: 2, primary: "db2", opened: true });
  });

  test("the promoted member is given its lease though the old one has run out", () => {
    const cluster = silencedCluster();
    for (const host of ["db2", "db3", "db4"]) poll(cluster, host);
    pass(cluster, 50);
    for (const host of ["db3", "db4", "db2"]) poll(cluster, host, frozenPatch(cluster));
    expect(kindOf(cluster.state.durable.phase)).toBe("reigning-opening");
    expect(cluster.state.durable.epoch).toBe(2);
    expect(cluster.state.lease?.epoch).toBe(2);
  });
});

describe("a primary that vanishes before its promotion has left", () => {
  test("is succeeded: nobody was told to open in its epoch", () => {
    const cluster = createdCluster();
    for (const host of ["db1", "db2", "db3", "db4"]) poll(cluster, host);
    expect(kindOf(cluster.state.durable.phase)).toBe("reigning-opening");
    passWithout(cluster, 12_000, ["db1"]);
    expect(kindOf(cluster.state.durable.phase)).not.toBe("deposing");
  });
});

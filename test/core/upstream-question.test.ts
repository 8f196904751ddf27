/**
 * Where time alone says that the last holder may not write any more, its replicas look whether it does so all the same,
 * before a freeze erases the evidence. One that is answered "writable" stops everything until a person, or the holder
 * itself, says otherwise.
 */
import { describe, expect, test } from "vitest";
import { inquiryMs } from "#shared/core/cluster/collecting.ts";
import type { Command } from "#shared/domain/messages.ts";
import {
  ask,
  IN_RECOVERY,
  phaseOf,
  releasedPatch,
  REPLICAS,
  runningCluster,
  silencedCluster,
  type Cluster,
} from "./builders.ts";
import { givenTo, listen, reasonsOf, refusalOf, type Told } from "./listening.ts";
import { killServer, live, say, type Misfortune } from "./living.ts";

/** What a host answers to the question; the others hear that the upstream is read-only. */
function answers(value: (host: string) => string): Misfortune {
  return {
    silent: ["db1"],
    obey: (host, { kind, id, op }) =>
      kind === "ask-upstream"
        ? { results: [{ id, op, outcome: "done", code: "", value: value(host), detail: "" }] }
        : undefined,
  };
}

/** db1 has not been heard for as long as its lease can last; db3 has heard that its server accepts writes. */
function alarmed(): { cluster: Cluster; told: Told; misfortune: Misfortune } {
  const cluster = silencedCluster();
  const told = listen(cluster);
  const misfortune = answers((host) => (host === "db3" ? "writable" : "read-only"));
  live(cluster, 5_000, misfortune);
  return { cluster, told, misfortune };
}

describe("the question to the upstream", () => {
  test("comes before every freeze, and once to everybody who may succeed", () => {
    const cluster = silencedCluster();
    const told = listen(cluster);
    live(cluster, 5_000, { silent: ["db1"] });
    for (const name of REPLICAS) {
      const given = givenTo(told, name);
      expect([name, given.slice(0, 2)]).toEqual([name, ["ask-upstream", "freeze"]]);
      expect(given.filter((kind) => kind === "ask-upstream")).toHaveLength(1);
    }
    const isFreeze = ({ command }: { command: Command }): boolean => command.kind === "freeze";
    const isQuestion = ({ command }: { command: Command }): boolean => command.kind === "ask-upstream";
    expect(told.commands.findLastIndex(isQuestion)).toBeLessThan(told.commands.findIndex(isFreeze));
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });

  test("is about the endpoint of the one whose lease has expired", () => {
    const cluster = silencedCluster();
    const told = listen(cluster);
    live(cluster, 1_000, { silent: ["db1"] });
    const questions = told.commands.filter(({ command }) => command.kind === "ask-upstream");
    expect(questions.map(({ command }) => "upstream" in command && command.upstream.member)).toEqual([
      "db1",
      "db1",
      "db1",
    ]);
  });

  test.each(["released", "asserted"] as const)("is not asked where the reign's end is %s", (proof) => {
    const cluster = runningCluster();
    live(cluster, 2_000);
    const told = listen(cluster);
    const silent = proof === "asserted" ? ["db1"] : [];
    if (proof === "released") killServer(cluster, "db1");
    live(cluster, 5_500, { silent });
    if (proof === "asserted") ask(cluster, { kind: "failover", to: null }, { force: true });
    live(cluster, 5_000, { silent });
    expect(reasonsOf(told, "reign-ended")).toMatchObject([{ member: "db1", proof }]);
    expect(told.commands.some(({ command }) => command.kind === "ask-upstream")).toBe(false);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });

  test("is not waited for from an agent that never answers", () => {
    const cluster = silencedCluster();
    const told = listen(cluster);
    const isDeaf: Misfortune = {
      silent: ["db1"],
      obey: (host, { kind, id, op }) =>
        host === "db3" && kind === "ask-upstream"
          ? { results: [{ id, op, outcome: "accepted", code: "", value: "", detail: "" }] }
          : undefined,
    };
    live(cluster, 10_000, isDeaf);
    expect(reasonsOf(told, "upstream-asked")).toContainEqual(
      expect.objectContaining({ member: "db3", answer: "no-answer" }),
    );
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });

  test("is not answered by an agent that refuses it: whoever refuses has not looked", () => {
    const cluster = silencedCluster();
    const told = listen(cluster);
    const refuses: Misfortune = {
      silent: ["db1"],
      obey: (host, { kind, id, op }) =>
        host === "db3" && kind === "ask-upstream"
          ? { results: [{ id, op, outcome: "refused", code: "busy", value: "", detail: "" }] }
          : undefined,
    };
    live(cluster, inquiryMs(cluster.state) - 100, refuses);
    expect(phaseOf(cluster)).toMatchObject({ kind: "collecting", inquiry: { kind: "asking" } });
    expect(told.commands.some(({ command }) => command.kind === "freeze")).toBe(false);
    live(cluster, 2_000, refuses);
    expect(reasonsOf(told, "upstream-asked")).toContainEqual(
      expect.objectContaining({ member: "db3", answer: "busy" }),
    );
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });

  test.each(["no-answer", "read-only"])("lets the succession go on where everybody hears: %s", (value) => {
    const cluster = silencedCluster();
    live(
      cluster,
      5_000,
      answers(() => value),
    );
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true });
  });
});

describe("an upstream that says it is writable", () => {
  test("stops the succession before anybody is frozen", () => {
    const { cluster, told } = alarmed();
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "upstream-writable", proof: "expired" });
    expect(reasonsOf(told, "failover-aborted")).toMatchObject([{ code: "upstream-writable", members: ["db3"] }]);
    expect(told.commands.some(({ command }) => command.kind === "freeze")).toBe(false);
    expect(cluster.state.durable.epoch).toBe(1);
  });

  test("is not asked again: what was seen once stays", () => {
    const { cluster, told } = alarmed();
    live(cluster, 60_000, { silent: ["db1"] });
    expect(phaseOf(cluster)).toMatchObject({ kind: "vacant", code: "upstream-writable" });
    expect(givenTo(told, "db2").filter((kind) => kind === "ask-upstream")).toHaveLength(1);
  });

  test("is overridden by the operator's force and by nothing less", () => {
    const { cluster, misfortune } = alarmed();
    const before = cluster.state;
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }))).toBe("needs-force");
    expect(cluster.state).toBe(before);
    expect(refusalOf(ask(cluster, { kind: "failover", to: null }, { force: true }))).toBe("accepted");
    live(cluster, 5_000, misfortune);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true, proof: "asserted" });
  });

  test("is over when the holder's own agent vouches for it", () => {
    const { cluster } = alarmed();
    say(cluster, "db1", {
      ...releasedPatch(1),
      releaseCause: "lease-lost",
      server: { phase: "closed", report: IN_RECOVERY },
    });
    live(cluster, 5_000);
    expect(phaseOf(cluster)).toMatchObject({ kind: "reigning", epoch: 2, opened: true, proof: "released" });
  });
});

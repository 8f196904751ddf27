/**
 * Put into test/core/. Outside AUTOMATIC a switch that is undone after the stop crowns a bystander, or nobody, instead of
 * the prior primary: `markDeposed` calls it OFFLINE, and `ineligible` passes over who is OFFLINE unless it is the target.
 */
import { describe, expect, test } from "vitest";
import { ask, STOPPED } from "./builders.ts";
import { endOf, listen } from "./listening.ts";
import { failing, live, liveUntil, type Misfortune } from "./living.ts";
import { switchRows } from "./plan-events.ts";

const refusing: Misfortune = {
  obey: (host, command) =>
    command.kind === "promote" && host === "db3"
      ? { ...failing(command), released: command.epoch, releaseCause: "promotion-failed" }
      : undefined,
};
const unclean: Misfortune = {
  obey: (host, command) =>
    command.kind === "fence" && host === "db2"
      ? {
          released: 2,
          releaseCause: "commanded",
          leaseRemainingMs: null,
          server: { phase: "closed", report: STOPPED, door: "open" },
        }
      : undefined,
};

describe.each([
  ["the target's promotion fails", refusing, "target-lost"],
  ["the stop was not clean", unclean, "stop-not-clean"],
] as const)("a switch that is undone because %s", (_, misfortune, code) => {
  test.each(["automatic", "manual", "maintenance"] as const)("opens the prior primary again in %s", (policy) => {
    const cluster = switchRows["switch-stopping"]();
    ask(cluster, { kind: "set-policy", policy });
    const told = listen(cluster);
    liveUntil(cluster, () => cluster.state.durable.plan === null, misfortune);
    live(cluster, 1_000);
    expect(endOf(told, "switch")).toBe(code);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", opened: true, primary: "db2" });
  });
});

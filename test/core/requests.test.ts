/** What operators are refused, with which code, and that nothing at all has changed then; and what force may override. */
import { describe, expect, test } from "vitest";
import type { OperatorRequest, Refusal } from "#shared/core/cluster/state.ts";
import { ask, createdCluster, poll, runningCluster, STOPPED, type Cluster } from "./builders.ts";
import { phases } from "./cluster-events.ts";
import { refusalOf } from "./listening.ts";
import { killServer, live, say } from "./living.ts";
import { recoverRows, switchRows } from "./plan-events.ts";

/** db1 reigns; the others are ONLINE and stream from it. */
function settled(): Cluster {
  const cluster = runningCluster();
  live(cluster, 2_000);
  return cluster;
}

/** Nobody reigns; db1's server has died, and in MANUAL nobody takes over by himself. */
function vacant(): Cluster {
  const cluster = settled();
  ask(cluster, { kind: "set-policy", policy: "manual" });
  killServer(cluster, "db1");
  live(cluster, 2_000);
  return cluster;
}

function after(cluster: Cluster, ...requests: OperatorRequest[]): Cluster {
  for (const request of requests) ask(cluster, request);
  return cluster;
}

/** In MAINTENANCE, as everybody knows; then nothing is heard of db1. */
function unheardInMaintenance(): Cluster {
  const cluster = after(settled(), { kind: "set-policy", policy: "maintenance" });
  live(cluster, 2_000);
  live(cluster, 20_000, { silent: ["db1"] });
  return cluster;
}

/** The operator has shunned db1, which reigned: nobody takes over. */
function shunnedPrimary(): Cluster {
  const cluster = settled();
  ask(cluster, { kind: "datasource-shun", member: "db1" }, { force: true });
  live(cluster, 2_000);
  return cluster;
}

interface Row {
  title: string;
  from: () => Cluster;
  request: OperatorRequest;
  code: Refusal["code"];
  /** Whether it is refused by force too. */
  also?: "by force";
}

const db = (kind: Extract<OperatorRequest, { member: string }>["kind"], member: string): OperatorRequest => ({
  kind,
  member,
});

const rows: Row[] = [
  {
    title: "a stranger",
    from: settled,
    request: db("datasource-recover", "db9"),
    code: "unknown-member",
    also: "by force",
  },
  {
    title: "a switch to a stranger",
    from: settled,
    request: { kind: "switch", to: "db9" },
    code: "unknown-member",
    also: "by force",
  },
  { title: "a host without a server", from: settled, request: db("datasource-shun", "app1"), code: "unknown-member" },
  {
    title: "a recovery before the founding",
    from: createdCluster,
    request: { kind: "recover" },
    code: "not-founded",
    also: "by force",
  },
  {
    title: "a failover of a healthy primary",
    from: settled,
    request: { kind: "failover", to: null },
    code: "primary-is-healthy",
  },
  {
    title: "a switch to the primary",
    from: settled,
    request: { kind: "switch", to: "db1" },
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "a switch to one that is not ONLINE",
    from: () => after(settled(), db("datasource-shun", "db3")),
    request: { kind: "switch", to: "db3" },
    code: "target-not-eligible",
    also: "by force",
  },
  {
    title: "a switch to one that does not stream",
    from: () => {
      const cluster = settled();
      poll(cluster, "db3", { server: { receiver: { state: "ended", upstream: "db1" } } });
      return cluster;
    },
    request: { kind: "switch", to: "db3" },
    code: "target-not-eligible",
  },
  {
    title: "a switch where nobody could take over",
    from: () => after(settled(), ...["db2", "db3", "db4"].map((name) => db("datasource-shun", name))),
    request: { kind: "switch", to: null },
    code: "target-not-eligible",
  },
  {
    title: "a switch without a primary",
    from: vacant,
    request: { kind: "switch", to: null },
    code: "no-active-primary",
    also: "by force",
  },
  {
    title: "a failover to the primary that failed",
    from: vacant,
    request: { kind: "failover", to: "db1" },
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "a failover to one that is shunned",
    from: () => after(vacant(), db("datasource-shun", "db3")),
    request: { kind: "failover", to: "db3" },
    code: "target-not-eligible",
    also: "by force",
  },
  {
    title: "failing what is failed already",
    from: () => after(settled(), db("datasource-fail", "db3")),
    request: db("datasource-fail", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "failing what is shunned",
    from: () => after(settled(), db("datasource-shun", "db3")),
    request: db("datasource-fail", "db3"),
    code: "wrong-state",
  },
  {
    title: "shunning what is shunned already",
    from: () => after(settled(), db("datasource-shun", "db3")),
    request: db("datasource-shun", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  { title: "shunning the primary", from: settled, request: db("datasource-shun", "db1"), code: "primary-is-live" },
  {
    title: "taking the primary offline",
    from: settled,
    request: db("datasource-offline", "db1"),
    code: "primary-is-live",
  },
  {
    title: "taking offline what is not ONLINE",
    from: () => after(settled(), db("datasource-shun", "db3")),
    request: db("datasource-offline", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "bringing online what is ONLINE",
    from: settled,
    request: db("datasource-online", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "bringing online what is shunned",
    from: () => after(settled(), db("datasource-shun", "db3")),
    request: db("datasource-online", "db3"),
    code: "wrong-state",
  },
  {
    title: "bringing online what does not stream",
    from: () => {
      const cluster = after(settled(), { kind: "set-policy", policy: "manual" }, db("datasource-offline", "db3"));
      poll(cluster, "db3", { server: { report: STOPPED, receiver: { state: "none" } } });
      return after(cluster, { kind: "set-policy", policy: "maintenance" });
    },
    request: db("datasource-online", "db3"),
    code: "wrong-state",
  },
  {
    title: "welcoming what is ONLINE",
    from: settled,
    request: db("datasource-welcome", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "welcoming what is FAILED",
    from: () => after(settled(), db("datasource-fail", "db3")),
    request: db("datasource-welcome", "db3"),
    code: "wrong-state",
  },
  {
    title: "welcoming a former primary that has been succeeded",
    from: phases["reigning-opened"],
    request: db("datasource-welcome", "db1"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "welcoming anybody where nobody reigns",
    from: shunnedPrimary,
    request: db("datasource-welcome", "db1"),
    code: "needs-force",
  },
  {
    title: "recovering what is ONLINE",
    from: settled,
    request: db("datasource-recover", "db3"),
    code: "wrong-state",
    also: "by force",
  },
  {
    title: "a failover of a primary whose lease has no end and that is silent",
    from: unheardInMaintenance,
    request: { kind: "failover", to: null },
    code: "needs-force",
  },
  {
    title: "failing a primary whose lease has no end and that is silent",
    from: unheardInMaintenance,
    request: db("datasource-fail", "db1"),
    code: "needs-force",
    also: "by force",
  },
  ...(["switch", "failover", "recover"] as const).flatMap((kind): Row[] => [
    {
      title: `${kind} during a switch`,
      from: switchRows["switch-preparing"],
      request: kind === "recover" ? { kind } : { kind, to: null },
      code: "operation-under-way",
    },
    {
      title: `${kind} during a recovery`,
      from: recoverRows["recover-following"],
      request: kind === "recover" ? { kind } : { kind, to: null },
      code: "operation-under-way",
    },
    {
      title: `${kind} during a failover`,
      from: phases["collecting-natural"],
      request: kind === "recover" ? { kind } : { kind, to: null },
      code: "operation-under-way",
      also: "by force",
    },
  ]),
];

describe("refused", () => {
  test.each(rows)("$title: $code", ({ from, request, code, also }) => {
    const cluster = from();
    const before = cluster.state;
    const step = ask(cluster, request);
    expect(refusalOf(step)).toBe(code);
    expect(step).toMatchObject({ effects: [], reasons: [], confirm: false });
    expect(cluster.state).toBe(before);
    const forced = refusalOf(ask(cluster, request, { force: true }));
    expect([forced, cluster.state === before]).toEqual(
      also === "by force" ? [code, true] : [forced, forced !== "accepted"],
    );
  });

  test("is the assertion that a primary is dead, while anybody may still go by its last word", () => {
    const cluster = settled();
    const assertion = { kind: "failover", to: null } as const;
    expect(refusalOf(ask(cluster, assertion, { force: true }))).toBe("primary-is-live");
    live(cluster, 4_900, { silent: ["db1"] });
    expect(refusalOf(ask(cluster, assertion, { force: true }))).toBe("primary-is-live");
    live(cluster, 200, { silent: ["db1"] });
    expect(refusalOf(ask(cluster, assertion, { force: true }))).toBe("accepted");
  });
});

describe("force", () => {
  test.each([
    ["shuns the primary, and nobody takes over", db("datasource-shun", "db1"), "shunned"],
    ["takes the primary offline, and nobody takes over", db("datasource-offline", "db1"), "offline"],
  ] as const)("%s", (_, request, state) => {
    const cluster = settled();
    expect(refusalOf(ask(cluster, request, { force: true }))).toBe("accepted");
    live(cluster, 60_000);
    expect(cluster.state.durable).toMatchObject({ epoch: 1, phase: { kind: "vacant", code: "operators-word" } });
    expect(cluster.state.durable.members["db1"]?.state).toBe(state);
  });

  test("welcomes the former primary as the next one", () => {
    const cluster = shunnedPrimary();
    expect(refusalOf(ask(cluster, db("datasource-welcome", "db1"), { force: true }))).toBe("accepted");
    live(cluster, 10_000);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db1", epoch: 2, opened: true });
  });

  test("welcomes another as the next one, with what it holds", () => {
    const cluster = after(settled(), db("datasource-shun", "db3"));
    ask(cluster, db("datasource-shun", "db1"), { force: true });
    live(cluster, 2_000);
    say(cluster, "db3", { server: { receiver: { state: "none" } } });
    expect(refusalOf(ask(cluster, db("datasource-welcome", "db3"), { force: true }))).toBe("accepted");
    live(cluster, 10_000);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db3", epoch: 2, opened: true });
  });
});

describe("an offline primary", () => {
  test("is opened again by its operator, in a new epoch", () => {
    const cluster = settled();
    ask(cluster, db("datasource-offline", "db1"), { force: true });
    live(cluster, 5_000);
    expect(refusalOf(ask(cluster, db("datasource-online", "db2")))).not.toBe("accepted");
    expect(refusalOf(ask(cluster, db("datasource-online", "db1")))).toBe("accepted");
    live(cluster, 5_000);
    expect(cluster.state.durable.phase).toMatchObject({ kind: "reigning", primary: "db1", epoch: 2, opened: true });
  });
});

describe("set-policy", () => {
  test.each(Object.entries({ ...phases, ...switchRows, ...recoverRows }))("is accepted at any time: %s", (_, from) => {
    const cluster = from();
    const { policyVersion } = cluster.state.durable;
    expect(refusalOf(ask(cluster, { kind: "set-policy", policy: "manual" }))).toBe("accepted");
    expect(cluster.state.durable).toMatchObject({ policy: "manual", policyVersion: policyVersion + 1 });
  });

  test("to what it is already changes nothing", () => {
    const cluster = settled();
    const { policyVersion } = cluster.state.durable;
    expect(refusalOf(ask(cluster, { kind: "set-policy", policy: "automatic" }))).toBe("accepted");
    expect(cluster.state.durable.policyVersion).toBe(policyVersion);
  });
});

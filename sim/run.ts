/** One run of one seed: a world is made, broken for a while, and then given the time to heal. */
import type { Endpoint } from "#shared/domain/messages.ts";
import type { AgentPorts } from "./agent.ts";
import { Checkers, type Violation } from "./checkers.ts";
import { Coordinator } from "./coordinator.ts";
import { unleash } from "./faults.ts";
import { Host } from "./host.ts";
import { holdsAll, restOf, type Rest } from "./liveness.ts";
import { REAL_MACHINES, type Machines } from "./machines.ts";
import { Network } from "./network.ts";
import { seededRandom } from "./random.ts";
import { scenarioOf, type Scenario } from "./scenario.ts";
import { FIRST_BRANCH, Server, type Write } from "./server.ts";
import { World } from "./world.ts";

/** How long the world may take to come to rest after the last fault. */
const HEALING_MS = 180_000;
/** How long it must stay at rest to be believed. */
const RESTING_MS = 2_500;
const LOOK_EVERY_MS = 250;

export interface Outcome {
  seed: number;
  violation: Violation | null;
  rest: Rest;
  trace: string[];
  /** How long the healing took, in virtual time. */
  healedMs: number;
  /** How long the whole run was, in virtual time. */
  simulatedMs: number;
  epochs: number;
  events: number;
  acknowledged: number;
  /** Acknowledged writes that the last primary lacks: what asynchronous replication may lose. */
  lost: number;
}

interface Stage {
  world: World;
  network: Network;
  checkers: Checkers;
  coordinator: Coordinator;
  hosts: Host[];
  /** Copies of them, made meanwhile; no members. */
  copies: Host[];
  copy: (host: Host, isLive: boolean) => void;
  scenario: Scenario;
}

/** What a run may have otherwise than its seed says: worse machines, or another world. */
export interface Alterations {
  machines?: Machines;
  scenario?: Partial<Scenario>;
}

/** Runs one seed to its end, or to the first violation. */
export function runSeed(seed: number, { machines = REAL_MACHINES, scenario: altered = {} }: Alterations = {}): Outcome {
  const stage = setStage({ ...scenarioOf(seed), ...altered }, machines);
  const { world, checkers, scenario } = stage;
  const isBroken = (): boolean => checkers.violation !== null;
  world.chaos = scenario.chaosFromMs === 0;
  world.runUntil(scenario.chaosFromMs, isBroken);
  world.chaos = true;
  unleash({ ...stage, random: seededRandom(seed).fork("faults") });
  world.runUntil(scenario.chaosUntilMs, isBroken);
  if (!isBroken()) calm(stage);
  const calmFromMs = world.nowMs;
  const rest = isBroken() ? ({ kind: "unsettled", why: "a rule was broken" } as const) : heal(stage);
  return { ...summary(stage), seed, rest, healedMs: world.nowMs - calmFromMs };
}

function setStage(scenario: Scenario, machines: Machines): Stage {
  const random = seededRandom(scenario.seed);
  const world = new World();
  const checkers = new Checkers(world, scenario);
  const network = new Network(world, random.fork("network"), scenario.weather);
  const coordinator = new Coordinator({ world, random: random.fork("coordinator"), checkers, machines, scenario });
  const hosts: Host[] = [];
  const copies: Host[] = [];
  let branch = FIRST_BRANCH;
  const everyone = (): Host[] => [...hosts, ...copies];
  const hostAt = (server: Server): Host | undefined => everyone().find((host) => host.server === server);
  const serverPorts = {
    world,
    network,
    readsTails: scenario.readsTails,
    streamsTakeMs: scenario.streamsTakeMs,
    nextBranch: () => (branch += 1),
    serverAt: (endpoint: Endpoint) =>
      everyone().find((host) => host.server.endpoint.host === endpoint.host)?.server ?? null,
    onAcknowledge: (server: Server, write: Write) => {
      const host = hostAt(server);
      if (host) checkers.acknowledged(host, write);
    },
    isCutOff: (server: Server) => hostAt(server)?.door.isShut ?? false,
    onConnect: (replica: Server, upstream: Server) => checkers.connected(replica, upstream),
    onChange: (server: Server) => {
      const host = hostAt(server);
      if (!host) return;
      checkers.serverChanged(host);
      host.agent?.act(() => host.agent?.observe());
    },
  };
  const make = (name: string, serves: boolean): Host => {
    const options = { endpoint: { host: `${name}.example`, port: 5432 }, inRecovery: !serves, standbySignal: !serves };
    const server = new Server({ ...serverPorts, random: random.fork(`server of ${name}`) }, name, options);
    const ports: AgentPorts = {
      world,
      network,
      coordinator,
      checkers,
      machines,
      scenario,
      hostOf: (peer) => hosts.find((host) => host.name === peer) ?? null,
      random: random.fork(`agent of ${name}`),
      hosts,
    };
    checkers.watch(server);
    return new Host(ports, server);
  };
  scenario.members.forEach(({ name }, index) => hosts.push(make(name, index === 0 && scenario.primaryServes)));
  const copy = (original: Host, isLive: boolean): void => {
    const image = make(`${original.name}-copy${copies.length + 1}`, false);
    image.server.kill();
    copies.push(image);
    if (!image.becomeImageOf(original, isLive)) copies.pop();
  };
  for (const host of hosts) {
    if (host !== hosts[0]) host.server.follow(hosts[0]?.server.endpoint ?? null);
    checkers.serverChanged(host);
    host.startAgent();
  }
  return { world, network, checkers, coordinator, hosts, copies, copy, scenario };
}

/** All faults end: lines are mended, and whatever stopped goes on. */
function calm({ world, network, coordinator, hosts, copies }: Stage): void {
  world.chaos = false;
  world.note("world", "calm");
  for (const image of copies) image.scrap();
  network.healAll();
  coordinator.endZombies();
  coordinator.start();
  // An operator who has left the dataservice in MANUAL or MAINTENANCE takes it back.
  coordinator.command({ kind: "set-policy", policy: "automatic" });
  for (const host of hosts) {
    host.server.setHung(false);
    host.wake();
    host.resume();
    host.powerOn();
    host.startAgent();
    // Before the founding nobody but the owner starts a server.
    if (!host.isManaged && host.server.life === null) host.server.start(100);
  }
}

/** Of two with one identity an operator has ended the copy, and says so. */
function settleForks({ coordinator, hosts }: Stage): void {
  const { identities, phase } = coordinator.stored.durable;
  for (const { name } of hosts) {
    if (!identities[name]?.isForked) continue;
    const reigns = (phase.kind === "reigning" || phase.kind === "deposing") && phase.primary === name;
    if (reigns) coordinator.command({ kind: "failover", to: null }, true);
    else coordinator.command({ kind: "datasource-recover", member: name }, true);
  }
}

/** A copy reigned that is gone, and where nobody else could be elected no time ends that: its operator does. */
function endReignOfCopy({ coordinator, copies, hosts }: Stage): void {
  const { phase } = coordinator.stored.durable;
  if (copies.length === 0 || phase.kind !== "reigning" || !phase.opened) return;
  const primary = hosts.find(({ name }) => name === phase.primary);
  if (primary && !primary.server.accepts) coordinator.command({ kind: "datasource-fail", member: primary.name });
}

/** An agent that lost its state file is refused until an operator takes it for the member's. */
function readmitForgetful({ coordinator, hosts }: Stage): void {
  for (const { name, disk } of hosts) {
    const known = coordinator.stored.durable.identities[name]?.incarnation ?? null;
    if (known === null || known === disk.written.incarnation) continue;
    const { phase } = coordinator.stored.durable;
    // A lease without an end is ended by nobody else: its server was stopped when the file was lost.
    const reigns = (phase.kind === "reigning" || phase.kind === "deposing") && phase.primary === name;
    if (reigns) coordinator.command({ kind: "failover", to: null }, true);
    else coordinator.command({ kind: "datasource-recover", member: name }, true);
  }
}

/** All have forgotten everything, the coordinator too: an operator names the member that holds what every other holds. */
function nameFirstPrimary({ coordinator, hosts }: Stage): void {
  const { phase } = coordinator.stored.durable;
  if (phase.kind !== "founding") return;
  const furthest = holdsAll(hosts);
  if (furthest && furthest.name !== phase.primary) coordinator.command({ kind: "failover", to: furthest.name });
}

/** Waits for rest; failing that, liveness is broken. */
function heal(stage: Stage): Rest {
  const { world, checkers, coordinator, hosts } = stage;
  const endMs = world.nowMs + HEALING_MS;
  let restingSinceMs: number | null = null;
  let rest: Rest = { kind: "unsettled", why: "not looked at yet" };
  while (world.nowMs < endMs && checkers.violation === null) {
    world.runUntil(world.nowMs + LOOK_EVERY_MS, () => checkers.violation !== null);
    readmitForgetful(stage);
    settleForks(stage);
    // An operator looks for a while whether it heals by itself.
    const isLate = world.nowMs > endMs - HEALING_MS / 2;
    if (isLate) endReignOfCopy(stage);
    if (isLate) nameFirstPrimary(stage);
    // One whose agent is refused reports to nobody: after a while its operator goes on without it.
    if (coordinator.stored.durable.restoration?.kind === "reporting" && isLate) {
      coordinator.command({ kind: "coordinator-restored" }, true);
    }
    // An operator looks at what a restored coordinator has found, and takes the dataservice back.
    if (coordinator.stored.durable.restoration?.kind === "unconfirmed") {
      coordinator.command({ kind: "set-policy", policy: "automatic" });
    }
    rest = restOf(coordinator.stored.durable, hosts);
    if (rest.kind === "unsettled") restingSinceMs = null;
    else restingSinceMs ??= world.nowMs;
    if (restingSinceMs !== null && world.nowMs - restingSinceMs >= RESTING_MS) return rest;
  }
  if (checkers.violation === null) checkers.fail("L1", rest.kind === "unsettled" ? rest.why : `restless: ${rest.kind}`);
  return rest;
}

function summary({ world, checkers, coordinator, hosts }: Stage): Omit<Outcome, "seed" | "rest" | "healedMs"> {
  const { durable } = coordinator.stored;
  const acknowledged = hosts.flatMap((host) => host.server.acknowledged);
  const { phase } = durable;
  const last = phase.kind === "reigning" ? hosts.find((host) => host.name === phase.primary)?.server : undefined;
  const isKept = ({ branch, lsn }: { branch: number; lsn: number }): boolean =>
    !last || (lsn <= last.endLsn && last.branchAt(lsn) === branch);
  return {
    violation: checkers.violation,
    trace: world.trace,
    simulatedMs: world.nowMs,
    epochs: durable.epoch,
    events: world.handled,
    acknowledged: acknowledged.length,
    lost: acknowledged.filter((write) => !isKept(write)).length,
  };
}

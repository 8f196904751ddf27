/** `rex agent`: reads the configuration, takes the lock, counts the start, and lets the loop run until it is told to end. */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import type { LookupFunction } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { pino, type Logger } from "pino";
import { begin } from "#shared/core/member/step.ts";
import {
  freshDurable,
  freshLive,
  NO_LEASE_DOOR,
  UNSEEN,
  type MemberDurable,
  type MemberLive,
  type MemberReason,
  type MemberState,
  type ServerView,
} from "#shared/core/member/state.ts";
import { mayGiveTail } from "#shared/core/member/tail.ts";
import { breakDown } from "./break-down.ts";
import { checkAgent } from "./check.ts";
import { bootNowMs, readBootId, readClocks, readPlace } from "./clocks.ts";
import { ConfigError, readConfig, type AgentConfig } from "./config.ts";
import { Connector } from "./connector/connector.ts";
import { CoordinatorClient } from "./coordinator-client.ts";
import type { Engine } from "./engine/engine.ts";
import { makeEngine } from "./engine/make.ts";
import { GuardianLink } from "./guardian/link.ts";
import { LockError, lockData, lockState } from "./lock.ts";
import { LogStream, stderrOut } from "./log-stream.ts";
import { AgentLoop } from "./loop.ts";
import { askSystem, NameService } from "./name-service.ts";
import type { DoorPort } from "./door/kernel-door.ts";
import { findDoor } from "./door/find.ts";
import { AddressBook } from "./peer/address-book.ts";
import { PeerChannel, type PeerChannelOptions } from "./peer/channel.ts";
import { destinationOf } from "./peer/tunnel.ts";
import type { TailRequest } from "./peer/tail.ts";
import { tellOutcomes } from "./poll-outcomes.ts";
import { goAhead } from "./priority.ts";
import { StateFile, StateFileError } from "./state-file.ts";

const DIAL_TIMEOUT_MS = 1_000;
const READ_ONLY_NEXT_MS = 1_000;
/** A start takes a part of a second; without a guardian the agent goes on, and says so. */
const GUARDIAN_PATIENCE_MS = 2_000;
/** Closing what is open takes no time as a rule. */
const CLOSE_PATIENCE_MS = 500;
const FLUSH_PATIENCE_MS = 500;

/** Exit statuses: 0 told to end, 1 cannot start, 70 a broken rule of our own (after fencing). */
export async function agentMain(argv: { config: string; check: boolean; json: boolean }): Promise<number> {
  try {
    const config = readConfig(argv.config);
    if (argv.check) return await checkAgent(config, { json: argv.json });
    // Whatever is open still must not hold a process that has ended in order.
    process.exit(await runAgent(config));
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof StateFileError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

async function runAgent(config: AgentConfig): Promise<number> {
  const stream = new LogStream(stderrOut(), (lines) => log.warn({ lines }, "nobody read the log: lines were dropped"));
  const log: Logger = pino({ level: config.log_level, base: { host: config.host } }, stream);
  const status = await runLogged(config, log);
  await stream.flush(FLUSH_PATIENCE_MS);
  return status;
}

async function runLogged(config: AgentConfig, log: Logger): Promise<number> {
  mkdirSync(config.state_directory, { recursive: true, mode: 0o700 });
  lockDirectories(config);
  const file = new StateFile(config.state_directory);
  if (!goAhead()) log.info("this account may not put the agent before other processes: CAP_SYS_NICE would let it");
  const durable = countStart(file, config);
  const engine = config.server ? makeEngine(config.server, config.host, log) : null;
  const door = config.server ? await findDoor(config, config.server, log) : null;
  const view = engine ? await engine.observe() : UNSEEN;
  if (engine && durable.founded) await startReadOnlyNext(engine, view, log);
  const live = { ...liveFor(config, engine, view), leaseDoor: door?.asFound ?? NO_LEASE_DOOR };
  const first = begin(durable, live, readClocks());
  if (first.state.durable !== durable) file.write(first.state.durable, first.fsync);
  return serve({ config, log, file, engine, door: door?.port ?? null, first });
}

/** Throws a ConfigError where another agent holds them, or they cannot be locked. */
function lockDirectories({ state_directory, server }: AgentConfig): void {
  const lock = (key: string, directory: string, take: () => boolean, remedy: string): void => {
    try {
      if (take()) return;
    } catch (error) {
      throw error instanceof LockError ? new ConfigError([`${key} = "${directory}": ${error.message}`]) : error;
    }
    throw new ConfigError([`${key} = "${directory}": another agent uses it: end that one, or ${remedy}`]);
  };
  lock("state_directory", state_directory, () => lockState(state_directory, "agent"), "give this one its own");
  // Agents of two dataservices, each with a state of its own, must not both believe that a server is theirs.
  const data = server?.data_directory;
  if (data !== undefined) lock("server.data_directory", data, () => lockData(data), "name this one's own");
}

/**
 * A predecessor that died around a promotion may have left a writable server that would start writable once more. Its
 * sessions notice nothing of this; whether it is still covered by a lease is judged after it.
 */
async function startReadOnlyNext(engine: Engine, view: ServerView, log: Logger): Promise<void> {
  if (view.report.state !== "running" || !view.report.writable) return;
  const outcome = await engine.adopt(READ_ONLY_NEXT_MS);
  if (!outcome.ok) log.error(outcome, "the server's next start could not be made read-only");
}

/** One more start, on disk before the first poll: the coordinator tells by it the new process from the old one. */
function countStart(file: StateFile, config: AgentConfig): MemberDurable {
  const kept = file.read();
  if (kept && (kept.dataservice !== config.dataservice || kept.host !== config.host)) {
    throw new ConfigError([
      `state_directory = "${config.state_directory}" belongs to '${kept.host}@${kept.dataservice}', not to '${config.host}@${config.dataservice}': give this agent its own`,
    ]);
  }
  const before = kept ?? freshDurable({ dataservice: config.dataservice, host: config.host }, randomUUID());
  const durable = { ...before, startCount: before.startCount + 1 };
  file.write(durable, true);
  return durable;
}

function liveFor(config: AgentConfig, engine: Engine | null, view: ServerView): MemberLive {
  return freshLive({
    bootId: readBootId(),
    place: readPlace(config.state_directory),
    fenceMs: config.fence_ms,
    endpoint: engine?.endpoint ?? { host: "127.0.0.1", port: 1 },
    view,
    nextPollMs: 1_000,
  });
}

async function serve(parts: {
  config: AgentConfig;
  log: Logger;
  file: StateFile;
  engine: Engine | null;
  door: DoorPort | null;
  first: ReturnType<typeof begin>;
}): Promise<number> {
  const { config, log, file, engine, door, first } = parts;
  const names = nameService(log);
  const { lookup } = names;
  const client = new CoordinatorClient({ ...config, timeoutMs: config.poll_timeout_ms, lookup });
  let loop: AgentLoop | null = null;
  const pollSoon = () => loop?.pollSoon();
  const connector = await startConnector(config, log, { pollSoon, lookup });
  const peers = await openPeerChannel(config, log, {
    lookup,
    onNudge: () => loop?.pollForPeer(),
    desk: {
      onPromise: (request) => loop?.promise(request) ?? Promise.reject(new Error("not ready")),
      giveTail: async (wanted) => (engine && loop ? tailOf(engine, loop.state, wanted) : null),
      route: () => loop?.route() ?? null,
      readable: (question) => loop?.readable(question) ?? null,
    },
  });
  // A server that must be fenced waits for nobody.
  const patienceMs = first.state.phase.kind === "fencing" ? 0 : GUARDIAN_PATIENCE_MS;
  const guardian = await meetGuardian(config, log, { patienceMs, onLook: () => loop?.lookAtTheTime() });
  let end: (status: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  loop = new AgentLoop(
    {
      engine,
      door,
      peers,
      guard: (state) => guardian?.tell(state),
      poll: (poll, isAlone) => client.poll(poll, isAlone || client.isDetoured ? peers?.detours() : []),
      keep: (durable, fsync) => file.write(durable, fsync),
      connectorReport: () => connector?.report() ?? null,
      onRoutes: (routes, sentBootMs) => routes.forEach((route) => connector?.setRoute(route, sentBootMs)),
      onReason: (reason) => logReason(log, reason),
      onPollOutcome: tellOutcomes(log),
      onKeepFailure: tellOfChange((message) => log.error(message)),
      onBroken: (error) => {
        const { founded: isFounded } = (loop?.state ?? first.state).durable;
        void breakDown({ error, engine, isFounded, fenceMs: config.fence_ms, log }).then(() => end(70));
      },
    },
    first,
  );
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => end(0));
  log.info(
    { startCount: first.state.durable.startCount, connector: connector?.ports ?? null, peer: peers?.endpoint },
    "agent started",
  );
  const status = await ended;
  loop.stop();
  guardian?.stop();
  client.close();
  names.close();
  // Its lease runs on for the next start: nothing that is open, whoever holds it, is waited for any longer than this.
  const closing = Promise.all([peers?.close(), connector?.close(), engine?.close()]);
  await Promise.race([closing, pause(CLOSE_PATIENCE_MS)]);
  log.info({ status }, "agent ended");
  return status;
}

function nameService(log: Logger): NameService {
  const onTrouble = (name: string, address: string, why: string) =>
    log.warn({ name, address, why }, "the name service does not answer: going on with the last address of this name");
  return new NameService({ ask: askSystem, nowMs: () => performance.now(), onTrouble });
}

async function startConnector(
  config: AgentConfig,
  log: Logger,
  { pollSoon, lookup }: { pollSoon: () => void; lookup: LookupFunction },
) {
  if (!config.connector) return null;
  const connector = new Connector({
    dataservice: config.dataservice,
    listenHost: config.connector.host,
    listenPort: config.connector.port,
    readOnlyPort: config.connector.read_only_port,
    holdTimeoutMs: config.connector.hold_timeout_ms,
    dialTimeoutMs: DIAL_TIMEOUT_MS,
    lookup,
    now: bootNowMs,
    onTrouble: pollSoon,
    onHeld: pollSoon,
    log,
  });
  try {
    return Object.assign(connector, { ports: await connector.start() });
  } catch (error) {
    const { code, port } = error as NodeJS.ErrnoException & { port?: number };
    const key = port === config.connector.read_only_port ? "read_only_port" : "port";
    throw new ConfigError([`connector.${key} = ${config.connector[key]}: cannot listen (${code}): choose a free port`]);
  }
}

/** A server is opened only beside a guardian that stands, as a rule; one that cannot be had is told and tried for on. */
async function meetGuardian(
  config: AgentConfig,
  log: Logger,
  { patienceMs, onLook }: { patienceMs: number; onLook: () => void },
): Promise<GuardianLink | null> {
  if (!config.server) return null;
  const { state_directory: stateDirectory, fence_ms: fenceMs } = config;
  const { data_directory: dataDirectory } = config.server;
  const guardian = new GuardianLink({ stateDirectory, dataDirectory, fenceMs, onLook, log });
  if (!(await guardian.met(patienceMs))) log.error("no guardian yet: going on without");
  return guardian;
}

/** What lies on this disk beyond the successor's log; null while it may not be read out. */
async function tailOf(engine: Engine, state: MemberState, wanted: TailRequest): Promise<Buffer | null> {
  if (!mayGiveTail(state, wanted)) return null;
  const { until, from, bytes } = wanted;
  return engine.readTail({ timeline: until.timeline, from, bytes });
}

/** The peers' hints only save time: an address that was not asked for and cannot be had is gone without. */
async function openPeerChannel(
  config: AgentConfig,
  log: Logger,
  heard: Pick<PeerChannelOptions, "onNudge" | "desk" | "lookup">,
): Promise<PeerChannel | null> {
  const host = config.peer?.host ?? config.server?.host ?? "127.0.0.1";
  const port = config.peer?.port ?? 0;
  const onFailure = (peer: string, error: Error) => log.debug({ peer, error: error.message }, "peer not reached");
  try {
    const coordinator = destinationOf(config.coordinator);
    const book = new AddressBook(config.state_directory, (complaint) => log.warn(complaint));
    return await PeerChannel.open({ self: config.host, host, port, onFailure, coordinator, book, ...heard });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const complaint = `peer.host = "${host}", peer.port = ${port}: cannot listen (${code}): choose a free port of this host`;
    if (config.peer) throw new ConfigError([complaint]);
    log.warn({ complaint }, "no peer channel");
    return null;
  }
}

function logReason(log: Logger, reason: MemberReason): void {
  const { kind, ...data } = reason;
  if (kind === "lease-extended") log.debug(data, kind);
  else if (kind === "lease-door-failed") log.error(data, kind);
  else log.info(data, kind);
}

/** Tells a failure once, however often it comes. */
function tellOfChange(tell: (message: string) => void): (error: Error) => void {
  let told = "";
  return ({ message }) => {
    if (message !== told) tell(message);
    told = message;
  };
}

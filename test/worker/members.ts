/**
 * Scripted members: what agents would send and how they would obey, at the level of the protocol. The coordinator
 * under test is real; the servers exist only in what these members report.
 */
import type { Command, CommandResult, MemberServerReport, Poll, Reply } from "#shared/domain/messages.ts";
import type { MemberName } from "#shared/domain/names.ts";
import type { PostgresPosition } from "#shared/domain/position.ts";

export const SYSTEM_ID = "7300000000000000001";

/** How a member's poll reaches the coordinator: the raw response of the HTTP API. */
export type Send = (poll: Poll, token: string) => Promise<Response>;

export class ScriptedMember {
  readonly name: MemberName;
  readonly token: string;
  poll: Poll;
  server: MemberServerReport;
  /** The newest accepted reply. */
  reply: Reply | null = null;
  /** Every command that was obeyed, in order. */
  obeyed: Command[] = [];
  #leaseUntilMs: number | null = null;

  constructor(name: MemberName, token: string) {
    this.name = name;
    this.token = token;
    this.server = {
      phase: "observing",
      endpoint: { host: "127.0.0.1", port: 5432 },
      engine: "postgres",
      engineVersion: "18.4",
      systemId: SYSTEM_ID,
      report: { state: "running", inRecovery: true, writable: false },
      position: position("0/3000000"),
      isWhole: true,
      furthest: null,
      applied: 50_331_648,
      latencyMs: 0,
      receiver: { state: "none" },
      lookedAfter: null,
      shutdownLsn: null,
      tail: null,
      door: "open",
      isDamaged: false,
      sync: null,
    };
    this.poll = firstPoll(name, this.server);
  }

  /** Sends the next poll; obeys what a reply commands. Returns the response as it came. */
  async speak(send: Send): Promise<Response> {
    const sentMs = Date.now();
    this.poll = {
      ...this.poll,
      seq: this.poll.seq + 1,
      // A fresh look goes with every poll.
      server: { ...this.server, lookedAfter: this.reply?.nonce ?? null },
      clocks: clocks(),
      leaseRemainingMs: this.leaseLeftMs(),
    };
    const response = await send(this.poll, this.token);
    if (response.ok) this.#hear(await response.clone().json<Reply>(), sentMs);
    return response;
  }

  leaseLeftMs(): number | null {
    return this.#leaseUntilMs === null ? null : this.#leaseUntilMs - Date.now();
  }

  isOpen(): boolean {
    return this.server.phase === "open";
  }

  /** The server's process has died; its agent vouches that nothing of it is left. */
  die(): void {
    this.#close("stopped");
    this.poll = { ...this.poll, released: this.poll.attempted, releaseCause: "server-died" };
  }

  #hear(reply: Reply, sentMs: number): void {
    this.reply = reply;
    this.poll = { ...this.poll, nonce: reply.nonce, nonceClocks: clocks(), policyVersion: reply.policyVersion };
    if (reply.version >= this.poll.version) this.poll = { ...this.poll, version: reply.version, mac: reply.mac };
    for (const command of reply.commands) this.#obey(command);
    if (reply.sync !== null) {
      this.poll = { ...this.poll, syncSeen: reply.sync.version };
      this.server = { ...this.server, sync: reply.sync };
    }
    if (reply.lease && reply.lease.epoch === this.poll.attempted && this.isOpen()) {
      this.#leaseUntilMs = sentMs + reply.lease.ttlMs;
    }
  }

  #obey(command: Command): void {
    if (command.op < this.poll.opSeen || command.epoch < this.poll.epochSeen) return;
    this.obeyed.push(command);
    this.poll = { ...this.poll, opSeen: command.op, epochSeen: command.epoch };
    switch (command.kind) {
      case "adopt":
      case "promote":
        this.#open(command.epoch);
        break;
      case "follow":
        this.server = {
          ...this.server,
          phase: "closed",
          door: "open",
          shutdownLsn: null,
          tail: null,
          report: { state: "running", inRecovery: true, writable: false },
          receiver: { state: "streaming", upstream: command.upstream.member },
        };
        break;
      case "freeze":
        this.server = { ...this.server, receiver: { state: "frozen", op: command.op } };
        break;
      case "fence":
        this.#close(command.patienceMs > 0 ? "stopped" : "recovery");
        // Stopped in good order: its log ends with the record of that, which the replicas have received.
        if (command.patienceMs > 0) this.server = { ...this.server, shutdownLsn: "0/2FFFF90" };
        this.poll = { ...this.poll, released: this.poll.attempted, releaseCause: "commanded" };
        break;
      case "shut":
        this.server = { ...this.server, door: "shut" };
        break;
      case "reopen":
        this.server = { ...this.server, door: "open" };
        break;
      case "prepare":
      case "ask-upstream":
      case "fetch-tail":
        break;
      case "rebuild":
        this.poll = { ...this.poll, ownEpoch: 0 };
        this.server = { ...this.server, report: { state: "stopped" } };
        break;
      case "start":
        this.server = { ...this.server, report: { state: "running", inRecovery: true, writable: false } };
        break;
    }
    this.#result(command);
  }

  #open(epoch: number): void {
    this.poll = { ...this.poll, attempted: epoch, ownEpoch: epoch };
    const report = { state: "running", inRecovery: false, writable: true } as const;
    this.server = { ...this.server, phase: "open", report, receiver: { state: "none" }, shutdownLsn: null };
  }

  #close(how: "stopped" | "recovery"): void {
    this.#leaseUntilMs = null;
    const report =
      how === "stopped"
        ? ({ state: "stopped" } as const)
        : ({ state: "running", inRecovery: true, writable: false } as const);
    this.server = { ...this.server, phase: "closed", report, receiver: { state: "none" } };
  }

  #result(command: Command): void {
    const { id, op } = command;
    const result: CommandResult = { id, op, outcome: "done", code: "", value: valueOf(command), detail: "" };
    this.poll = { ...this.poll, results: [...this.poll.results, result].slice(-8) };
  }
}

/** What the result of a command says that counts or asks something. */
function valueOf({ kind }: Command): string {
  return kind === "shut" ? "0" : kind === "ask-upstream" ? "read-only" : "";
}

/** The stream of a replica has ended: its primary is gone. */
export function endStream(member: ScriptedMember): void {
  const { receiver } = member.server;
  if (receiver.state !== "streaming") return;
  member.server = { ...member.server, receiver: { state: "ended", upstream: receiver.upstream } };
}

export function position(lsn: string): PostgresPosition {
  return { engine: "postgres", systemId: SYSTEM_ID, timeline: 1, lsn, history: [] };
}

function clocks(): Poll["clocks"] {
  const now = Date.now();
  return { monoMs: now, bootMs: now, wallMs: now };
}

function firstPoll(name: MemberName, server: MemberServerReport): Poll {
  return {
    protocol: 1,
    dataservice: "alpha",
    host: name,
    startCount: 1,
    seq: 0,
    nonce: null,
    nonceClocks: null,
    clocks: clocks(),
    epochSeen: 0,
    opSeen: 0,
    attempted: 0,
    released: 0,
    ownEpoch: 0,
    releaseCause: "none",
    version: 0,
    mac: "",
    incarnation: `incarnation-of-${name}`,
    place: `boot-of-${name}`,
    fenceMs: 1_500,
    hasLeaseDoor: false,
    electorateVersion: 0,
    policyVersion: 0,
    syncSeen: 0,
    leaseRemainingMs: null,
    server,
    connector: null,
    peer: null,
    results: [],
    promises: [],
  };
}

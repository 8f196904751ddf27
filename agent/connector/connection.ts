/**
 * One client from accept to close.
 *
 * `held` waits for a server; `opening` has dialled one that has not answered; `session` belongs to a server for good;
 * `refusing` tells the client why it waited in vain. Until the first byte of a server has been passed on, the client's
 * bytes are kept and another server may take the place of the first; after it, the fate of the session is the fate of
 * its course: paused without a proof, cut when it is superseded.
 */
import type { LookupFunction, Socket } from "node:net";
import type { MemberName } from "#shared/domain/names.ts";
import { Attempt, resetServer } from "./attempt.ts";
import { readFirstPacket, resendableBytes } from "./first-packet.ts";
import { Flow } from "./flow.ts";
import { type Refusal, refuse } from "./refusal.ts";
import type { Course, RouteChange } from "./route-rules.ts";

/** What a connection asks and tells the entrance that accepted it. */
export interface Door {
  holdTimeoutMs: number;
  dialTimeoutMs: number;
  lookup: LookupFunction | undefined;
  /** Where to dial now, other than at the members `tried`; null when there is nothing to dial. */
  nextCourse: (tried: ReadonlySet<MemberName>) => Course | null;
  /** Whether bytes may pass on this course at this moment. */
  covers: (course: Course) => boolean;
  isSuperseded: (course: Course) => boolean;
  refusal: () => Refusal;
  /** A server failed a client without being asked to. */
  failed: (member: MemberName, why: string) => void;
  openingBegan: (member: MemberName) => void;
  openingEnded: (member: MemberName) => void;
  /** A client that dialled has its session, or waits or is gone: another one may have its turn. */
  turnEnded: () => void;
  sessionBegan: (member: MemberName) => void;
  sessionEnded: (member: MemberName) => void;
  refused: () => void;
  closed: (connection: Connection) => void;
}

type Phase =
  /** `retry` is null while there is nothing to dial: the next route decides. */
  | { kind: "held"; retry: NodeJS.Timeout | null }
  /** `sent` of the early bytes are with the server. */
  | { kind: "opening"; course: Course; attempt: Attempt; sent: number }
  | { kind: "session"; course: Course; server: Socket; up: Flow; down: Flow }
  | { kind: "refusing" }
  | { kind: "closed" };

const RETRY_MS = 100;
/** More than any startup packet; a client that sends more before it is answered waits. */
const EARLY_BYTES = 65_536;

export class Connection {
  readonly #client: Socket;
  readonly #door: Door;
  readonly #holdTimer: NodeJS.Timeout;
  #phase: Phase = { kind: "held", retry: null };
  #early: Buffer = Buffer.alloc(0);
  #isHoldOver = false;
  /** Whose failures led to the dial that is under way, without a pause between them. */
  readonly #tried = new Set<MemberName>();

  /** Takes over `client`, which must allow half-open and have lost no byte yet. */
  constructor(client: Socket, door: Door) {
    this.#client = client;
    this.#door = door;
    this.#holdTimer = setTimeout(this.#holdOver, door.holdTimeoutMs);
    client.on("error", ignoreError);
    client.once("close", this.#clientClosed);
    client.on("data", this.#earlyBytes);
    client.once("end", this.#earlyEnd);
    this.#dial();
  }

  get phase(): Phase["kind"] {
    return this.#phase.kind;
  }

  /** The route is another one, or its proof runs longer. */
  routeArrived(change: Exclude<RouteChange, "ignored">): void {
    const phase = this.#phase;
    switch (phase.kind) {
      case "held":
        if (change === "changed" || phase.retry === null) this.#dial();
        return;
      case "opening":
        if (this.#door.isSuperseded(phase.course)) this.#dial();
        else this.#feed();
        return;
      case "session":
        if (this.#door.isSuperseded(phase.course)) {
          this.destroy();
          return;
        }
        phase.up.advance();
        phase.down.advance();
        return;
      case "refusing":
      case "closed":
    }
  }

  /** No proof has come for as long as a client may be held: what still waits for one has waited enough. */
  proofStayedAway(): void {
    if (this.#phase.kind === "session") this.destroy();
    else if (this.#phase.kind === "opening") this.#refuse();
  }

  /** Refuses the connection if it is waiting for a server. */
  stopWaiting(): void {
    if (this.#phase.kind === "held" || this.#phase.kind === "opening") this.#refuse();
  }

  /** Ends both sides at once. */
  destroy(): void {
    if (this.#phase.kind === "session") resetServer(this.#phase.server);
    this.#client.destroy();
  }

  #dial(): void {
    this.#leavePhase();
    this.#tried.clear();
    const course = this.#door.nextCourse(this.#tried);
    if (course) {
      this.#open(course);
      return;
    }
    this.#phase = { kind: "held", retry: null };
    if (this.#isHoldOver) this.#refuse();
  }

  #open(course: Course): void {
    const attempt = new Attempt({
      target: course.target,
      dialTimeoutMs: this.#door.dialTimeoutMs,
      lookup: this.#door.lookup,
      onConnected: () => this.#feed(),
      onAnswer: () => this.#feed(),
      onFailed: (why) => this.#attemptFailed(course.target.member, why),
    });
    this.#phase = { kind: "opening", course, attempt, sent: 0 };
    this.#door.openingBegan(course.target.member);
  }

  /** Another server takes its place at once; only when all have failed the client does it wait a moment. */
  #attemptFailed(member: MemberName, why: string): void {
    this.#phase = { kind: "held", retry: null };
    this.#door.openingEnded(member);
    this.#door.failed(member, why);
    this.#tried.add(member);
    const next = this.#isHoldOver ? null : this.#door.nextCourse(this.#tried);
    if (next) {
      this.#open(next);
      return;
    }
    this.#phase = { kind: "held", retry: setTimeout(() => this.#dial(), RETRY_MS) };
    this.#door.turnEnded();
    if (this.#isHoldOver) this.#refuse();
  }

  /** Brings an opening forward as far as the proof, the client's bytes and the server's answer allow. */
  #feed(): void {
    const phase = this.#phase;
    if (phase.kind !== "opening" || !phase.attempt.isConnected || !this.#door.covers(phase.course)) return;
    const resendable = resendableBytes(readFirstPacket(this.#early), this.#early.length);
    if (phase.attempt.hasAnswered || resendable === "never") {
      this.#beginSession(phase);
      return;
    }
    if (resendable === phase.sent) return;
    phase.attempt.write(this.#early.subarray(phase.sent, resendable));
    phase.sent = resendable;
  }

  #beginSession({ course, attempt, sent }: Extract<Phase, { kind: "opening" }>): void {
    clearTimeout(this.#holdTimer);
    this.#stopReadingEarly();
    const client = this.#client;
    const { server, answer } = attempt.handOver();
    server.on("error", ignoreError);
    const mayForward = (): boolean => this.#door.covers(course);
    const up = new Flow({ source: client, destination: server, first: this.#early.subarray(sent), mayForward });
    const down = new Flow({ source: server, destination: client, first: answer, mayForward });
    this.#early = Buffer.alloc(0);
    const session = { kind: "session", course, server, up, down } as const;
    this.#phase = session;
    server.once("end", () => this.#serverEnded(session, "closed by the server"));
    server.once("close", (hadError) => this.#serverClosed(session, hadError));
    this.#door.openingEnded(course.target.member);
    this.#door.sessionBegan(course.target.member);
    this.#door.turnEnded();
    up.advance();
    down.advance();
  }

  /** The end of a session that the client has not ended, on a server that had spoken, may be the end of the server. */
  #serverEnded({ course, down }: Extract<Phase, { kind: "session" }>, why: string): void {
    const wasAsked = this.#client.readableEnded || this.#client.destroyed;
    if (!wasAsked && down.hasForwarded) this.#door.failed(course.target.member, why);
  }

  #serverClosed(session: Extract<Phase, { kind: "session" }>, hadError: boolean): void {
    if (hadError) this.#serverEnded(session, "reset by the server");
    if (hadError || !session.server.readableEnded) this.#client.destroy();
    this.#closeIfDone();
  }

  readonly #clientClosed = (hadError: boolean): void => {
    clearTimeout(this.#holdTimer);
    const phase = this.#phase;
    if (phase.kind === "session" && (hadError || !this.#client.readableEnded)) phase.server.destroy();
    this.#closeIfDone();
  };

  #closeIfDone(): void {
    const phase = this.#phase;
    if (phase.kind === "closed" || !this.#client.closed) return;
    if (phase.kind === "session") {
      if (!phase.server.closed) return;
      this.#door.sessionEnded(phase.course.target.member);
    }
    this.#leavePhase();
    this.#phase = { kind: "closed" };
    this.#door.closed(this);
  }

  readonly #earlyBytes = (chunk: Buffer): void => {
    this.#early = Buffer.concat([this.#early, chunk]);
    if (this.#early.length >= EARLY_BYTES) this.#client.pause();
    this.#feed();
  };

  /** A client that ends before it was answered has given up, unless what it sent needs no answer. */
  readonly #earlyEnd = (): void => {
    if (resendableBytes(readFirstPacket(this.#early), this.#early.length) !== "never") this.#client.destroy();
  };

  #stopReadingEarly(): void {
    this.#client.pause();
    this.#client.off("data", this.#earlyBytes).off("end", this.#earlyEnd);
  }

  /** A connected server under a standing proof is only slow, and the client decides how long it waits for that. */
  readonly #holdOver = (): void => {
    this.#isHoldOver = true;
    const phase = this.#phase;
    if (phase.kind === "held") this.#refuse();
    if (phase.kind === "opening" && !(phase.attempt.isConnected && this.#door.covers(phase.course))) this.#refuse();
  };

  #refuse(): void {
    this.#leavePhase();
    clearTimeout(this.#holdTimer);
    this.#stopReadingEarly();
    this.#phase = { kind: "refusing" };
    this.#door.refused();
    refuse(this.#client, this.#early, this.#door.refusal());
    this.#early = Buffer.alloc(0);
  }

  #leavePhase(): void {
    if (this.#phase.kind === "held" && this.#phase.retry) clearTimeout(this.#phase.retry);
    if (this.#phase.kind !== "opening") return;
    this.#phase.attempt.abandon();
    this.#door.openingEnded(this.#phase.course.target.member);
    this.#door.turnEnded();
  }
}

/** Every error of a socket is followed by its close, which is where it is dealt with. */
function ignoreError(): void {}

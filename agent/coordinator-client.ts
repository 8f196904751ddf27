/**
 * The agent's way to the coordinator: one short request a poll on a kept connection. Whatever is not a reply, of this
 * protocol, to this very poll, signed with this agent's token, is `unreachable` to the lease: there is no error here
 * that says a reign is over, only a reply can.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type LookupFunction, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Poll, Reply } from "#shared/domain/messages.ts";
import { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION } from "#shared/domain/version.ts";
import { REPLY_SIGNATURE_HEADER, signedPartOf } from "#shared/protocol/reply-signature.ts";
import { zReply } from "#shared/protocol/wire.ts";
import { settleAtTheEnd } from "./peer/asking.ts";
import type { Detour } from "./peer/channel.ts";
import { BadAnswer, causeOf, detailOf, type UnreachableCause } from "./unreachable.ts";

export type PollOutcome =
  | { kind: "reply"; reply: Reply }
  /** The coordinator answered with a problem: told to people, not to the lease. */
  | { kind: "problem"; status: number; code: string; detail: string }
  | { kind: "unreachable"; cause: UnreachableCause; detail: string };

/** What came back, as it travelled. */
interface Answer {
  status: number;
  body: string;
  /** Of the reply; undefined where there is none. */
  signature: string | undefined;
  /** Where it leads instead; undefined where it leads nowhere. */
  location: string | undefined;
}

const MAX_REPLY_BYTES = 1_048_576;

export class CoordinatorClient {
  readonly #url: URL;
  readonly #token: string;
  readonly #timeoutMs: number;
  readonly #agent: HttpAgent | HttpsAgent;
  #isDetoured = false;

  constructor(options: {
    coordinator: string;
    dataservice: string;
    token: string;
    timeoutMs: number;
    /** Says where the coordinator's name leads; the system's own without it. */
    lookup?: LookupFunction;
  }) {
    const base = options.coordinator.endsWith("/") ? options.coordinator : `${options.coordinator}/`;
    this.#url = new URL(`v1/dataservices/${options.dataservice}/poll`, base);
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs;
    const keep = { keepAlive: true, maxSockets: 2, noDelay: true, lookup: options.lookup };
    this.#agent = this.#url.protocol === "https:" ? new HttpsAgent(keep) : new HttpAgent(keep);
  }

  /**
   * Sends one poll, and the very same through each of the detours; the first reply counts. Never rejects; settles within
   * the timeout.
   */
  async poll(poll: Poll, detours: readonly Detour[] = []): Promise<PollOutcome> {
    const asked = { poll, text: JSON.stringify(poll) };
    const direct = this.#pollOn(asked, null);
    const ways = [direct, ...detours.map((detour) => this.#pollOn(asked, detour))];
    const replies = ways.map(async (way) => {
      const outcome = await way;
      if (outcome.kind !== "reply") throw new Error(outcome.kind);
      return { outcome, isDirect: way === direct };
    });
    try {
      const { outcome, isDirect } = await Promise.any(replies);
      this.#isDetoured = !isDirect;
      return outcome;
    } catch {
      return direct;
    }
  }

  /** Whether the last reply came by a detour: the next one is then not waited for on the direct way first. */
  get isDetoured(): boolean {
    return this.#isDetoured;
  }

  async #pollOn(asked: { poll: Poll; text: string }, detour: Detour | null): Promise<PollOutcome> {
    try {
      const answer = await this.#post(asked.text, detour);
      if (answer.status !== 200) return refusalOf(answer);
      return { kind: "reply", reply: replyOf(answer, { ...asked, token: this.#token }) };
    } catch (error) {
      return { kind: "unreachable", cause: causeOf(error), detail: detailOf(error) };
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #post(text: string, detour: Detour | null): Promise<Answer> {
    const isSecure = this.#url.protocol === "https:";
    const send = isSecure ? httpsRequest : httpRequest;
    const headers = {
      authorization: `Bearer ${this.#token}`,
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
    };
    const signal = AbortSignal.timeout(this.#timeoutMs);
    // The peer carries bytes: where the coordinator speaks TLS, it is spoken with the coordinator, and the peer reads none.
    const socket = detour ? await detour(signal) : null;
    const way =
      socket === null
        ? { agent: this.#agent }
        : { createConnection: () => (isSecure ? secured(socket, this.#url.hostname) : socket) };
    return new Promise((resolve, fail) => {
      // However the end of our patience shows itself: it is that.
      const reject = (error: Error): void => fail(signal.aborted ? signal.reason : error);
      const request = send(this.#url, { method: "POST", ...way, headers, signal }, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_REPLY_BYTES) request.destroy(new BadAnswer("too-large", `more than ${MAX_REPLY_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on("end", () => {
          socket?.destroy();
          resolve(answerOf(response, Buffer.concat(chunks).toString()));
        });
        response.on("error", reject);
      });
      // Another protocol was not asked for, and what is spoken on it is not waited for.
      request.on("upgrade", (response, upgraded) => {
        upgraded.destroy();
        resolve(answerOf(response, ""));
      });
      request.on("error", reject);
      // Not every end of a connection is told as an error, and a poll that never settles would be the agent's last.
      settleAtTheEnd(request, (error) => {
        socket?.destroy();
        reject(new BadAnswer("hung-up", error.message));
      });
      request.end(text);
    });
  }
}

function answerOf({ statusCode = 0, headers }: IncomingMessage, body: string): Answer {
  const signature = headers[REPLY_SIGNATURE_HEADER];
  return {
    status: statusCode,
    body,
    signature: typeof signature === "string" ? signature : undefined,
    location: headers.location,
  };
}

function secured(socket: Socket, hostname: string): Socket {
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return connectTls({ socket, host, ...(isIP(host) === 0 && { servername: host }) });
}

/** The reply in an answer; throws a BadAnswer where there is none to this poll. */
function replyOf(
  { body, signature }: Answer,
  { poll, text, token }: { poll: Poll; text: string; token: string },
): Reply {
  const { success, data: reply } = zReply.safeParse(parseJson(body));
  if (!success) throw new BadAnswer("not-a-reply", "the answer is not of the protocol");
  if (reply.protocol < OLDEST_PROTOCOL_VERSION || reply.protocol > PROTOCOL_VERSION) {
    throw new BadAnswer("other-protocol", `version ${reply.protocol}`);
  }
  if (reply.answersSeq !== poll.seq) {
    throw new BadAnswer("other-poll", `it answers poll ${reply.answersSeq}, and this was ${poll.seq}`);
  }
  if (!isSignedWith(token, signedPartOf(text, body), signature)) {
    throw new BadAnswer("unsigned", signature === undefined ? "no signature" : "the signature is not of this answer");
  }
  return reply;
}

function isSignedWith(token: string, signed: string, signature: string | undefined): boolean {
  const due = createHmac("sha256", token).update(signed).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  return given.length === due.length && timingSafeEqual(given, due);
}

/** A coordinator that refuses says so with a code of its own; everybody else has only a status. */
function refusalOf({ status, body, location }: Answer): PollOutcome {
  const { code, detail } = (parseJson(body) ?? {}) as { code?: unknown; detail?: unknown };
  if (typeof code === "string") {
    return { kind: "problem", status, code, detail: typeof detail === "string" ? detail : "" };
  }
  if (location !== undefined) {
    return { kind: "unreachable", cause: "redirected", detail: `HTTP ${status} to ${location}` };
  }
  return { kind: "unreachable", cause: "status", detail: `HTTP ${status}` };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

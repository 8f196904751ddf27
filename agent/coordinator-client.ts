/**
 * The agent's way to the coordinator: one short request a poll on a kept connection. Whatever is not a reply is
 * `unreachable` to the lease: there is no error here that says a reign is over, only a reply can.
 */
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Poll, Reply } from "#shared/domain/messages.ts";
import { zReply } from "#shared/protocol/wire.ts";
import type { Detour } from "./peer/channel.ts";

export type PollOutcome =
  | { kind: "reply"; reply: Reply }
  /** The coordinator answered with a problem: told to people, not to the lease. */
  | { kind: "problem"; status: number; code: string; detail: string }
  | { kind: "unreachable"; detail: string };

const MAX_REPLY_BYTES = 1_048_576;

export class CoordinatorClient {
  readonly #url: URL;
  readonly #token: string;
  readonly #timeoutMs: number;
  readonly #agent: HttpAgent | HttpsAgent;
  #isDetoured = false;

  constructor(options: { coordinator: string; dataservice: string; token: string; timeoutMs: number }) {
    const base = options.coordinator.endsWith("/") ? options.coordinator : `${options.coordinator}/`;
    this.#url = new URL(`v1/dataservices/${options.dataservice}/poll`, base);
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs;
    const keep = { keepAlive: true, maxSockets: 2, noDelay: true };
    this.#agent = this.#url.protocol === "https:" ? new HttpsAgent(keep) : new HttpAgent(keep);
  }

  /**
   * Sends one poll, and the very same through each of the detours; the first reply counts. Never rejects; settles within
   * the timeout.
   */
  async poll(poll: Poll, detours: readonly Detour[] = []): Promise<PollOutcome> {
    const text = JSON.stringify(poll);
    const direct = this.#pollOn(text, null);
    const ways = [direct, ...detours.map((detour) => this.#pollOn(text, detour))];
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

  async #pollOn(text: string, detour: Detour | null): Promise<PollOutcome> {
    try {
      const { status, body } = await this.#post(text, detour);
      return interpret(status, body);
    } catch (error) {
      return { kind: "unreachable", detail: error instanceof Error ? error.message : String(error) };
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #post(text: string, detour: Detour | null): Promise<{ status: number; body: string }> {
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
    return new Promise((resolve, reject) => {
      const request = send(this.#url, { method: "POST", ...way, headers, signal }, (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_REPLY_BYTES) request.destroy(new Error("the answer is too large"));
          else chunks.push(chunk);
        });
        response.on("end", () => {
          socket?.destroy();
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
        });
        response.on("error", reject);
      });
      request.on("error", (error) => {
        socket?.destroy();
        reject(error);
      });
      request.end(text);
    });
  }
}

function secured(socket: Socket, hostname: string): Socket {
  return connectTls({ socket, host: hostname, ...(isIP(hostname) === 0 && { servername: hostname }) });
}

function interpret(status: number, body: string): PollOutcome {
  const parsed = parseJson(body);
  if (status === 200) {
    const reply = zReply.safeParse(parsed);
    if (reply.success) return { kind: "reply", reply: reply.data };
    return { kind: "unreachable", detail: "the answer is not of the protocol" };
  }
  const { code, detail } = (parsed ?? {}) as { code?: unknown; detail?: unknown };
  if (typeof code !== "string") return { kind: "unreachable", detail: `HTTP ${status}` };
  return { kind: "problem", status, code, detail: typeof detail === "string" ? detail : "" };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

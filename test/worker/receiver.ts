/**
 * A real receiver of webhooks: an HTTP server with boxes. What is posted to `/hook/NAME` is kept in the box NAME and
 * answered as the box was told to: `PUT /box/NAME [answers]`, of which the last one holds for all that follow. `GET
 * /box/NAME?count=N` answers once N letters have come, so that nobody has to guess when.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A status to answer with, or no answer at all. */
export type ReceiverAnswer = number | "hang";

export interface Letter {
  headers: Record<string, string>;
  body: string;
}

export interface Box {
  answers: ReceiverAnswer[];
  letters: Letter[];
  /** Requests that were not answered and not given up by their sender, and the most there were at once. */
  open: number;
  mostOpen: number;
}

const WAIT_MS = 15_000;

export class Receiver {
  readonly url: string;
  readonly #server: Server;
  readonly #boxes = new Map<string, Box>();
  readonly #waiting = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<Receiver> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const receiver = new Receiver(server);
    server.on("request", (request, response) => {
      receiver.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    return receiver;
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    const [, kind, name = ""] = pathname.split("/");
    const box = this.#box(name);
    const body = await textOf(request);
    if (kind === "hook") return this.#take(box, { headers: plainHeaders(request), body }, response);
    if (request.method === "PUT") box.answers = JSON.parse(body) as ReceiverAnswer[];
    else await this.#until(() => box.letters.length >= Number(searchParams.get("count") ?? 0));
    response.setHeader("Content-Type", "application/json").end(JSON.stringify(box));
  }

  #take(box: Box, letter: Letter, response: ServerResponse): void {
    box.letters.push(letter);
    const answer = (box.answers.length > 1 ? box.answers.shift() : box.answers[0]) ?? 204;
    box.open += 1;
    box.mostOpen = Math.max(box.mostOpen, box.open);
    response.on("close", () => (box.open -= 1));
    if (answer !== "hang") response.writeHead(answer, { Location: `${this.url}/hook/elsewhere` }).end();
    for (const look of this.#waiting) look();
  }

  #box(name: string): Box {
    const box = this.#boxes.get(name) ?? { answers: [204], letters: [], open: 0, mostOpen: 0 };
    this.#boxes.set(name, box);
    return box;
  }

  /** Resolves when `isSo`, or when it was waited for long enough. */
  async #until(isSo: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => void (isSo() && resolve());
    const deadline = setTimeout(resolve, WAIT_MS);
    this.#waiting.add(look);
    look();
    await promise;
    clearTimeout(deadline);
    this.#waiting.delete(look);
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk as string;
  return text;
}

function plainHeaders({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/**
 * Carrying a peer's poll to the coordinator. Where that is, this agent takes from its own configuration, never from the
 * request; the bytes are handed on as they are, in both directions, for as long as one poll may take.
 */
import { connect, type LookupFunction, type Socket } from "node:net";

/** Where a coordinator's URL leads. */
export interface Destination {
  host: string;
  port: number;
}

/** One poll and its answer are far smaller. */
const MAX_BYTES = 4_194_304;
const LIFE_MS = 5_000;
/** How many polls are carried at one time. */
const MAX_CARRIED = 16;

export function destinationOf(coordinator: string): Destination {
  const { protocol, hostname, port } = new URL(coordinator);
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return { host, port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) };
}

export class Carrier {
  readonly #destination: Destination;
  readonly #lookup: LookupFunction | undefined;
  readonly #carried = new Set<Socket>();

  constructor(destination: Destination, lookup?: LookupFunction) {
    this.#destination = destination;
    this.#lookup = lookup;
  }

  /** Joins the asker's connection to one of our own to the coordinator. */
  carry(asker: Socket, head: Buffer): void {
    if (this.#carried.size >= MAX_CARRIED) return refuseTunnel(asker, "503 busy");
    this.#carried.add(asker);
    const onward = connect({ ...this.#destination, lookup: this.#lookup });
    const timer = setTimeout(() => end(), LIFE_MS);
    const end = (): void => {
      clearTimeout(timer);
      this.#carried.delete(asker);
      asker.destroy();
      onward.destroy();
    };
    let size = 0;
    const count = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > MAX_BYTES) end();
    };
    for (const socket of [asker, onward]) {
      socket.setNoDelay(true);
      socket.on("error", end);
      socket.on("close", end);
    }
    onward.once("connect", () => {
      asker.write("HTTP/1.1 200 carried\r\n\r\n");
      onward.write(head);
      asker.on("data", count);
      onward.on("data", count);
      asker.pipe(onward);
      onward.pipe(asker);
    });
  }

  close(): void {
    for (const socket of this.#carried) socket.destroy();
  }
}

/** What is said to somebody who may have no tunnel; his connection is over with it, whether he ends his side or not. */
export function refuseTunnel(asker: Socket, status: string): void {
  asker.write(`HTTP/1.1 ${status}\r\n\r\n`);
  asker.destroySoon();
}

/**
 * Whom this agent can speak to, on disk: an agent that is restarted while the coordinator is away learns of nobody
 * otherwise, and a primary without its peers' promises stops with its lease.
 *
 * What is kept here decides nothing. Whom a holder must ask is its electorate, which lies in its state file; what a peer
 * answers counts only with a MAC over the very question. So an old address costs a question, and a file that is damaged
 * or gone costs what it saves: it is passed over, and written anew with the next reply.
 */
import { join } from "node:path";
import { z } from "zod";
import type { Peer } from "#shared/domain/messages.ts";
import { zEndpoint, zName } from "#shared/protocol/wire.ts";
import { readIfThere, writeDurably } from "../engine/postgres/durable-file.ts";

/** Of hosts that no reply names any more the oldest are forgotten. */
const MOST_PEERS = 256;

const zPort = z.int().min(1).max(65_535);
const zBook = z.strictObject({
  format: z.literal(1),
  /** What all agents of the dataservice authenticate each other with. */
  key: z.string().min(1).max(128),
  /** Where this agent listened itself: the others look for it there. */
  port: zPort.nullable(),
  /** Named by the newest reply first. */
  peers: z.array(z.strictObject({ host: zName, endpoint: zEndpoint })).max(MOST_PEERS),
  /** Whom the newest route for writers named. */
  writers: zName.nullable(),
});

export type Acquaintance = Omit<z.infer<typeof zBook>, "format">;

/** What keeps it; the complaint is for a log. */
export interface AddressBookPort {
  read: () => Acquaintance | null;
  keep: (known: Acquaintance) => void;
}

export class AddressBook implements AddressBookPort {
  readonly #path: string;
  readonly #onTrouble: (complaint: string) => void;
  #kept = "";

  constructor(stateDirectory: string, onTrouble: (complaint: string) => void) {
    this.#path = join(stateDirectory, "peers.json");
    this.#onTrouble = onTrouble;
  }

  /** What was kept; null when nothing was, or it cannot be used, which is told. Never throws. */
  read(): Acquaintance | null {
    try {
      const text = readIfThere(this.#path);
      if (text === null) return null;
      const { format: _, ...known } = zBook.parse(JSON.parse(text));
      this.#kept = textOf(known);
      return known;
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? "damaged or of another format";
      this.#onTrouble(`${this.#path} cannot be read (${why}): going on without until the coordinator answers`);
      return null;
    }
  }

  /** Keeps what has changed, whole and durably; what cannot be written is told and kept in memory. Never throws. */
  keep(known: Acquaintance): void {
    const text = textOf(known);
    if (text === this.#kept) return;
    // Not tried again before it changes: nothing depends on it but a restart in an outage.
    this.#kept = text;
    try {
      writeDurably(this.#path, text);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      this.#onTrouble(`${this.#path} cannot be written (${code ?? String(error)}): make its directory writable`);
    }
  }
}

function textOf(known: Acquaintance): string {
  return `${JSON.stringify({ format: 1, ...known })}\n`;
}

/** Those that a reply names, and after them all that were known before. */
export function withNewest(named: readonly Peer[], known: readonly Peer[]): Peer[] {
  const newest = new Set(named.map(({ host }) => host));
  return [...named, ...known.filter(({ host }) => !newest.has(host))].slice(0, MOST_PEERS);
}

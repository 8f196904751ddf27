/**
 * Where hosts are that are known by name. One question for each name at a time, and the last good answer is kept: it is
 * used while a question hangs or fails, and every answer takes the place of the one before. What is dialled is still known
 * by its name: certificates are verified against that, never against an address.
 *
 * Each question is a process of its own. Node asks the system on one of four threads, and there a question that nobody
 * answers stays for ten seconds and more, whatever its asker's deadline: four polls of a coordinator whose name service
 * hangs would take the threads from every peer and every server, from names of this host's own files too, and a process
 * that ends waits for its threads.
 */
import { execFile } from "node:child_process";
import { lookup as askOnThread } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { causeOf } from "./unreachable.ts";

export interface Address {
  address: string;
  family: number;
}

/** Asks the system; rejects with its error, or when `signal` is aborted. */
export type Ask = (name: string, signal: AbortSignal) => Promise<Address[]>;

export interface NameServiceOptions {
  ask: Ask;
  /** A monotonic clock, in ms. */
  nowMs: () => number;
  /** A name is not answered for, and its last address is used; once in each outage of the name. */
  onTrouble: (name: string, address: string, why: string) => void;
}

/** An answer, or a failure, this young needs no other. */
const FRESH_MS = 1_000;
/** How long a new answer is waited for where there is one of before, counted from the question. */
const PATIENCE_MS = 100;
/** Longer than a resolver takes to pass over one or two servers that are down. */
const LONGEST_MS = 15_000;
/** What getent says of a name that it does not know, or cannot find out about. */
const NOT_FOUND = 2;

interface Known {
  /** Of the last answer; empty before the first. */
  addresses: Address[];
  /** When the last question began, and when it was settled. */
  askedMs: number;
  settledMs: number;
  asking: Promise<Address[]> | null;
  isInTrouble: boolean;
}

export class NameService {
  readonly #options: NameServiceOptions;
  readonly #known = new Map<string, Known>();
  readonly #closing = new AbortController();

  constructor(options: NameServiceOptions) {
    this.#options = options;
  }

  /** In the place of Node's own, wherever a connection is made. */
  readonly lookup: LookupFunction = (name, options, callback) => void this.#answer(name, options, callback);

  /** At least one address; rejects with the system's error when none was ever heard. Settles within 15 s. */
  async resolve(name: string): Promise<Address[]> {
    const known = this.#entryOf(name);
    const { addresses } = known;
    const nowMs = this.#options.nowMs();
    if (addresses.length > 0 && nowMs - known.settledMs < FRESH_MS) return addresses;
    const asking = (known.asking ??= this.#askFor(name, known));
    if (addresses.length === 0) return asking;
    const leftMs = known.askedMs + PATIENCE_MS - nowMs;
    return leftMs > 0 ? Promise.race([asking, pause(leftMs, addresses, { ref: false })]) : addresses;
  }

  /** Ends the questions that are under way. */
  close(): void {
    this.#closing.abort();
  }

  async #answer(...[name, { all, family }, callback]: Parameters<LookupFunction>): Promise<void> {
    let addresses: Address[];
    try {
      addresses = await this.resolve(name);
    } catch (error) {
      return callback(error as NodeJS.ErrnoException, "");
    }
    const wanted = family === 4 || family === "IPv4" ? 4 : family === 6 || family === "IPv6" ? 6 : 0;
    const fitting = addresses.filter((address) => wanted === 0 || address.family === wanted);
    const [first] = fitting;
    if (!first) callback(notFound(name), "");
    else if (all === true) callback(null, fitting);
    else callback(null, first.address, first.family);
  }

  #entryOf(name: string): Known {
    const before = this.#known.get(name);
    if (before) return before;
    const entry = { addresses: [], askedMs: 0, settledMs: 0, asking: null, isInTrouble: false };
    this.#known.set(name, entry);
    return entry;
  }

  /** Rejects only where there is nothing of before. */
  async #askFor(name: string, known: Known): Promise<Address[]> {
    const { ask, nowMs, onTrouble } = this.#options;
    known.askedMs = nowMs();
    try {
      const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LONGEST_MS)]);
      const answer = await ask(name, signal);
      if (answer.length === 0) throw notFound(name);
      known.addresses = answer;
      known.isInTrouble = false;
    } catch (error) {
      if (known.addresses.length === 0) throw error;
      if (!known.isInTrouble) onTrouble(name, known.addresses[0]?.address ?? "", causeOf(error));
      known.isInTrouble = true;
    } finally {
      known.settledMs = nowMs();
      known.asking = null;
    }
    return known.addresses;
  }
}

/** The system's own answer, from its files, its name servers or whatever else it is set up to ask. */
export async function askSystem(name: string, signal: AbortSignal): Promise<Address[]> {
  try {
    const { stdout } = await promisify(execFile)("getent", ["ahosts", "--", name], { signal, killSignal: "SIGKILL" });
    return addressesIn(stdout);
  } catch (error) {
    const { code } = error as { code?: number | string };
    if (signal.aborted) throw Object.assign(new Error(`nobody says where ${name} is`), { code: "ETIMEDOUT" });
    if (code === NOT_FOUND) throw notFound(name);
    // A system without it.
    if (code === "ENOENT") return askOnThread(name, { all: true });
    throw error;
  }
}

/** Each address comes once for each kind of socket. */
function addressesIn(text: string): Address[] {
  const addresses = new Set(text.split("\n").map((line) => line.split(/\s/, 1)[0] ?? ""));
  return [...addresses].flatMap((address) => (isIP(address) === 0 ? [] : [{ address, family: isIP(address) }]));
}

function notFound(name: string): Error {
  return Object.assign(new Error(`nobody knows where ${name} is`), { code: "ENOTFOUND" });
}

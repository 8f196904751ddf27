/** What an agent knows of its peers outlives it; a file that cannot be used costs no more than what it would have saved. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Reply } from "#shared/domain/messages.ts";
import { AddressBook, withNewest, type Acquaintance } from "../../agent/peer/address-book.ts";
import { PeerChannel, type PeerChannelOptions } from "../../agent/peer/channel.ts";
import { KEY, REQUEST, ROUTE } from "./asking.ts";

const KNOWN: Acquaintance = {
  key: KEY,
  port: 7_432,
  peers: [{ host: "db2", endpoint: { host: "db2.example", port: 7_432 } }],
  writers: "db1",
};

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-peers-"));
});
const opened: PeerChannel[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((channel) => channel.close()));
  rmSync(directory, { recursive: true, force: true });
});

function bookIn(place: string): { book: AddressBook; complaints: string[] } {
  const complaints: string[] = [];
  return { book: new AddressBook(place, (complaint) => complaints.push(complaint)), complaints };
}
const path = () => join(directory, "peers.json");

describe("an address book", () => {
  test("holds nothing at first, and then what was kept", () => {
    const { book, complaints } = bookIn(directory);
    expect(book.read()).toBeNull();
    book.keep(KNOWN);
    expect(bookIn(directory).book.read()).toEqual(KNOWN);
    expect(complaints).toEqual([]);
  });

  test("is readable by its owner only: it holds the key", () => {
    bookIn(directory).book.keep(KNOWN);
    expect(statSync(path()).mode & 0o077).toBe(0);
  });

  test("is written when something has changed, and otherwise not", () => {
    bookIn(directory).book.keep(KNOWN);
    const { book } = bookIn(directory);
    book.read();
    writeFileSync(path(), "somebody else's");
    book.keep({ ...KNOWN });
    expect(readFileSync(path(), "utf8")).toBe("somebody else's");
    book.keep({ ...KNOWN, writers: "db2" });
    expect(bookIn(directory).book.read()).toEqual({ ...KNOWN, writers: "db2" });
  });

  test.each([
    ["no JSON", "{"],
    ["of another format", JSON.stringify({ format: 2, ...KNOWN })],
    ["without a key", JSON.stringify({ format: 1, ...KNOWN, key: "" })],
    ["with a port that is none", JSON.stringify({ format: 1, ...KNOWN, port: 0 })],
    ["with a host that is none", JSON.stringify({ format: 1, ...KNOWN, peers: [{ host: "", endpoint: {} }] })],
    ["empty", ""],
  ])("that is %s is passed over with one word, and written anew", (_, text) => {
    writeFileSync(path(), text);
    const { book, complaints } = bookIn(directory);
    expect(book.read()).toBeNull();
    expect(complaints).toEqual([expect.stringContaining(`${path()} cannot be read (damaged or of another format)`)]);
    book.keep(KNOWN);
    expect(bookIn(directory).book.read()).toEqual(KNOWN);
  });

  test("that cannot be written is told once, and breaks nothing", () => {
    const { book, complaints } = bookIn(join(directory, "gone"));
    book.keep(KNOWN);
    book.keep(KNOWN);
    expect(complaints).toEqual([expect.stringContaining("cannot be written (ENOENT)")]);
  });

  test("names the newest first, and each host once", () => {
    const at = (host: string, port: number) => ({ host, endpoint: { host: `${host}.example`, port } });
    expect(withNewest([at("db3", 2)], [at("db2", 1), at("db3", 1)])).toEqual([at("db3", 2), at("db2", 1)]);
    const many = Array.from({ length: 300 }, (_, index) => at(`db${index}`, 1));
    expect(withNewest([at("app1", 1)], many)).toHaveLength(256);
  });
});

describe("an agent that begins while the coordinator is away", () => {
  async function open(self: string, parts: Partial<PeerChannelOptions> = {}): Promise<PeerChannel> {
    const { book } = bookIn(join(directory));
    const channel = await PeerChannel.open({
      self,
      host: "127.0.0.1",
      port: 0,
      onNudge: () => {},
      onFailure: () => {},
      ...(self === "db1" && { book }),
      ...parts,
    });
    opened.push(channel);
    return channel;
  }
  const said = (...named: [string, PeerChannel][]): Pick<Reply, "peers" | "peerKey" | "routes"> => ({
    peers: named.map(([host, { endpoint }]) => ({ host, endpoint })),
    peerKey: KEY,
    routes: [ROUTE],
  });

  test("asks for promises where the one before it knew the others to be", async () => {
    const two = await open("db2", { desk: { onPromise: () => Promise.resolve(null) } });
    two.learn({ peers: [], peerKey: KEY });
    const before = await open("db1");
    before.learn(said(["db2", two]));
    await before.close();
    const after = await open("db1");
    expect(await new Promise((resolve) => after.askPromises(["db2"], REQUEST, resolve))).toBe("db2");
    expect(after.detours()).toHaveLength(1);
    expect(after.writers).toBe("db2");
  });

  test("is found where the one before it was, and believes who has its key", async () => {
    const two = await open("db2");
    const before = await open("db1", { desk: { onPromise: () => Promise.resolve(null) } });
    before.learn(said(["db2", two]));
    two.learn(said(["db1", before]));
    await before.close();
    const after = await open("db1", { desk: { onPromise: () => Promise.resolve(null) } });
    expect(after.endpoint).toEqual(before.endpoint);
    const request = { ...REQUEST, holder: "db2" };
    expect(await new Promise((resolve) => two.askPromises(["db1"], request, resolve))).toBe("db1");
  });

  test("listens elsewhere where its place was taken meanwhile", async () => {
    const before = await open("db1");
    before.learn(said());
    const after = await open("db1");
    expect(after.endpoint.port).not.toBe(before.endpoint.port);
  });

  test("hints to nobody before it is told who is there", async () => {
    const two = await open("db2");
    let nudges = 0;
    const three = await open("db3", { onNudge: () => (nudges += 1), desk: { onPromise: () => Promise.resolve(null) } });
    three.learn({ peers: [], peerKey: KEY });
    const before = await open("db1");
    before.learn(said(["db2", two], ["db3", three]));
    await before.close();
    const after = await open("db1");
    after.nudge(["db2", "db3"]);
    await new Promise((resolve) => after.askPromises(["db3"], REQUEST, resolve));
    expect(nudges).toBe(0);
  });
});

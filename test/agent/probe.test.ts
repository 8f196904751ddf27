/** What is seen of a server that is down, in the files that it has left. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { crc32c } from "../../agent/engine/postgres/crc32c.ts";
import { Probe } from "../../agent/engine/postgres/probe.ts";

const STOPPED = 1;
const FORMAT = 1_800;
const CHECKSUM_AT = 292;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "interrex-probe-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** The control file of a primary that was stopped in good order, at 0/3000000 on timeline 2. */
function stopInGoodOrder(): void {
  const bytes = Buffer.alloc(8_192);
  bytes.writeBigUInt64LE(7n, 0);
  bytes.writeUInt32LE(FORMAT, 8);
  bytes.writeInt32LE(STOPPED, 16);
  bytes.writeUInt32LE(0x3000000, 32);
  bytes.writeUInt32LE(2, 48);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
  mkdirSync(join(directory, "global"));
  writeFileSync(join(directory, "global", "pg_control"), bytes);
}

test("a server whose log cannot be read has stopped all the same, and has no position before it can", async () => {
  stopInGoodOrder();
  const log = join(directory, "pg_wal");
  // In the place of a disk that fails: a link that leads to itself.
  symlinkSync("pg_wal", log);
  const target = { host: directory, port: 1, user: "nobody", database: "none", passwordFile: null };
  const probe = new Probe({
    dataDirectory: directory,
    timeoutMs: 5_000,
    onLost: () => {},
    target: { ...target, applicationName: "probe" },
  });
  expect(await probe.observe()).toMatchObject({ report: { state: "stopped" }, position: null, tail: null });
  unlinkSync(log);
  mkdirSync(log);
  expect(await probe.observe()).toMatchObject({
    report: { state: "stopped" },
    position: { systemId: "7", timeline: 2, lsn: "0/3000000" },
  });
  probe.close();
});

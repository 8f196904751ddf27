/** The three clocks of this host, and the identity of its kernel's boot. */
import { openSync, readFileSync, readSync, statSync } from "node:fs";
import type { Clocks } from "#shared/domain/clocks.ts";

const uptimeFile = openSync("/proc/uptime", "r");
const uptimeText = Buffer.alloc(64);

/**
 * Milliseconds since the kernel booted, sleep included; in steps of ten. Cheap enough for every chunk that a connector
 * forwards: a proof must run out also for a machine that slept.
 */
export function bootNowMs(): number {
  const length = readSync(uptimeFile, uptimeText, 0, uptimeText.length, 0);
  return Math.round(Number.parseFloat(uptimeText.toString("latin1", 0, length)) * 1_000);
}

/**
 * Reads the three clocks together, in whole milliseconds. Every process of one boot reads the same monotonic clock: a
 * lease is kept by one agent, and counted by the next one and by the guardian.
 */
export function readClocks(): Clocks {
  const [seconds, nanoseconds] = process.hrtime();
  return { monoMs: seconds * 1_000 + Math.round(nanoseconds / 1_000_000), bootMs: bootNowMs(), wallMs: Date.now() };
}

/** Identifies one boot of the kernel: a lease is never inherited across two. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "ascii").trim();
}

/** Names a directory of this host under this boot: a copy of it, on another host or on this one, has another name. */
export function readPlace(directory: string): string {
  const { dev, ino } = statSync(directory, { bigint: true });
  return `${readBootId()}/${dev}:${ino}`;
}

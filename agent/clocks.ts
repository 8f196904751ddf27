/** The three clocks of this host, and the identity of its kernel's boot. */
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import type { Clocks } from "#shared/domain/clocks.ts";

/** Reads the three clocks together, in whole milliseconds. */
export function readClocks(): Clocks {
  const uptimeSeconds = Number.parseFloat(readFileSync("/proc/uptime", "ascii"));
  return { monoMs: Math.round(performance.now()), bootMs: Math.round(uptimeSeconds * 1_000), wallMs: Date.now() };
}

/** Identifies one boot of the kernel: a lease is never inherited across two. */
export function readBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "ascii").trim();
}

/** What a dead server has left to say: bytes in sockets that no process holds any more, which the kernel goes on sending. */
import { readFileSync } from "node:fs";

const TIME_WAIT = "06";

/** How many sockets of the port are nobody's and still have bytes to send. Throws when that cannot be told. */
export function orphansOf(port: number): number {
  return ["/proc/self/net/tcp", "/proc/self/net/tcp6"].reduce((sum, file) => sum + countIn(readTable(file), port), 0);
}

/** The same in the text of one of the kernel's tables. */
export function countIn(text: string, port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return text.split("\n").filter((line) => {
    const [, local = "", , state, queues = "", , , , , inode] = line.trim().split(/\s+/);
    return local.endsWith(suffix) && state !== TIME_WAIT && inode === "0" && !queues.startsWith("00000000:");
  }).length;
}

function readTable(file: string): string {
  try {
    return readFileSync(file, "ascii");
  } catch (error) {
    // A kernel without IPv6 has no such table; one that cannot be read just now may be full of them.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return "";
  }
}

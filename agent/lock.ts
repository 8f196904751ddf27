/**
 * One agent, and one guardian, per state directory. The lock is an abstract Unix socket named after the directory: the kernel gives it
 * up with the process that held it, whatever ended that process, so that no stale lock file ever needs a hand.
 */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { createServer } from "node:net";

/** Takes the lock of a directory; false when another process holds it. Held until this process ends. */
export async function lockDirectory(directory: string, role: "agent" | "guardian" = "agent"): Promise<boolean> {
  const name = createHash("sha256").update(realpathSync(directory)).digest("hex").slice(0, 32);
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    server.listen({ path: `\0interrex-${role}-${name}` }, () => {
      server.unref();
      resolve(true);
    });
  });
}

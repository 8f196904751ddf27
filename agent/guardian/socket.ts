/**
 * Where the guardian of a state directory is spoken to: a socket in that directory, which belongs to the agent's account
 * alone. (An abstract name would let every account of the host speak, and a lease be prolonged by anybody.)
 */
import { closeSync, openSync, unlinkSync } from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { join } from "node:path";

const NAME = "guardian.sock";

/** Connects; an answer or an error comes as an event. */
export function connectGuardian(stateDirectory: string): Socket {
  return throughShortPath(stateDirectory, (path) => connect({ path }));
}

/** Listens in the place of whoever did before: only the holder of the directory's lock may. */
export function listenAsGuardian(server: Server, stateDirectory: string): void {
  try {
    unlinkSync(join(stateDirectory, NAME));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  throughShortPath(stateDirectory, (path) => server.listen({ path }));
}

/** A socket's path has room for 107 bytes, a directory's has more: it is named by its descriptor. */
function throughShortPath<T>(stateDirectory: string, use: (path: string) => T): T {
  const directory = openSync(stateDirectory, "r");
  try {
    return use(`/proc/self/fd/${directory}/${NAME}`);
  } finally {
    closeSync(directory);
  }
}

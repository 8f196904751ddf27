/** One client connection to a server or to the connector, cut for certain when its deadline has passed. */
import { Socket } from "node:net";
import { Client } from "pg";

/** Runs `work` on a connection of its own, from connect to end; `open` holds it meanwhile. Rejects with the error that the client saw. */
export async function withSession<T>(
  where: { port: number; deadlineMs: number; open?: Set<Session> },
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const session = openSession(where.port);
  where.open?.add(session);
  const timer = setTimeout(() => session.cut(`no answer for ${where.deadlineMs / 1_000} s`), where.deadlineMs);
  try {
    await session.client.connect();
    const result = await work(session.client);
    // The work is done, however the goodbye goes.
    await session.client.end().catch(() => {});
    return result;
  } catch (error) {
    throw session.causeOr(error);
  } finally {
    clearTimeout(timer);
    session.cut("over");
    where.open?.delete(session);
  }
}

export interface Session {
  client: Client;
  /** Whether its socket is open in both directions; false also before it connects. */
  readonly isUsable: boolean;
  /** Destroys the socket: whatever the client waits for fails at once. */
  cut(why: string): void;
  /** The reason it was cut for, if it was; else `error`. */
  causeOr(error: unknown): Error;
}

/** A client that is not connected yet. Its later errors are told by its queries, not by the process. */
export function openSession(port: number): Session {
  const socket = new Socket();
  let cause: Error | null = null;
  const client = new Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    database: "postgres",
    stream: () => socket,
  });
  client.on("error", () => {});
  return {
    client,
    get isUsable() {
      return socket.readable && socket.writable;
    },
    cut: (why) => {
      if (socket.destroyed) return;
      cause = new Error(why);
      socket.destroy(cause);
    },
    causeOr: (error) => cause ?? (error instanceof Error ? error : new Error(String(error))),
  };
}

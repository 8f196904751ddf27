/** Whether somebody answers on a Unix socket. */
import { connect } from "node:net";

const PATIENCE_MS = 100;

/** False when nobody listens: a server that was killed leaves its socket behind. A full queue counts as an answer. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const tell = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(PATIENCE_MS, () => tell(true));
    socket.once("connect", () => tell(true));
    socket.once("error", ({ code }: NodeJS.ErrnoException) => tell(code === "EAGAIN"));
  });
}

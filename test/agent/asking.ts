/** What the tests of the peer channel ask for, and somebody who listens to it. */
import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";
import type { PromiseRequest, Route } from "#shared/domain/messages.ts";

export const KEY = "the key of alpha";
export const REQUEST: PromiseRequest = { holder: "db1", epoch: 3, bindsMs: 7_000 };
export const ROUTE: Route = {
  service: "read-write",
  epoch: 3,
  target: { member: "db2", host: "db2.example", port: 5432 },
  hold: false,
  validMs: 4_000,
};

/** Has a server of any kind listen on loopback; `close` cuts off whoever is connected. */
export async function listenOn(server: Server): Promise<{ port: number; close: () => void }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: (server.address() as AddressInfo).port, close };
}

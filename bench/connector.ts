/**
 * What the connector costs: the median time of a connection and of a round trip, direct and through it, in turns on one
 * machine, and the bytes per second of one stream. Client, connector and echo share one thread: on hosts of their own the
 * connector costs less of a stream than this shows.
 *
 *     node bench/connector.ts [--rounds 2000]
 */
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { parseArgs } from "node:util";
import { Connector } from "../agent/connector/connector.ts";

const STREAM_BYTES = 512 * 1_048_576;

const { values } = parseArgs({ options: { rounds: { type: "string", default: "2000" } } });
const rounds = Number(values.rounds);
if (!Number.isSafeInteger(rounds) || rounds < 1)
  throw new Error(`--rounds ${values.rounds}: use a whole number above 0`);

function median(samples: number[]): number {
  return samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN;
}

/** Ms from dialling to the first echoed byte. */
async function connectionMs(port: number): Promise<number> {
  const startedMs = performance.now();
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await roundTripMs(socket);
  const tookMs = performance.now() - startedMs;
  socket.destroy();
  return tookMs;
}

async function roundTripMs(socket: Socket): Promise<number> {
  const startedMs = performance.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("data", () => resolve());
  socket.write("?");
  await promise;
  return performance.now() - startedMs;
}

/** MiB per second that come back from the echo. */
async function streamMibPerS(port: number): Promise<number> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await roundTripMs(socket);
  const block = Buffer.alloc(262_144);
  const { promise, resolve } = Promise.withResolvers<void>();
  let sent = 0;
  let heard = 0;
  const pour = (): void => {
    let isTaken = true;
    while (isTaken && sent < STREAM_BYTES) {
      sent += block.length;
      isTaken = socket.write(block);
    }
  };
  socket.on("drain", pour);
  socket.on("data", (chunk: Buffer) => {
    heard += chunk.length;
    if (heard >= STREAM_BYTES) resolve();
  });
  const startedMs = performance.now();
  pour();
  await promise;
  const tookMs = performance.now() - startedMs;
  socket.destroy();
  return STREAM_BYTES / 1_048_576 / (tookMs / 1_000);
}

const echo = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
});
await new Promise<void>((resolve) => {
  echo.listen(0, "127.0.0.1", () => resolve());
});
const direct = (echo.address() as AddressInfo).port;
const connector = new Connector({
  dataservice: "bench",
  listenHost: "127.0.0.1",
  listenPort: 0,
  dialTimeoutMs: 1_000,
  now: () => performance.now(),
  onTrouble: () => {},
  onHeld: () => {},
  log: { info: () => {}, warn: () => {} },
});
const { port: through } = await connector.start();
const target = { member: "db1", host: "127.0.0.1", port: direct };
connector.setRoute({ service: "read-write", epoch: 1, target, hold: false, validMs: 600_000 }, performance.now());

const samples = {
  connectDirect: [] as number[],
  connectThrough: [] as number[],
  tripDirect: [] as number[],
  tripThrough: [] as number[],
};
for (let round = 0; round < rounds / 4; round += 1) {
  samples.connectDirect.push(await connectionMs(direct));
  samples.connectThrough.push(await connectionMs(through));
}
const sockets = { direct: connect(direct, "127.0.0.1"), through: connect(through, "127.0.0.1") };
for (const socket of Object.values(sockets)) await roundTripMs(socket.setNoDelay(true));
for (let round = 0; round < rounds; round += 1) {
  samples.tripDirect.push(await roundTripMs(sockets.direct));
  samples.tripThrough.push(await roundTripMs(sockets.through));
}
for (const socket of Object.values(sockets)) socket.destroy();
const stream = { direct: await streamMibPerS(direct), through: await streamMibPerS(through) };
await connector.close();
echo.close();

const line = (name: string, straight: number, routed: number, unit: string): string =>
  `${name.padEnd(12)} direct ${straight.toFixed(3)} ${unit}   connector ${routed.toFixed(3)} ${unit}   difference ${(routed - straight).toFixed(3)} ${unit}`;
console.log(line("connection", median(samples.connectDirect), median(samples.connectThrough), "ms"));
console.log(line("round trip", median(samples.tripDirect), median(samples.tripThrough), "ms"));
console.log(line("stream", stream.direct, stream.through, "MiB/s"));

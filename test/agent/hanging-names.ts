/**
 * `hanging-names.ts PEER`, where a name server takes questions and answers none, and PEER stands in the host's own file:
 * polls a coordinator that nobody can find, asks the peer for a promise meanwhile, and ends.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { CoordinatorClient } from "../../agent/coordinator-client.ts";
import { askSystem, NameService } from "../../agent/name-service.ts";
import { PeerChannel } from "../../agent/peer/channel.ts";
import type { Poll } from "#shared/domain/messages.ts";
import { KEY, REQUEST } from "./asking.ts";

const POLLS = 8;
const [peer = ""] = process.argv.slice(2);

const nobody = createSocket("udp4").bind(53, "127.0.0.99");
await once(nobody, "listening");
const names = new NameService({ ask: askSystem, nowMs: () => performance.now(), onTrouble() {} });
const { lookup } = names;

async function open(self: string): Promise<PeerChannel> {
  const desk = { onPromise: () => Promise.resolve(null) };
  return PeerChannel.open({ self, host: "127.0.0.1", port: 0, onNudge() {}, onFailure() {}, desk, lookup });
}

const [db1, db2] = [await open("db1"), await open("db2")];
db1.learn({ peers: [{ host: "db2", endpoint: { host: peer, port: db2.endpoint.port } }], peerKey: KEY });
db2.learn({ peers: [{ host: "db1", endpoint: db1.endpoint }], peerKey: KEY });
const coordinator = "http://coordinator.example.com:8787";
const client = new CoordinatorClient({ coordinator, dataservice: "alpha", token: "t", timeoutMs: 100, lookup });
const causes = new Set<string>();
for (let poll = 0; poll < POLLS; poll += 1) {
  const outcome = await client.poll({ seq: 1 } as Poll);
  causes.add(outcome.kind === "unreachable" ? outcome.cause : outcome.kind);
}
await new Promise((resolve) => db1.askPromises(["db2"], REQUEST, resolve));
process.stdout.write(`${peer} promises, and ${POLLS} polls were not answered: ${[...causes].join()}\n`);
names.close();
process.exit(0);

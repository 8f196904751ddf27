import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { freshDurable, freshLive, UNSEEN } from "#shared/core/member/state.ts";
import { routerPollOf } from "#shared/core/member/poll.ts";
import { CoordinatorClient, type PollOutcome } from "../../agent/coordinator-client.ts";
import { answering, EMPTY_REPLY } from "./reply.ts";

const CLOCKS = { monoMs: 1, bootMs: 1, wallMs: 1 };
const POLL = routerPollOf(
  {
    durable: { ...freshDurable({ dataservice: "alpha", host: "app1" }, "i"), startCount: 1 },
    live: freshLive({
      bootId: "b",
      fenceMs: 1_500,
      endpoint: { host: "127.0.0.1", port: 1 },
      view: UNSEEN,
      nextPollMs: 1_000,
    }),
  },
  { seq: 1, clocks: CLOCKS, connector: null, peer: null },
);

let server: Server | null = null;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

async function outcomeOf(listener: RequestListener): Promise<PollOutcome> {
  server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const coordinator = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new CoordinatorClient({ coordinator, dataservice: "alpha", token: "t", timeoutMs: 200 });
  try {
    return await client.poll(POLL);
  } finally {
    client.close();
  }
}

test("a reply of the protocol is a reply", async () => {
  const outcome = await outcomeOf(answering({}));
  expect(outcome).toEqual({ kind: "reply", reply: EMPTY_REPLY });
});

test("the poll goes to its dataservice with the token", async () => {
  let seen: unknown[] = [];
  await outcomeOf((request, response) => {
    seen = [request.method, request.url, request.headers.authorization];
    response.end("{}");
  });
  expect(seen).toEqual(["POST", "/v1/dataservices/alpha/poll", "Bearer t"]);
});

test("a problem is told with its code", async () => {
  const outcome = await outcomeOf((_, response) =>
    response.writeHead(409).end(JSON.stringify({ code: "second-agent", detail: "start 1 ..." })),
  );
  expect(outcome).toEqual({ kind: "problem", status: 409, code: "second-agent", detail: "start 1 ..." });
});

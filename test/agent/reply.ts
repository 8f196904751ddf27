/** An answer that says nothing: what the tests of the agent's side put their own words into. */
import type { Reply } from "#shared/domain/messages.ts";

export const EMPTY_REPLY: Reply = {
  protocol: 1,
  answersSeq: 1,
  nonce: "1.1",
  version: 1,
  mac: "",
  nextPollMs: 1_000,
  policy: "automatic",
  policyVersion: 1,
  lease: null,
  leaseEnded: null,
  commands: [],
  sync: null,
  routes: [],
  call: [],
  peers: [],
  peerKey: "",
};

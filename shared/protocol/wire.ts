/**
 * What travels between an agent and the coordinator: one poll, one reply.
 *
 * Every time in a reply is a duration that the agent counts from the moment it sent the poll: no instant of one clock
 * is ever compared with another host's.
 */
import { z } from "zod";
import {
  MOST_TOLD,
  type Command,
  type Poll,
  type PromiseRequest,
  type ReaderQuestion,
  type Reply,
} from "../domain/messages.ts";
import { NAME_PATTERN, NAME_RULE } from "../domain/names.ts";
import { MOST_FENCE_MS, MOST_PROMISE_MS } from "../domain/settings.ts";

export const zName = z.string().regex(NAME_PATTERN, { error: `must be ${NAME_RULE}` });
const zCount = z.int().min(0);
/** As PostgreSQL counts them: 32 bits, from 1. */
const zTimeline = z.int().min(1).max(0xffff_ffff);
const zLsn = z.string().regex(/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/, { error: "must be an LSN such as 0/3000060" });
const zLogPoint = z.strictObject({ timeline: zTimeline, lsn: zLsn });
const zId = z.string().min(1).max(100);
const zHostAddress = z.string().min(1).max(255);
const zPort = z.int().min(1).max(65_535);

export const zClocks = z.strictObject({ monoMs: z.number(), bootMs: z.number(), wallMs: z.number() });

export const zPosition = z.strictObject({
  engine: z.literal("postgres"),
  systemId: z.string().regex(/^[0-9]{1,20}$/),
  timeline: zTimeline,
  lsn: zLsn,
  history: z.array(z.strictObject({ timeline: zTimeline, endLsn: zLsn })).max(1_000),
});

/** Who must acknowledge a commit before its client hears of it. */
export const zSyncSet = z.strictObject({ version: zCount, k: zCount, members: z.array(zName).max(100) });

/** The server as its agent sees it. */
export const zServerReport = z.discriminatedUnion("state", [
  z.strictObject({ state: z.literal("stopped") }),
  z.strictObject({ state: z.literal("starting") }),
  z.strictObject({ state: z.literal("unresponsive") }),
  z.strictObject({
    state: z.literal("running"),
    /** In recovery, that is read-only and able to replicate. */
    inRecovery: z.boolean(),
    /** Accepts a client's writes at this moment. */
    writable: z.boolean(),
  }),
]);

/** Where clients and replicas reach the server. */
export const zEndpoint = z.strictObject({ host: zHostAddress, port: zPort });

/** The server's own replication. */
export const zReceiver = z.discriminatedUnion("state", [
  /** Receiving from `upstream`. */
  z.strictObject({ state: z.literal("streaming"), upstream: zName.nullable() }),
  /** Told to follow `upstream`, not receiving at this moment; what it had received is final until it streams again. */
  z.strictObject({ state: z.literal("ended"), upstream: zName.nullable() }),
  /** Stopped durably by a freeze of operation `op`. */
  z.strictObject({ state: z.literal("frozen"), op: zCount }),
  /** Follows nobody. */
  z.strictObject({ state: z.literal("none") }),
]);

/** Where the member's machine stands. */
export const zMemberPhase = z.enum(["observing", "closed", "opening", "open", "fencing"]);

/** Why the last reign of this member ended, as its own agent saw it. */
export const zReleaseCause = z.enum([
  "server-died",
  "lease-lost",
  "commanded",
  "found-in-recovery",
  "promotion-failed",
  "unexpectedly-writable",
  "log-lost",
  "none",
]);

export const zCommandResult = z.strictObject({
  id: zId,
  op: zCount,
  outcome: z.enum(["accepted", "done", "failed", "refused"]),
  /** A stable word for a failure or refusal; empty otherwise. */
  code: z.string().max(64),
  /** What was found out or counted; empty otherwise. */
  value: z.string().max(MOST_TOLD.value),
  /** For people; never decided upon. */
  detail: z.string().max(MOST_TOLD.detail),
});

/** The connector that this agent runs. */
export const zConnectorReport = z.strictObject({
  /** The connector's process. */
  pid: zCount,
  state: z.enum(["online", "offline", "on-hold"]),
  /** Connections accepted since the connector started, and open now. */
  created: zCount,
  active: zCount,
  /** The same by the member that served them. */
  targets: z.array(z.strictObject({ member: zName, created: zCount, active: zCount })).max(100),
});

/** A promise that this member has given and that still runs. */
export const zPromise = z.strictObject({ holder: zName, epoch: zCount, remainingMs: z.number() });

export const zPoll = z.strictObject({
  protocol: z.int().min(0),
  dataservice: zName,
  /** The member or router host that this agent speaks for. */
  host: zName,
  /** How often this agent has started; fsynced before the first poll of a start. */
  startCount: zCount,
  /** Grows with every poll of a start. */
  seq: zCount,
  /** The nonce of the newest reply received, and the clocks when it was received; null before the first. */
  nonce: z.string().max(100).nullable(),
  nonceClocks: zClocks.nullable(),
  /** Read when the poll is sent. */
  clocks: zClocks,
  epochSeen: zCount,
  opSeen: zCount,
  /** The highest epoch this member has set out to open its server in. */
  attempted: zCount,
  /** The highest epoch this member vouches never to write in again. */
  released: zCount,
  /** The last epoch in which this member's log may hold writes of its own. */
  ownEpoch: zCount,
  releaseCause: zReleaseCause,
  version: zCount,
  mac: z.string().max(2_048),
  incarnation: z.string().max(64),
  /** Where its state lies and which boot it runs under; an agent of an earlier version does not say. */
  place: z.string().max(128).nullable().default(null),
  /** How long this agent may need to fence: the wait for its lease's end grows with it, so it has a bound. */
  fenceMs: zCount.max(MOST_FENCE_MS),
  /** Whether the kernel ends this agent's right to write with its lease. */
  hasLeaseDoor: z.boolean(),
  electorateVersion: zCount,
  policyVersion: zCount,
  /** The version of the newest sync set that this member was told. */
  syncSeen: zCount,
  /** What is left of the lease; null when none is held. */
  leaseRemainingMs: z.number().nullable(),
  /** The member's server; null on a host that carries only a connector. */
  server: z
    .strictObject({
      phase: zMemberPhase,
      endpoint: zEndpoint,
      engine: z.literal("postgres"),
      engineVersion: z.string().max(64),
      systemId: z.string().max(32).nullable(),
      report: zServerReport,
      /** Read while the server answered last; null before that. */
      position: zPosition.nullable(),
      /** Whether nothing in the data directory is left to be read; an agent of an earlier version does not say. */
      isWhole: z.boolean().default(false),
      /** The furthest place that the data directory was seen to reach; an agent of an earlier version does not say. */
      furthest: zPosition.nullable().default(null),
      /** How much of the position is applied, as a display number; null when unknown. */
      applied: z.number().nullable(),
      /** Display only: how old the newest applied change is; 0 when all that was received is applied. */
      latencyMs: z.number().nullable(),
      receiver: zReceiver,
      /** The newest nonce when this look at the server began; an agent of an earlier version does not say. */
      lookedAfter: z.string().max(100).nullable().default(null),
      /** Where the shutdown checkpoint of a server that was stopped in good order begins. */
      shutdownLsn: zLsn.nullable(),
      /** Where the log of a server that died ends; an agent of an earlier version does not say. */
      tail: zLogPoint.nullable().default(null),
      /** The switch door. */
      door: z.enum(["open", "shut"]),
      /** A rebuild was begun and not finished. */
      isDamaged: z.boolean(),
      /** The set that the running server goes by. */
      sync: zSyncSet.nullable(),
    })
    .nullable(),
  connector: zConnectorReport.nullable(),
  /** Where this agent's peer channel listens. */
  peer: zEndpoint.nullable(),
  results: z.array(zCommandResult).max(64),
  promises: z.array(zPromise).max(100),
});

export const zUpstream = z.strictObject({ member: zName, host: zHostAddress, port: zPort });

const zCommandHead = { id: zId, op: zCount, epoch: zCount, deadlineMs: zCount };

/** What the coordinator may ask of a member. */
export const zCommand = z.discriminatedUnion("kind", [
  /** Found this member as the primary of a server that is serving already: nobody's session notices. */
  z.strictObject({ kind: z.literal("adopt"), ...zCommandHead }),
  /** Open the server in `epoch`; always together with its lease. */
  z.strictObject({
    kind: z.literal("promote"),
    ...zCommandHead,
    proof: z.enum(["founded", "released", "expired", "revoked", "asserted"]),
    timeline: zTimeline,
  }),
  /** Stream from `upstream`; thaws a freeze of this or an earlier operation. */
  z.strictObject({ kind: z.literal("follow"), ...zCommandHead, upstream: zUpstream }),
  /** Stop receiving, durably, and report the final position. */
  z.strictObject({
    kind: z.literal("freeze"),
    ...zCommandHead,
    proof: z.enum(["founded", "released", "expired", "revoked", "asserted"]),
  }),
  /** Make the server unable to write, for certain, and report `released`. */
  z.strictObject({ kind: z.literal("fence"), ...zCommandHead, patienceMs: zCount }),
  /** Write a checkpoint while the clients go on. */
  z.strictObject({ kind: z.literal("prepare"), ...zCommandHead }),
  /** Shut the switch door and send the clients home. */
  z.strictObject({ kind: z.literal("shut"), ...zCommandHead, drainMs: zCount, heir: zName }),
  /** Open the switch door again. */
  z.strictObject({ kind: z.literal("reopen"), ...zCommandHead }),
  /** Ask `upstream` whether it accepts writes. */
  z.strictObject({ kind: z.literal("ask-upstream"), ...zCommandHead, upstream: zUpstream }),
  /** Lay the data directory out anew after `upstream`. */
  z.strictObject({
    kind: z.literal("rebuild"),
    ...zCommandHead,
    upstream: zUpstream,
    fork: zLogPoint,
  }),
  /** Take the end of a dead primary's log from its agent. */
  z.strictObject({
    kind: z.literal("fetch-tail"),
    ...zCommandHead,
    from: z.strictObject({ host: zName, endpoint: zEndpoint }),
    until: zLogPoint,
  }),
  /** Start a stopped server, read-only. */
  z.strictObject({ kind: z.literal("start"), ...zCommandHead }),
]);

/** The right to write in `epoch`, counted from the sending of the poll that this answers. */
export const zLease = z.strictObject({
  epoch: zCount,
  ttlMs: zCount,
  /** Whether no time for a fence is waited when it ends: its holder has said that it has a kernel door. */
  hasLeaseDoor: z.boolean(),
  electorateVersion: zCount,
  electorate: z.array(zName).max(100),
  /** How long a promise to its holder binds the one who gives it. */
  promiseBindsMs: zCount,
});

/**
 * Where a connector sends traffic, proved for `validMs` counted from sending the poll: the connector forwards no byte
 * on a proof that has run out.
 */
export const zRoute = z.discriminatedUnion("service", [
  /** While `hold` is set, sessions go on and new connections wait. */
  z.strictObject({
    service: z.literal("read-write"),
    epoch: zCount,
    target: zUpstream.nullable(),
    hold: z.boolean(),
    validMs: zCount,
  }),
  /** The replicas that may be read from. */
  z.strictObject({
    service: z.literal("read-only"),
    epoch: zCount,
    targets: z.array(zUpstream).max(100),
    maxLatencyMs: zCount,
    validMs: zCount,
  }),
]);

export const zReply = z.strictObject({
  protocol: z.int().min(0),
  /** The poll this answers. */
  answersSeq: zCount,
  nonce: z.string().max(100),
  version: zCount,
  mac: z.string().max(2_048),
  nextPollMs: zCount,
  policy: z.enum(["automatic", "manual", "maintenance"]),
  policyVersion: zCount,
  /** Present when this reply grants or extends; null says nothing about time. */
  lease: zLease.nullable(),
  /** The one authoritative refusal: this epoch is over for its holder. */
  leaseEnded: z.strictObject({ epoch: zCount, mac: z.string().max(128) }).nullable(),
  commands: z.array(zCommand).max(16),
  /** What this member's server is to go by, now or once it is the primary. */
  sync: zSyncSet.nullable(),
  routes: z.array(zRoute).max(16),
  /** The other agents that can be spoken to, and the key that all of them share for it. */
  call: z.array(zName).max(200),
  peers: z.array(z.strictObject({ host: zName, endpoint: zEndpoint })).max(200),
  peerKey: z.string().max(128),
});

/** What a holder asks of a member of its electorate, over the peer channel. */
export const zPromiseRequest = z.strictObject({
  holder: zName,
  epoch: z.int().min(1),
  bindsMs: z.int().min(1).max(MOST_PROMISE_MS),
});

/** What a connector asks of a replica's agent, over the peer channel. */
export const zReaderQuestion = z.strictObject({ primary: zName, epoch: z.int().min(1), maxLatencyMs: zCount });

/** Fails to compile when a schema and its type in the domain say different things. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
const sameShapes: [
  Same<z.infer<typeof zPoll>, Poll>,
  Same<z.infer<typeof zReply>, Reply>,
  Same<z.infer<typeof zCommand>, Command>,
  Same<z.infer<typeof zPromiseRequest>, PromiseRequest>,
  Same<z.infer<typeof zReaderQuestion>, ReaderQuestion>,
] = [true, true, true, true, true];
void sameShapes;

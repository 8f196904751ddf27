/** The HTTP API's bodies: what operators, consoles and scripts exchange with the coordinator. */
import { z } from "zod";
import type { Settings } from "../domain/settings.ts";
import { zEndpoint, zName, zPosition } from "./wire.ts";

const zMs = z.int().min(0).max(86_400_000);

/** Every setting, all optional: what is left out takes its default. */
export const zSettings = z.strictObject({
  ttlMs: zMs.optional(),
  fenceMs: zMs.optional(),
  marginMs: zMs.optional(),
  pollMs: zMs.optional(),
  pollInOperationMs: zMs.optional(),
  pollTimeoutMs: zMs.optional(),
  silentMs: zMs.optional(),
  suspicionMs: zMs.optional(),
  collectMs: zMs.optional(),
  salvageMs: zMs.optional(),
  failsafeReturnMs: zMs.optional(),
  failoverMs: zMs.optional(),
  promoteMs: zMs.optional(),
  drainMs: zMs.optional(),
  catchUpMs: zMs.optional(),
  flushMs: zMs.optional(),
  switchMs: zMs.optional(),
  recoverMs: zMs.optional(),
  maxLatencyMs: zMs.optional(),
  maxLossBytes: z.int().min(0).optional(),
  budget: z.int().min(0).max(1_000_000).optional(),
  budgetWindowMs: zMs.optional(),
} satisfies Record<keyof Settings, z.ZodType>);

export const zMemberSpec = z.strictObject({
  name: zName,
  /** The higher wins a tie between equally advanced candidates. */
  priority: z.int().min(0).max(1_000).default(100),
});

const zDurability = z.enum(["async", "sync"]);
/** Synchronous mode only: how many replicas must acknowledge a commit, and what happens when there are fewer. */
const zSync = z.strictObject({
  k: z.int().min(1).max(14).default(1),
  onLoss: z.enum(["block", "degrade"]).default("block"),
});

/** `POST /v1/dataservices` */
export const zCreate = z.strictObject({
  name: zName,
  members: z.array(zMemberSpec).min(1).max(15),
  /** The member that is, or becomes, the first primary. */
  primary: zName,
  /** Hosts that carry only a connector. */
  routers: z.array(zName).max(100).default([]),
  durability: zDurability.default("async"),
  sync: zSync.optional(),
  /** The members were founded before, and the storage of the coordinator that did it is lost: they report first. */
  restored: z.boolean().default(false),
  settings: zSettings.default({}),
});

/** Answer to a creation: the only time that the agents' tokens are shown. */
export const zCreated = z.strictObject({
  name: zName,
  tokens: z.array(z.strictObject({ host: zName, token: z.string() })),
});

const zRole = z.enum(["primary", "replica"]);
const zState = z.enum(["online", "offline", "failed", "shunned"]);

export const zStateReason = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("none") }),
  z.strictObject({ kind: z.literal("dataserver-stopped") }),
  z.strictObject({ kind: z.literal("manager-stopped") }),
  z.strictObject({ kind: z.literal("manually-failed") }),
  z.strictObject({ kind: z.literal("manually-shunned") }),
  z.strictObject({ kind: z.literal("failed-over-to"), to: zName }),
  z.strictObject({ kind: z.literal("diverged") }),
  z.strictObject({ kind: z.literal("needs-provision") }),
  z.strictObject({ kind: z.literal("identity-forked") }),
  z.strictObject({ kind: z.literal("log-lost") }),
  z.strictObject({ kind: z.literal("failsafe-shun") }),
  z.strictObject({ kind: z.literal("failover-aborted") }),
]);

/** One operation: what it is, how far it has come, and what it told. */
export const zOperation = z.strictObject({
  op: z.int(),
  kind: z.enum([
    "founding",
    "failover",
    "reopening",
    "switch",
    "recover",
    "coordinator-restored",
    "set-policy",
    "set-durability",
    "datasource-fail",
    "datasource-shun",
    "datasource-welcome",
    "datasource-online",
    "datasource-offline",
    "datasource-recover",
  ]),
  requestedBy: z.enum(["automatic", "operator"]),
  state: z.enum(["running", "succeeded", "failed"]),
  /** A stable word for the failure; empty otherwise. */
  code: z.string(),
  startedWallMs: z.number(),
  endedWallMs: z.number().nullable(),
  transcript: z.array(z.string()),
});

/** `GET /v1/dataservices/{s}`: what `ls` shows. */
export const zStatus = z.strictObject({
  dataservice: zName,
  founded: z.boolean(),
  /** What keeps it from being founded: whom it waits for, or what stands in the way, in a stable word and in a sentence. */
  founding: z
    .strictObject({
      waitsFor: z.array(zName),
      obstacle: z
        .enum([
          "several-systems",
          "member-has-an-epoch",
          "another-member-is-writable",
          "another-member-is-unclear",
          "primary-not-running",
          "another-member-is-ahead",
        ])
        .nullable(),
      members: z.array(zName),
      detail: z.string(),
    })
    .nullable(),
  policy: z.enum(["automatic", "manual", "maintenance"]),
  epoch: z.int(),
  primary: zName.nullable(),
  coordinator: z.strictObject({
    name: z.string(),
    state: z.enum(["online", "restoring", "restored"]),
    generation: z.int(),
  }),
  /** Which replicas acknowledge a commit before its client hears of it; `settled` once only they need to be asked. */
  durability: z.strictObject({
    /** What is promised now, and what it is being changed to: the same while nothing changes. */
    mode: zDurability,
    goal: zDurability,
    k: z.int(),
    members: z.array(zName),
    settled: z.boolean(),
  }),
  /** The operation under way. */
  operation: z.strictObject({ op: z.int(), kind: z.string(), step: z.string() }).nullable(),
  datasources: z.array(
    z.strictObject({
      member: zName,
      role: zRole,
      state: zState,
      reason: zStateReason,
      status: z.enum(["ok", "diminished", "warn", "critical", "shunned"]),
      /** Since when, wall time of the coordinator. */
      sinceWallMs: z.number(),
      position: zPosition.nullable(),
      /** Display number of what is applied; null when unknown. */
      progress: z.number().nullable(),
      latencyMs: z.number().nullable(),
      writable: z.boolean(),
      endpoint: zEndpoint.nullable(),
      manager: z.strictObject({ state: z.enum(["online", "stopped"]) }),
      replicator: z.strictObject({
        role: zRole,
        state: z.enum(["online", "synchronizing", "offline", "degraded", "unknown"]),
        upstream: zName.nullable(),
      }),
      dataserver: z.strictObject({
        state: z.enum(["online", "stopped", "unknown"]),
        engine: z.string(),
        version: z.string(),
      }),
      connections: z.strictObject({ created: z.int(), active: z.int() }),
      tags: z.array(z.string()),
    }),
  ),
  routers: z.array(
    z.strictObject({
      name: z.string(),
      host: zName,
      pid: z.int(),
      state: z.enum(["online", "offline", "on-hold"]),
      created: z.int(),
      active: z.int(),
    }),
  ),
});

const zPolicy = z.enum(["automatic", "manual", "maintenance"]);
/** Overrides a guard; what it overrides is named beside each command. */
const zForce = z.boolean().default(false);

/**
 * `PUT /v1/dataservices/{s}/durability`: the same as the command `set-durability`. The operation is over when the primary's
 * whole server was seen to go by it; `sync` is left out with `async`.
 */
export const zDurabilityChange = z.strictObject({ durability: zDurability, sync: zSync.optional() });

/** `POST /v1/dataservices/{s}/commands` */
export const zOperatorCommand = z.discriminatedUnion("command", [
  z.strictObject({ command: z.literal("switch"), to: zName.optional() }),
  /** With `force` a primary that cannot be heard is asserted to be dead: the operator vouches for it. */
  z.strictObject({ command: z.literal("failover"), to: zName.optional(), force: zForce }),
  z.strictObject({ command: z.literal("recover") }),
  /** The coordinator's storage was restored to the past; with `force` whoever has not reported is not waited for. */
  z.strictObject({ command: z.literal("coordinator-restored"), force: zForce }),
  z.strictObject({ command: z.literal("set-policy"), policy: zPolicy }),
  zDurabilityChange.extend({ command: z.literal("set-durability") }),
  z.strictObject({ command: z.literal("datasource-fail"), member: zName }),
  /** With `force` also the living primary, which is then fenced; nothing fails over. */
  z.strictObject({ command: z.literal("datasource-shun"), member: zName, force: zForce }),
  /** With `force`, where no primary is left, the member is meant to become it. */
  z.strictObject({ command: z.literal("datasource-welcome"), member: zName, force: zForce }),
  z.strictObject({ command: z.literal("datasource-online"), member: zName }),
  z.strictObject({ command: z.literal("datasource-offline"), member: zName, force: zForce }),
  /** With `force` an agent that has lost its state file is taken for this member's: it is readmitted. */
  z.strictObject({ command: z.literal("datasource-recover"), member: zName, force: zForce }),
]);

/** `PUT /v1/dataservices/{s}/policy`: the same as the command `set-policy`. */
export const zPolicyChange = z.strictObject({ policy: zPolicy });

/** 202: the operation to follow. */
export const zAccepted = z.strictObject({ operation: zOperation });

/** One line of the event log: a typed reason and when it happened. */
export const zEvent = z.strictObject({
  id: z.int(),
  wallMs: z.number(),
  kind: z.string(),
  data: z.record(z.string(), z.unknown()),
});
export const zEvents = z.strictObject({ events: z.array(zEvent), last: z.int() });

/** `GET /v1/dataservices`: what exists, by name, and the newest deletions. */
export const zDataservices = z.strictObject({
  dataservices: z.array(z.strictObject({ name: zName, createdWallMs: z.number() })),
  deleted: z.array(
    z.strictObject({ name: zName, deletedWallMs: z.number(), by: z.string(), hadPrimary: zName.nullable() }),
  ),
});

/** What people call a token, so that the event log can say who it was. */
const zLabel = z.string().regex(/^[A-Za-z0-9](?:[A-Za-z0-9 ._@-]{0,62}[A-Za-z0-9])?$/, {
  error: "must be 1 to 64 letters, digits and . _ @ - or spaces between them",
});

/** `POST /v1/dataservices/{s}/tokens` */
export const zTokenSpec = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("operator"), label: zLabel.optional() }),
  z.strictObject({ kind: z.literal("viewer"), label: zLabel.optional() }),
  /** At most two are live for one host: the second is there to take the first one's place. */
  z.strictObject({ kind: z.literal("agent"), host: zName }),
]);

export const zToken = z.strictObject({
  id: z.string(),
  kind: z.enum(["operator", "viewer", "agent"]),
  /** Whom an agent's token speaks for; null for people's. */
  host: zName.nullable(),
  label: z.string().nullable(),
  createdWallMs: z.number(),
});
export const zTokens = z.strictObject({ tokens: z.array(zToken) });
/** The only time that the token's text is shown. */
export const zTokenCreated = zToken.extend({ token: z.string() });

/** `POST /v1/dataservices/{s}/webhooks` */
export const zWebhookSpec = z.strictObject({
  url: z.string().min(1).max(2_000),
  /** The kinds of events to deliver; all when left out. */
  events: z.array(z.string().max(64)).min(1).max(200).optional(),
  /** A secret of Standard Webhooks, 24 to 64 bytes; one is made when it is left out. */
  secret: z
    .string()
    .regex(/^whsec_(?=.{32,88}$)(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, {
      error: "must be whsec_ and the base64 of 24 to 64 random bytes",
    })
    .optional(),
});

export const zWebhook = z.strictObject({
  id: z.string(),
  url: z.string(),
  /** Null for all kinds. */
  events: z.array(z.string()).nullable(),
  createdWallMs: z.number(),
});
export const zWebhooks = z.strictObject({ webhooks: z.array(zWebhook) });
/** The only time that the secret is shown. */
export const zWebhookCreated = zWebhook.extend({ secret: z.string() });

/** One event on its way to one webhook. */
export const zDelivery = z.strictObject({
  n: z.int(),
  eventId: z.int(),
  /** The event's kind. */
  type: z.string(),
  /** `dead` after the last try: only a retry by hand sends it again. */
  state: z.enum(["pending", "delivered", "dead"]),
  tries: z.int(),
  createdWallMs: z.number(),
  nextTryWallMs: z.number().nullable(),
  endedWallMs: z.number().nullable(),
  lastError: z.string().nullable(),
});
/** `pending` oldest first, as they will go out; the others newest first. */
export const zDeliveries = z.strictObject({
  pending: z.array(zDelivery),
  delivered: z.array(zDelivery),
  dead: z.array(zDelivery),
});

export type Create = z.infer<typeof zCreate>;
export type Created = z.infer<typeof zCreated>;
export type Status = z.infer<typeof zStatus>;
export type DatasourceStatus = Status["datasources"][number];
export type OperationStatus = z.infer<typeof zOperation>;
export type DurabilityChange = z.infer<typeof zDurabilityChange>;
export type OperatorCommand = z.infer<typeof zOperatorCommand>;
export type Dataservices = z.infer<typeof zDataservices>;
export type TokenSpec = z.infer<typeof zTokenSpec>;
export type TokenLine = z.infer<typeof zToken>;
export type TokenCreated = z.infer<typeof zTokenCreated>;
export type WebhookSpec = z.infer<typeof zWebhookSpec>;
export type WebhookLine = z.infer<typeof zWebhook>;
export type WebhookCreated = z.infer<typeof zWebhookCreated>;
export type Delivery = z.infer<typeof zDelivery>;
export type Deliveries = z.infer<typeof zDeliveries>;
export type EventLine = z.infer<typeof zEvent>;
export type Events = z.infer<typeof zEvents>;

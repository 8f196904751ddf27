/**
 * The Durable Object of one dataservice: the thin shell around the coordinator's machine. It loads, steps, persists,
 * and only then answers; it decides nothing.
 *
 * An incarnation that the platform has replaced may still be spoken to. Every answer with authority is therefore bound
 * to a write of its own event, which the platform withholds together with the answer if another incarnation has taken
 * over; and every event re-reads the generation, for platforms that do not.
 */
import { DurableObject } from "cloudflare:workers";
import { step } from "#shared/core/cluster/step.ts";
import { statusOf } from "#shared/core/cluster/status.ts";
import {
  freshLive,
  type ClusterEvent,
  type ClusterState,
  type ClusterStep,
  type OperationRecord,
  type ReplyBody,
} from "#shared/core/cluster/state.ts";
import type { Poll, Reply } from "#shared/domain/messages.ts";
import type {
  Create,
  Created,
  Deliveries,
  Delivery,
  OperationStatus,
  OperatorCommand,
  Status,
  TokenCreated,
  TokenLine,
  TokenSpec,
  WebhookCreated,
  WebhookLine,
  WebhookSpec,
} from "#shared/protocol/api.ts";
import { transcriptOf } from "#shared/protocol/transcript.ts";
import { alarmDue, mustArm, BACKSTOP_MS } from "./alarm.ts";
import { refuse, type Answer, type Refused } from "./answer.ts";
import { mintToken, type Caller, type Right } from "./auth.ts";
import type { Change } from "./change.ts";
import { firstState } from "./creation.ts";
import { Deliverer } from "./deliverer.ts";
import { allowsInsecureWebhooks, type Env } from "./env.ts";
import { macsOf, type Macs } from "./mac.ts";
import { isSetUp, migrate, MIGRATIONS } from "./migrations.ts";
import { isForced, refuseCommand, requestOf } from "./operator-request.ts";
import type { Deletion } from "./registry.ts";
import { mayManage, Rights } from "./rights.ts";
import { StaleIncarnation, Store, type Incarnation, type StoredEvent } from "./store.ts";
import { createToken, revokeToken, tokenLine } from "./tokens.ts";
import { createWebhook, deleteWebhook, deliveriesOf, retryDelivery, webhookLine, webhookOutline } from "./webhooks.ts";

const OPERATIONS_LISTED = 100;
const TICK = "tick";

/** A dataservice that exists, as this incarnation holds it. */
interface Loaded {
  incarnation: Incarnation;
  state: ClusterState;
  /** When the alarm is armed for, wall time; null when it is not. */
  armedMs: number | null;
}

export class Coordinator extends DurableObject<Env> {
  readonly #store: Store;
  readonly #macs: Macs;
  readonly #deliverer: Deliverer;
  readonly #rights: Rights;
  /** Milliseconds of this incarnation: the sum of positive differences of the platform's clock. */
  #at = 0;
  #wallMs = Date.now();
  /** Null until the dataservice is created. */
  #loaded: Loaded | null = null;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new Store(ctx.storage.sql);
    this.#macs = macsOf(env.SECRET);
    this.#deliverer = new Deliverer({
      outbox: this.#store.outbox,
      allowInsecure: allowsInsecureWebhooks(env),
      wallMs: () => this.#now(),
      record: (work) => this.#record(work),
    });
    this.#rights = new Rights({
      store: this.#store,
      wallMs: () => this.#now(),
      tell: (forbidden, wallMs) => {
        if (this.#write(() => this.#store.appendEvent(forbidden, wallMs)).ok) this.#attend();
      },
    });
    if (!isSetUp(ctx.storage.sql)) return;
    this.#loaded = ctx.storage.transactionSync(() => {
      migrate(ctx.storage.sql, MIGRATIONS, this.#wallMs);
      return this.#begin();
    });
    this.#attend();
  }

  /** Creates the dataservice; the tokens in the answer exist nowhere else. */
  create(create: Create): Answer<Created> {
    if (this.#loaded) return refuse("dataservice-exists", `dataservice '${create.name}' exists: choose another name`);
    const hosts = [...create.members.map((member) => member.name), ...create.routers];
    const agents = hosts.map((host) => ({ host, minted: mintToken(this.#macs, "agent", create.name) }));
    this.#loaded = this.ctx.storage.transactionSync(() => {
      migrate(this.ctx.storage.sql, MIGRATIONS, this.#now());
      this.#store.found(firstState(create, this.#wallMs));
      this.#store.appendEvent({ kind: "dataservice-created", by: "admin" }, this.#wallMs);
      for (const { host, minted } of agents) this.#store.addToken(minted.token, { host, label: null }, this.#wallMs);
      return this.#begin();
    });
    this.#attend();
    return {
      ok: true,
      value: { name: create.name, tokens: agents.map(({ host, minted }) => ({ host, token: minted.text })) },
    };
  }

  /** Answers an agent's poll. */
  poll(caller: Caller, poll: Poll): Answer<Reply> {
    const refused = this.#refuse(caller, "poll") ?? this.#rights.refuseHost(caller, poll.host);
    if (refused) return refused;
    // What a member remembers counts only with this coordinator's own word for it.
    const voucher = this.#macs.vouched(poll.dataservice, poll.mac);
    const done = this.#handle({ kind: "poll", ...this.#time(), poll, voucher });
    if (!done.ok) return done;
    const { answer } = done.value;
    if (answer.kind !== "reply") return refuse("internal", `a poll was answered with '${answer.kind}'`);
    return { ok: true, value: this.#signed(poll.dataservice, answer.reply) };
  }

  /** Takes an operator's command; the operation goes on by itself. */
  command(caller: Caller, command: OperatorCommand): Answer<OperationStatus> {
    const refused = this.#refuse(caller, "command") ?? refuseCommand(command);
    if (refused) return refused;
    const asked = { command: requestOf(command), by: this.#rights.nameOf(caller), force: isForced(command) };
    const done = this.#handle({ kind: "command", ...this.#time(), ...asked });
    if (!done.ok) return done;
    const { answer, state } = done.value;
    if (answer.kind !== "accepted") return refuse("internal", `a command was answered with '${answer.kind}'`);
    return this.#operationStatus(answer.op, state.durable.dataservice);
  }

  status(caller: Caller): Answer<Status> {
    const refused = this.#refuse(caller, "read");
    if (refused) return refused;
    // Whoever looks sees what the silence since the last poll means: at rest nothing else would notice that all are silent.
    const done = this.#handle({ kind: "tick", ...this.#time() });
    return done.ok ? { ok: true, value: statusOf(done.value.state, this.env.COORDINATOR_NAME) } : done;
  }

  /** The newest operations, newest first. */
  operations(caller: Caller): Answer<OperationStatus[]> {
    const refused = this.#refuse(caller, "read");
    if (refused || !this.#loaded) return refused ?? this.#unknown();
    const { dataservice } = this.#loaded.state.durable;
    const records = this.#store.operations(OPERATIONS_LISTED);
    return { ok: true, value: records.map((record) => this.#withTranscript(record, dataservice)) };
  }

  operation(caller: Caller, op: number): Answer<OperationStatus> {
    const refused = this.#refuse(caller, "read");
    if (refused || !this.#loaded) return refused ?? this.#unknown();
    return this.#operationStatus(op, this.#loaded.state.durable.dataservice);
  }

  /** Events after `after`, oldest first. */
  events(caller: Caller, after: number, limit: number): Answer<{ events: StoredEvent[]; last: number }> {
    const refused = this.#refuse(caller, "read");
    return refused ?? { ok: true, value: this.#store.events(after, limit) };
  }

  tokens(caller: Caller): Answer<TokenLine[]> {
    const refused = this.#refuse(caller, "read");
    return refused ?? { ok: true, value: this.#store.tokens().map(tokenLine) };
  }

  createToken(caller: Caller, spec: TokenSpec): Answer<TokenCreated> {
    const hosts = Object.keys(this.#loaded?.state.durable.identities ?? {});
    return this.#change(caller, "manage", (change) => createToken(change, spec, { macs: this.#macs, hosts }));
  }

  revokeToken(caller: Caller, id: string): Answer<TokenLine> {
    return this.#change(caller, "manage", (change) => revokeToken(change, id));
  }

  webhooks(caller: Caller): Answer<WebhookLine[]> {
    const refused = this.#refuse(caller, "read");
    return (
      refused ?? {
        ok: true,
        value: this.#store.outbox.webhooks().map(mayManage(caller) ? webhookLine : webhookOutline),
      }
    );
  }

  createWebhook(caller: Caller, spec: WebhookSpec): Answer<WebhookCreated> {
    return this.#change(caller, "manage", (change) => createWebhook(change, spec));
  }

  deleteWebhook(caller: Caller, id: string): Answer<WebhookLine> {
    const done = this.#change(caller, "manage", (change) => deleteWebhook(change, id));
    if (done.ok) this.#deliverer.abandon(id);
    return done;
  }

  deliveries(caller: Caller, webhook: string): Answer<Deliveries> {
    return this.#refuse(caller, "read") ?? deliveriesOf(this.#store, webhook);
  }

  retryDelivery(caller: Caller, webhook: string, n: number): Answer<Delivery> {
    return this.#change(caller, "manage", (change) => retryDelivery(change, webhook, n));
  }

  /** Ends the dataservice: nothing of it is left. While a primary reigns only with `force`. */
  async remove(caller: Caller, force: boolean): Promise<Answer<Deletion>> {
    const refused = this.#refuse(caller, "administer");
    if (refused || !this.#loaded) return refused ?? this.#unknown();
    const { durable } = this.#loaded.state;
    const hadPrimary = "primary" in durable.phase && durable.phase.kind !== "founding" ? durable.phase.primary : null;
    if (hadPrimary !== null && !force) {
      const detail = `'${hadPrimary}' reigns in '${durable.dataservice}', and its agent would fence it when its lease ends: stop the agents first, or give force=true`;
      return refuse("primary-is-live", detail);
    }
    const deletion = {
      name: durable.dataservice,
      deletedWallMs: this.#now(),
      by: this.#rights.nameOf(caller),
      hadPrimary,
    };
    const mayWrite = this.#write(() => true);
    if (!mayWrite.ok) return mayWrite;
    this.#loaded = null;
    this.#deliverer.abandon();
    await this.ctx.storage.deleteAlarm();
    await this.ctx.storage.deleteAll();
    return { ok: true, value: deletion };
  }

  /** The backstop: time passes although nobody speaks. Never throws: an alarm that fails too often is given up. */
  override alarm(): void {
    try {
      if (!this.#loaded) return;
      // Armed first, so that nothing that happens below can leave the object without an alarm.
      this.#arm(this.#now() + BACKSTOP_MS);
      const done = this.#handle({ kind: "tick", ...this.#time() });
      this.#attend();
      if (done.ok) this.#disarmAtRest();
    } catch (error) {
      console.error(JSON.stringify({ message: "alarm failed", error: String(error) }));
    }
  }

  /** Makes this incarnation the one that may write. */
  #begin(): Loaded {
    const incarnation = this.#store.nextIncarnation();
    const { generation } = incarnation;
    this.#store.appendEvent({ kind: "coordinator-started", generation }, this.#wallMs);
    const live = { ...freshLive(generation, this.#wallMs), at: this.#at };
    return { incarnation, state: { ...this.#store.load(), live }, armedMs: this.#store.timer(TICK) };
  }

  /** One event: one step, one transaction, then the alarm and the answer. Nothing has changed when this is a refusal. */
  #handle(event: ClusterEvent): Answer<ClusterStep> {
    const loaded = this.#loaded;
    if (!loaded) return this.#unknown();
    const before = loaded.state;
    const done = this.#stepAndSave(loaded, event);
    if (!done.ok) return done;
    const { state, answer } = done.value;
    loaded.state = state;
    // A refusal may be what ends a reign: of a poll that gave away that two agents speak for one host.
    if (answer.kind !== "refused" || state !== before) this.#attend();
    return answer.kind === "refused" ? refuse(answer.refusal.code, answer.refusal.detail) : done;
  }

  #stepAndSave({ incarnation, state }: Loaded, event: ClusterEvent): Answer<ClusterStep> {
    try {
      const value = this.ctx.storage.transactionSync(() => {
        this.#store.assertCurrent(incarnation);
        const next = step(state, event);
        this.#store.save(state, next, event.wallMs);
        return next;
      });
      return { ok: true, value };
    } catch (error) {
      return failed(event.kind, error);
    }
  }

  /** One change that somebody asked for, outside of the machine. */
  #change<T>(caller: Caller, right: Right, work: (change: Change) => Answer<T>): Answer<T> {
    const refused = this.#refuse(caller, right);
    if (refused) return refused;
    const by = this.#rights.nameOf(caller);
    const done = this.#write(({ state }) =>
      work({ store: this.#store, dataservice: state.durable.dataservice, by, wallMs: this.#now() }),
    );
    if (!done.ok) return done;
    this.#attend();
    return done.value;
  }

  /** One change of the outbox, when a try has ended. */
  #record(work: () => void): void {
    const done = this.#write(work);
    if (!done.ok) return;
    this.#attend();
    this.#disarmAtRest();
  }

  /** One transaction outside of the machine. Nothing has changed when this is a refusal. */
  #write<T>(work: (loaded: Loaded) => T): Answer<T> {
    const loaded = this.#loaded;
    if (!loaded) return this.#unknown();
    try {
      const value = this.ctx.storage.transactionSync(() => {
        this.#store.assertCurrent(loaded.incarnation);
        return work(loaded);
      });
      return { ok: true, value };
    } catch (error) {
      return failed("change", error);
    }
  }

  /** After every event: what became due to be delivered goes out, and the alarm is armed for what is due next. */
  #attend(): void {
    if (!this.#loaded) return;
    try {
      this.#deliverer.deliverDue();
    } catch (error) {
      // What cannot be told must cost nobody an answer.
      console.error(JSON.stringify({ message: "deliveries failed", error: String(error) }));
    }
    const due = this.#dueMs(this.#loaded);
    if (due !== null && mustArm(this.#loaded.armedMs, due, this.#wallMs)) this.#arm(due);
  }

  /** An alarm that nothing waits for would wake the object in vain. */
  #disarmAtRest(): void {
    const loaded = this.#loaded;
    if (loaded && loaded.armedMs !== null && this.#dueMs(loaded) === null) this.#disarm();
  }

  #dueMs({ state }: Loaded): number | null {
    return alarmDue(state, { wallMs: this.#wallMs, deliveryMs: this.#deliverer.dueMs() });
  }

  #arm(dueMs: number): void {
    if (this.#loaded) this.#loaded.armedMs = dueMs;
    this.#store.setTimer(TICK, dueMs);
    this.ctx.storage.setAlarm(dueMs).catch(alarmNotSet);
  }

  #disarm(): void {
    if (this.#loaded) this.#loaded.armedMs = null;
    this.#store.clearTimer(TICK);
    this.ctx.storage.deleteAlarm().catch(alarmNotSet);
  }

  #refuse(caller: Caller, right: Right): Refused | null {
    return this.#loaded ? this.#rights.refuse(caller, right) : this.#unknown();
  }

  #signed(dataservice: string, body: ReplyBody): Reply {
    const { leaseEndedEpoch, voucher, ...reply } = body;
    const mac = this.#macs.voucher(dataservice, voucher);
    const leaseEnded =
      leaseEndedEpoch === null
        ? null
        : { epoch: leaseEndedEpoch, mac: this.#macs.leaseEnded(dataservice, leaseEndedEpoch) };
    return { ...reply, mac, leaseEnded, peerKey: this.#macs.peerKey(dataservice) };
  }

  #operationStatus(op: number, dataservice: string): Answer<OperationStatus> {
    const record = this.#store.operation(op);
    if (!record)
      return refuse("unknown-operation", `op: ${op} is no operation of '${dataservice}', or one too old to be kept`);
    return { ok: true, value: this.#withTranscript(record, dataservice) };
  }

  #withTranscript(record: OperationRecord, dataservice: string): OperationStatus {
    const context = { dataservice, coordinator: this.env.COORDINATOR_NAME, operation: record.kind };
    return { ...record, transcript: transcriptOf(this.#store.transcript(record.op), context) };
  }

  #unknown(): Refused {
    return refuse("unknown-dataservice", `dataservice '${this.ctx.id.name ?? "?"}' does not exist: create it first`);
  }

  #time(): { at: number; wallMs: number } {
    const wallMs = this.#now();
    return { at: this.#at, wallMs };
  }

  #now(): number {
    const wallMs = Date.now();
    this.#at += Math.max(0, wallMs - this.#wallMs);
    this.#wallMs = wallMs;
    return wallMs;
  }
}

/** A step that failed has changed nothing: the last persisted state stands. */
function failed(event: string, error: unknown): Refused {
  if (error instanceof StaleIncarnation) return refuse("coordinator-unavailable", `${error.message}: try again`);
  console.error(JSON.stringify({ message: "step failed, nothing persisted", event, error: String(error) }));
  return refuse("internal", `handling a ${event} failed and changed nothing: the coordinator's log says why`);
}

function alarmNotSet(error: unknown): void {
  console.error(JSON.stringify({ message: "alarm not set", error: String(error) }));
}

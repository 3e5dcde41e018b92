// The machine of the client: `step(input, now)` changes the state and returns the effects. It has no sockets, timers, clock
// or randomness of its own, so a test runs it through any schedule.

import type { StoreOp } from "../store.js";
import type { AckAnswer, ConvAnswer, ErrAnswer, ProfileEvent, ServerAnswer, ServerEvent } from "../wire/index.js";
import { Asks } from "./asks.js";
import { AUTH_ID, Connection, type SessionState } from "./connection.js";
import type { StoredRow } from "./conversation.js";
import { Conversations } from "./conversations.js";
import { directId, ulid } from "./ids.js";
import { Outbox, type OutgoingItem, positionOf } from "./outbox.js";
import { Profiles, type UserTable } from "./profiles.js";
import type { Call, ChatFailure, Effect, Input, OutgoingInfo, Profile, Settled, Status } from "./types.js";
import { inboxView, outboxView, type WindowCache, windowView } from "./views.js";
import { Watches } from "./watches.js";

/** The server forgets a `cid` after 72 hours. */
const CID_MS = 71 * 3_600_000;

export interface EngineOptions {
  urls: readonly string[];
  random: () => number;
  /** Added to the device id in a tab that shares nothing with others. */
  ownDevice?: boolean;
}

export class Engine {
  readonly connection: Connection;
  readonly outbox: Outbox;
  readonly conversations: Conversations;
  readonly #asks: Asks;
  readonly #watches: Watches;
  readonly #profiles: Profiles;
  #out: Effect[] = [];
  #ops: StoreOp[] = [];
  #mark = 0;
  /** Marks of batches whose items wait to be durable. */
  readonly #unstored: [number, OutgoingItem][] = [];
  #ids = AUTH_ID;
  #user = "";
  #durable = false;
  #loaded = false;
  #startWanted = false;
  #verifying = new Set<string>();
  readonly #dirty = new Set<string>();
  /** Views that a tab wants and has not got. */
  readonly #unseen = new Set<string>();
  readonly #caches = new Map<string, WindowCache>();
  /** Ids of direct conversations by `to:<user>`. */
  readonly #direct = new Map<string, string>();
  #now = 0;
  #shownStatus = "";
  #savedSession = "";

  constructor(private readonly options: EngineOptions) {
    const id = () => ++this.#ids;
    this.connection = new Connection(options.urls, options.random, (effect) => this.#out.push(effect));
    this.outbox = new Outbox(options.random, (key) => this.#resolve(key));
    this.#asks = new Asks(id);
    const touch = (key: string) => this.#dirty.add(key);
    const store = (op: StoreOp) => this.#ops.push(op);
    this.#watches = new Watches(this.#asks, touch);
    this.#profiles = new Profiles(touch, store);
    this.conversations = new Conversations({
      asks: this.#asks,
      me: () => this.#user,
      now: () => this.#now,
      touch,
      store,
      load: (c) => this.#out.push({ t: "load-log", c }),
      emit: (name, data) => this.#out.push({ t: "emit", name, data }),
      settle: (cid, at) => this.#settleOwn(cid, at),
      reopen: () => this.#reopen(),
    });
  }

  /** Handles one input. */
  step(input: Input, now: number): Effect[] {
    this.#now = now;
    this.#handle(input);
    if (input.t !== "offline") this.connection.tick(now);
    this.conversations.expireTyping(now);
    this.#pump();
    this.#flush();
    const out = this.#out;
    this.#out = [];
    return out;
  }

  /** Returns the time of the next `tick`. */
  next(): number {
    const own = this.connection.ready ? Math.min(this.#asks.next(), this.outbox.next()) : Infinity;
    return Math.min(this.connection.next(), own, this.conversations.nextTyping());
  }

  #handle(input: Input): void {
    const { connection } = this;
    const now = this.#now;
    switch (input.t) {
      case "start":
        this.#startWanted = true;
        if (this.#loaded) connection.start(now);
        break;
      case "stop":
        this.#startWanted = false;
        connection.stop(now);
        this.#disconnected();
        break;
      case "logout":
        this.#startWanted = false;
        connection.stop(now);
        this.#disconnected();
        this.#forget();
        break;
      case "loaded":
        this.#restore(input.entries, input.durable);
        break;
      case "log":
        this.conversations.logLoaded(input.c, input.events);
        break;
      case "stored":
        this.#stored(input.mark);
        break;
      case "store-lost":
        this.#durable = false;
        break;
      case "token":
        connection.gotToken(input.token, now);
        break;
      case "token-failed":
        connection.noToken(input.final, input.why, now);
        break;
      case "frame":
        if (input.conn === connection.conn) this.#frame(input.text);
        break;
      case "closed":
        if (input.conn !== connection.conn) break;
        connection.closed(input.code, input.reason, now);
        this.#disconnected();
        break;
      case "wake":
        connection.wake(now);
        break;
      case "offline":
        connection.offline(now);
        break;
      case "call":
        this.#call(input.call, input.tab, input.id);
        break;
      case "want":
        this.#want(input.tab, input.keys);
        break;
      case "gone":
        this.#want(input.tab, []);
        break;
      case "opened":
      case "tick":
        break;
    }
    // A socket that the connection gave up by itself takes with it what was in flight.
    if (!connection.ready && this.#inSession) this.#disconnected();
  }

  #inSession = false;

  #disconnected(): void {
    this.#inSession = false;
    this.outbox.lost();
    this.#asks.lost();
    this.#dirty.add("outbox");
    for (const item of this.outbox.items) this.#touchLane(item);
  }

  // === frames ===

  #frame(text: string): void {
    let frame: ServerAnswer | ServerEvent;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    this.connection.inbound();
    const { users } = frame as { users?: UserTable | null };
    if (users) this.#profiles.take(users);
    if ("n" in frame && frame.t !== "ready") this.#event(frame as ServerEvent);
    else this.#answer(frame as ServerAnswer);
  }

  #event(event: ServerEvent): void {
    const { session } = this.connection;
    if (event.n <= session.n) return;
    const jumped = event.n > session.n + 1;
    session.n = event.n;
    if (event.t === "bye") this.connection.gotBye(event);
    else if (event.t === "presence") this.#watches.presence(event);
    else if (event.t === "profile") this.#profile(event);
    else if (event.t === "resync") {
      this.#out.push({ t: "emit", name: "resync", data: { why: event.why } });
      this.conversations.resync(false);
    } else {
      const { n: _, ...own } = event;
      this.conversations.event(own);
    }
    if (jumped && event.t !== "resync") this.conversations.resync(false);
  }

  /** A user has another name or picture: the next list has it. */
  #profile({ u, ver }: ProfileEvent): void {
    if (this.#profiles.older(u, ver)) this.conversations.refresh();
  }

  #answer(answer: ServerAnswer): void {
    const { connection } = this;
    const now = this.#now;
    if (answer.t === "hello") connection.hello(answer, now);
    else if (answer.t === "ready") {
      this.outbox.limit(answer.limits.sends_per_s, answer.limits.burst, now);
      if (connection.gotReady(answer, now)) this.#session(answer.user, answer.resumed);
    } else if (answer.id === AUTH_ID && answer.t === "err") connection.authRefused(answer, now);
    else if (answer.id !== undefined && !this.#asks.answered(answer.id, answer, now)) {
      if (answer.t === "ack" || answer.t === "conv" || answer.t === "err") this.#changed(answer.id, answer);
    }
  }

  #session(user: string, resumed: boolean): void {
    this.#inSession = true;
    if (this.#user && this.#user !== user) this.#forget();
    this.#user = user;
    this.#dirty.add("status");
    this.#reopen();
    if (resumed) return;
    this.#asks.newSession();
    this.#watches.newSession();
    this.conversations.resync(true);
  }

  /** The user signed out, or another one signed in: nothing of the former may be shown or sent. */
  #forget(): void {
    this.#user = "";
    delete this.connection.session.sid;
    this.#ops = [{ drop: "" }];
    for (const item of [...this.outbox.items]) this.#fail(item, { code: "signed_out", msg: "the user signed out", temp: false });
    this.outbox.items = [];
    this.conversations.clear();
    this.#profiles.clear();
    this.#caches.clear();
    this.#direct.clear();
    this.#savedSession = "";
    this.#dirty.add("inbox").add("outbox");
  }

  // === changes ===

  #changed(id: number, answer: AckAnswer | ConvAnswer | ErrAnswer): void {
    const item = this.outbox.answered(id, answer, this.#now);
    if (answer.t === "conv") this.conversations.snapshot(answer);
    if (!item) return;
    this.#touchLane(item);
    this.#dirty.add("outbox");
    if (item.state === "sent") {
      const c = answer.t === "err" ? item.key : answer.c;
      this.#settled(item, { c, ...(answer.t === "ack" ? positionOf(answer) : {}) });
    } else if (item.state === "failed") {
      const error = item.error as ChatFailure;
      if (item.command.t === "send") {
        this.#put(item);
        this.#out.push({ t: "settled", cid: item.cid, error });
      } else this.#fail(item, error);
    }
  }

  /** The own event came: with the answer or before it. */
  #settleOwn(cid: string, at: Settled): void {
    const item = this.outbox.find(cid);
    if (!item) return;
    const open = item.state !== "sent";
    this.outbox.done(item, at);
    if (open) this.#settled(item, at);
    this.outbox.remove(item);
    this.#dirty.add("outbox");
    this.#touchLane(item);
  }

  #settled(item: OutgoingItem, value: Settled): void {
    this.#ops.push({ del: outKey(item) });
    this.#out.push({ t: "settled", cid: item.cid, value });
    // What a window shows stays there until the log has it.
    if (!this.#shown(item)) this.outbox.remove(item);
  }

  /** An acknowledged change is in a window, and not in the log yet. */
  #shown({ key, command, s }: OutgoingItem): boolean {
    const position = this.conversations.get(this.#resolve(key))?.s ?? -1;
    return command.t === "send" ? position < (s ?? Infinity) : "of" in command && s !== undefined && position >= 0 && position < s;
  }

  #fail(item: OutgoingItem, error: ChatFailure): void {
    this.#ops.push({ del: outKey(item) });
    this.#out.push({ t: "settled", cid: item.cid, error });
    this.outbox.remove(item);
    this.#touchLane(item);
  }

  #put(item: OutgoingItem): void {
    this.#ops.push({ put: outKey(item), value: { ...item } });
  }

  #stored(mark: number): void {
    while (this.#unstored[0] && this.#unstored[0][0] <= mark) {
      const [, item] = this.#unstored.shift() as [number, OutgoingItem];
      item.stored = true;
      this.#out.push({ t: "persisted", cid: item.cid });
    }
  }

  /** Sends what may be sent now. */
  #pump(): void {
    const { connection } = this;
    const now = this.#now;
    if (!connection.ready) return;
    for (const query of this.#asks.due(now)) this.#send(query);
    this.conversations.askReads();
    this.#watches.ask();
    for (const [id, item] of this.outbox.due(
      now,
      () => ++this.#ids,
      (item) => this.#held(item),
    )) {
      // Before the first attempt only: what the server may know is looked for after 72 hours.
      if (item.tries === 1) this.#put(item);
      this.#send({ ...item.command, ...this.#target(item), cid: item.cid, id });
      this.#touchLane(item);
      this.#dirty.add("outbox");
    }
    for (const query of this.#asks.due(now)) this.#send(query);
  }

  #target(item: OutgoingItem): { c?: string; to?: string } {
    if (item.command.t === "create") return {};
    if (item.command.t === "send" && item.key.startsWith("to:")) return { to: item.key.slice(3) };
    return { c: this.#resolve(item.key) };
  }

  #send(frame: object): void {
    this.#out.push({ t: "send", conn: this.connection.conn, text: JSON.stringify(frame) });
  }

  /** A change whose `cid` the server may have forgotten waits until the log was searched for it. */
  #held(item: OutgoingItem): boolean {
    if (item.firstTry === undefined || this.#now - item.firstTry < CID_MS) return false;
    if (this.conversations.syncing || this.#verifying.has(item.cid)) return true;
    this.#verifying.add(item.cid);
    this.conversations.search(this.#resolve(item.key), item.firstTry, item.cid, () => {
      this.#verifying.delete(item.cid);
      item.firstTry = this.#now;
    });
    return true;
  }

  // === calls ===

  #call(call: Call, tab: string, id: number): void {
    const reply = (result: { value?: unknown; error?: ChatFailure }): void => {
      this.#out.push({ t: "result", tab, id, ...result });
    };
    switch (call.op) {
      case "change":
        this.#change(call);
        return reply({});
      case "retry":
      case "discard": {
        const item = this.outbox.find(call.cid);
        if (item && call.op === "retry" && item.state !== "sent") {
          this.outbox.retry(item);
          this.#put(item);
        } else if (item && item.state !== "pending" && item.state !== "sent") {
          this.#fail(item, { code: "discarded", msg: "discarded by the application", temp: false });
        }
        if (item) this.#touchLane(item);
        this.#dirty.add("outbox");
        return reply({ value: item !== undefined });
      }
      case "read":
        this.conversations.read(this.#resolve(call.key), call.s);
        return reply({});
      case "typing":
        if (this.connection.ready && this.conversations.maySendTyping(this.#resolve(call.key), call.on)) {
          this.#send({ t: "typing", c: this.#resolve(call.key), on: call.on });
        }
        return reply({});
      case "page":
        return this.conversations.page(this.#resolve(call.key), call.at, call.newer ?? false, () => reply({}));
      case "more":
        return this.conversations.more((more) => reply({ value: more }));
      case "members":
        return this.conversations.readMembers(this.#resolve(call.key), (answer) =>
          reply(answer.t === "err" ? { error: failure(answer) } : { value: answer }),
        );
      case "query":
        return this.#asks.add(call.command, (answer) => reply(answer.t === "err" ? { error: failure(answer) } : { value: answer }));
    }
  }

  #change(call: Call & { op: "change" }): void {
    const { cid, key, at, command } = call;
    // A follower repeats its changes to a new leader, which may know them from the store.
    if (this.outbox.find(cid)) return;
    if (this.outbox.full) {
      const error = { code: "outbox_full", msg: "too many changes wait to be sent", temp: false };
      this.#out.push({ t: "settled", cid, error });
      return;
    }
    const item = this.outbox.add({ cid, key, at, command }, this.#now);
    this.#put(item);
    this.#unstored.push([this.#mark + 1, item]);
    this.#dirty.add("outbox");
    this.#touchLane(item);
  }

  #want(tab: string, keys: string[]): void {
    for (const key of this.#watches.want(tab, keys)) {
      this.#dirty.add(key);
      this.#unseen.add(key);
    }
    const wanted = this.#watches.keys();
    for (const key of this.#caches.keys()) if (!wanted.has(key)) this.#caches.delete(key);
    this.conversations.closeOthers(this.#reopen());
  }

  /** Returns the conversation that a key names; that of a user only once the own user is known. */
  #resolve(key: string): string {
    if (!key.startsWith("to:") || !this.#user) return key;
    const known = this.#direct.get(key) ?? directId(this.#user, key.slice(3));
    this.#direct.set(key, known);
    return known;
  }

  #touchLane(item: OutgoingItem): void {
    this.#dirty.add(`m/${this.#resolve(item.key)}`);
  }

  // === store ===

  #restore(entries: [string, unknown][], durable: boolean): void {
    this.#loaded = true;
    this.#durable = durable;
    const { session } = this.connection;
    const items: OutgoingItem[] = [];
    for (const [key, value] of entries) {
      if (key === "session") {
        const saved = value as SessionState & { user: string };
        this.#user = saved.user;
        Object.assign(session, { n: saved.n, device: saved.device, instance: saved.instance });
        if (saved.sid && !this.options.ownDevice) session.sid = saved.sid;
      } else if (key.startsWith("row/")) this.conversations.restore(key.slice(4), value as StoredRow);
      else if (key.startsWith("user/")) this.#profiles.restore(key.slice(5), value as Profile);
      else if (key.startsWith("out/")) items.push(value as OutgoingItem);
    }
    const random = () => ulid(this.#now, this.options.random);
    session.device ||= random();
    session.instance ||= random();
    if (this.options.ownDevice) {
      session.device = `${session.device.slice(0, 26)}.${random().slice(16)}`;
      session.instance = random();
    }
    this.outbox.restore(items);
    this.#dirty.add("status").add("inbox").add("outbox");
    for (const key of this.#watches.keys()) this.#dirty.add(key);
    this.#reopen();
    if (this.#startWanted) this.connection.start(this.#now);
  }

  /** Makes available what the wanted windows show; returns their conversations. */
  #reopen(): Set<string> {
    const open = new Set<string>();
    for (const key of this.#watches.keys()) {
      const [kind, name = "", at] = key.split("/");
      const c = this.#resolve(name);
      // Before the first sign-in a direct conversation has no id.
      if (kind !== "m" || c.startsWith("to:")) continue;
      open.add(c);
      this.conversations.open(c, at ? Number(at) : undefined);
    }
    return open;
  }

  /** Emits what changed: writes to the store, then values for the application. */
  #flush(): void {
    if (!this.#loaded) return;
    for (const item of this.outbox.items) {
      // Acknowledged, and in the log or behind a gap.
      if (item.state === "sent" && !this.#shown(item)) this.outbox.remove(item);
    }
    this.outbox.sweep();
    const { connection } = this;
    if (connection.ready) connection.enter(this.conversations.syncing ? "syncing" : "live", this.#now);
    this.conversations.persist();
    if (this.#user && !this.options.ownDevice) {
      const session: SessionState & { user: string } = { ...connection.session, user: this.#user };
      // In the middle of catching up, `n` promises more than the store has: a reload then begins a new session.
      if (this.conversations.incomplete) delete session.sid;
      const saved = JSON.stringify(session);
      if (saved !== this.#savedSession) {
        this.#savedSession = saved;
        this.#ops.push({ put: "session", value: session });
      }
    }
    if (this.#ops.length > 0) {
      this.#out.push({ t: "store", ops: this.#ops, mark: ++this.#mark });
      this.#ops = [];
    }
    const status = JSON.stringify(this.#status());
    if (status !== this.#shownStatus) {
      this.#shownStatus = status;
      this.#dirty.add("status");
    }
    for (const key of this.#dirty) this.#show(key);
    this.#dirty.clear();
    this.#unseen.clear();
  }

  #show(key: string): void {
    for (const wanted of this.#watches.matching(key, (name) => this.#resolve(name))) {
      const before = this.#caches.get(wanted)?.shown;
      const value = this.#view(wanted);
      // A tab that is new to a view needs the value in any case.
      if (!before || value !== before || this.#unseen.has(wanted)) this.#out.push({ t: "view", key: wanted, value });
    }
  }

  #status(): Status {
    const { phase, since, retryAt, why, node } = this.connection;
    return {
      phase,
      since,
      leader: true,
      store: this.#durable ? "durable" : "memory",
      retryAt: retryAt < Infinity ? retryAt : undefined,
      why,
      node,
      user: this.#user || undefined,
    };
  }

  /** Computes the value of a view. */
  #view(key: string): unknown {
    const [kind, name = "", at] = key.split("/");
    if (kind === "status") return this.#status();
    if (kind === "inbox") return inboxView(this.conversations.all());
    if (kind === "outbox") return outboxView(this.outbox) satisfies OutgoingInfo[];
    if (kind === "p") return this.#watches.state(name);
    if (kind === "u") return this.#profiles.get(name);
    const c = this.#resolve(name);
    const state = this.conversations.get(c);
    if (kind === "c") return state?.info;
    if (kind === "y") return [...(state?.typing.keys() ?? [])];
    const cache = this.#caches.get(key) ?? { messages: new Map() };
    this.#caches.set(key, cache);
    const segment = at ? state?.log?.around(Number(at)) : state?.log?.live;
    const waiting = this.outbox.items.filter((it) => this.#resolve(it.key) === c);
    return windowView(c, this.#user, state, segment, waiting, cache);
  }
}

function outKey(item: OutgoingItem): string {
  return `out/${String(item.order).padStart(16, "0")}/${item.cid}`;
}

function failure(err: ErrAnswer): ChatFailure {
  return { code: err.code, msg: err.msg, temp: err.temp };
}

// The client that an application holds, one per tab: live values, conversations, and the way to the tab with the connection.

import { Conversation } from "./conversation.js";
import { ulid } from "./engine/ids.js";
import type {
  Call,
  ChangeCommand,
  ChatFailure,
  ConversationInfo,
  EventName,
  OutgoingInfo,
  Presence,
  Profile,
  QueryCommand,
  Settled,
  Status,
} from "./engine/types.js";
import { ChatError } from "./errors.js";
import { type Delivery, Host, type HostOptions, type SocketConstructor } from "./host.js";
import { Cell, type Live } from "./live.js";
import { Outgoing } from "./outgoing.js";
import { memory, type Store } from "./store.js";
import { type Channel, type Locks, type TabInput, Tabs } from "./tabs.js";
import type { ConversationKind, ConversationMember, MeAnswer } from "./wire/index.js";

export interface RookeryOptions {
  /** Addresses of nodes, `wss://…`; any node will do. They are shuffled, and changed on a failure. */
  urls: readonly string[];
  /** `false`: the addresses are tried in their order, for a page whose own node comes first. */
  shuffle?: boolean;
  /** Returns an access token. It throws `Unauthorized` if there is none to be had; other errors are tried again. */
  token: HostOptions["token"];
  /** Place of the state that outlives the page; in memory unless given. */
  store?: Store;
  /** `share`: one connection for all tabs of the browser, where it can. `own`: one for this tab. */
  tabs?: "share" | "own";
  /** Name of what the tabs share; one per signed-in user if several may use one browser at a time. */
  name?: string;
  /** Kinds of connections in the order in which they are tried: `ws`, and the fallbacks of `@rookery/client/poll`. */
  transports?: readonly ("ws" | SocketConstructor)[];
  /** Ends the login at the server when the client logs out: the `logout` of `@rookery/client/login`. */
  logout?: (options: { everywhere?: boolean }) => Promise<void>;
  /** Node 20 has no global WebSocket: the one of the package `ws` will do. */
  WebSocket?: SocketConstructor;
  now?: () => number;
  random?: () => number;
  setTimer?: HostOptions["setTimer"];
  locks?: Locks;
  channel?: (name: string) => Channel;
}

/** The inbox: rows by the time of the last message. */
export interface Inbox extends Live<readonly ConversationInfo[]> {
  /** Unread messages in all rows. */
  readonly unread: number;
  readonly mentions: number;
  /** Reads the next page; false after the last one. */
  more(): Promise<boolean>;
}

const BASE = ["status", "inbox", "outbox"];
const OFFLINE: Status = { phase: "offline", since: 0, leader: false, store: "memory" };

export class Rookery {
  readonly status: Live<Status>;
  readonly inbox: Inbox;
  readonly outbox: Live<readonly OutgoingInfo[]>;
  readonly #views = new Map<string, Cell<unknown>>();
  readonly #wanted = new Map<string, number>();
  readonly #conversations = new Map<string, Conversation>();
  readonly #outgoing = new Map<string, Outgoing>();
  /** Calls without a result; they go to a new leader again. */
  readonly #pending = new Map<number, { call: Call; resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  readonly #listeners = new Map<EventName, Set<(data: never) => void>>();
  readonly #tab: string;
  readonly #store: Store;
  readonly #now: () => number;
  readonly #random: () => number;
  #ids = 0;
  #running = false;
  #host: Host | undefined;
  #tabs: Tabs | undefined;
  #endLead = () => {};
  #unlisten = () => {};

  constructor(private readonly options: RookeryOptions) {
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#tab = ulid(this.#now(), this.#random);
    this.#store = options.store ?? memory();
    this.status = this.view<Status>("status", OFFLINE);
    this.outbox = this.view<readonly OutgoingInfo[]>("outbox", []);
    const rows = this.view<readonly ConversationInfo[]>("inbox", []);
    const sum = (field: "unread" | "mentions") => rows.get().reduce((total, row) => total + row[field], 0);
    this.inbox = {
      get: () => rows.get(),
      subscribe: (fn) => rows.subscribe(fn),
      get unread() {
        return sum("unread");
      },
      get mentions() {
        return sum("mentions");
      },
      more: () => this.call<boolean>({ op: "more" }),
    };
  }

  // === life ===

  /** Connects, and stays connected until `stop`. After a refusal it tries again. */
  start(): void {
    if (this.#running) {
      this.#input({ t: "start" });
      return;
    }
    this.#running = true;
    this.#unlisten = this.#listen();
    const { locks, channel } = this.#shared();
    if (!locks || !channel) {
      void this.#lead(this.options.tabs !== "own" ? this.options.store?.durable === true : true);
      return;
    }
    const name = `rookery:${this.options.name ?? "default"}`;
    this.#tabs = new Tabs(this.#tab, channel(name), {
      lead: () => {
        const ended = new Promise<void>((resolve) => {
          this.#endLead = resolve;
        });
        void this.#lead(false);
        return ended;
      },
      follow: () => this.#replay(),
      input: (input) => this.#host?.input(input),
      delivered: (delivery) => this.#delivered(delivery),
    });
    this.#tabs.start(name, locks);
  }

  /** Disconnects. The state stays, and `start` goes on from it. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#unlisten();
    const host = this.#host;
    const tabs = this.#tabs;
    this.#host = this.#tabs = undefined;
    await host?.stop();
    tabs?.stop();
    this.#endLead();
    (this.status as Cell<Status>).set({ ...this.status.get(), phase: "offline", leader: false });
  }

  /** Ends the connection of all tabs, removes everything that is stored, and then ends the login, or with `everywhere` all of the user. */
  async logout(options: { everywhere?: boolean } = {}): Promise<void> {
    this.#input({ t: "logout" });
    await this.stop();
    await this.options.logout?.(options);
  }

  // === conversations ===

  /** Returns the conversation with an id. Nothing is asked for before somebody subscribes to it. */
  conversation(c: string): Conversation {
    let found = this.#conversations.get(c);
    if (!found) {
      found = new Conversation(this, c);
      this.#conversations.set(c, found);
    }
    return found;
  }

  /** Returns the direct conversation with a user; it begins with the first message. */
  direct(user: string): Conversation {
    return this.conversation(`to:${user}`);
  }

  /** Creates a conversation. */
  async create(fields: { kind: ConversationKind; members: string[]; title?: string }): Promise<Conversation> {
    const cid = ulid(this.#now(), this.#random);
    const { c } = await this.change(`new:${cid}`, { t: "create", ...fields }, cid).settled;
    return this.conversation(c);
  }

  /** Returns the name and the picture of a user, once the server has told them. */
  user(u: string): Live<Profile | undefined> {
    return this.view<Profile | undefined>(`u/${u}`, undefined);
  }

  /** Returns the presence of users, followed while somebody subscribes. */
  presence(users: readonly string[]): Live<Readonly<Record<string, Presence | undefined>>> {
    const cells = users.map((u) => [u, this.view<Presence | undefined>(`p/${u}`, undefined)] as const);
    let shown: Record<string, Presence | undefined> = {};
    return {
      get: () => {
        if (cells.some(([u, cell]) => shown[u] !== cell.get())) shown = Object.fromEntries(cells.map(([u, cell]) => [u, cell.get()]));
        return shown;
      },
      subscribe: (fn) => {
        const ends = cells.map(([, cell]) => cell.subscribe(fn));
        return () => {
          for (const end of ends) end();
        };
      },
    };
  }

  /** Sends a change that was refused, or waits, again. */
  async retry(cid: string): Promise<void> {
    await this.call({ op: "retry", cid });
  }

  /** Takes a change that was not sent out of the outbox. */
  async discard(cid: string): Promise<void> {
    await this.call({ op: "discard", cid });
  }

  block(user: string): Promise<unknown> {
    return this.#query({ t: "block", who: user });
  }

  unblock(user: string): Promise<unknown> {
    return this.#query({ t: "unblock", who: user });
  }

  /** Returns the user's own settings, after changing those that are given. */
  me(change: Omit<Extract<QueryCommand, { t: "me" }>, "t"> = {}): Promise<MeAnswer> {
    return this.#query({ t: "me", ...change }) as Promise<MeAnswer>;
  }

  /** Calls `fn` at each of these events; returns a function that ends it. */
  on(name: EventName, fn: (data: never) => void): () => void {
    const fns = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, fns.add(fn));
    return () => fns.delete(fn);
  }

  // === for the parts of the client ===

  /** @internal */
  view<T>(key: string, initial: T): Cell<T> {
    let cell = this.#views.get(key);
    if (!cell) {
      cell = new Cell<unknown>(initial, (on) => this.#watch(key, on));
      this.#views.set(key, cell);
    }
    return cell as Cell<T>;
  }

  /** @internal */
  call<T>(call: Call): Promise<T> {
    const id = ++this.#ids;
    return new Promise<T>((resolve, reject) => {
      this.#pending.set(id, { call, resolve: resolve as (value: unknown) => void, reject });
      this.#input({ t: "call", tab: this.#tab, id, call });
    });
  }

  /** Hands over a call that is not worth repeating. @internal */
  post(call: Call): void {
    this.#input({ t: "call", tab: this.#tab, id: 0, call });
  }

  /** @internal */
  change(key: string, command: ChangeCommand, cid: string = ulid(this.#now(), this.#random)): Outgoing {
    const outgoing = new Outgoing(this, cid, { op: "change", key, cid, at: this.#now(), command });
    this.#outgoing.set(cid, outgoing);
    this.#submit(outgoing);
    return outgoing;
  }

  /** @internal */
  members(key: string): Promise<ConversationMember[]> {
    return this.call<{ items: ConversationMember[] }>({ op: "members", key }).then((answer) => answer.items);
  }

  #query(command: QueryCommand): Promise<unknown> {
    return this.call({ op: "query", command });
  }

  #submit(outgoing: Outgoing): void {
    this.post(outgoing.call);
  }

  // === the leader and the others ===

  async #lead(ownDevice: boolean): Promise<void> {
    const { options } = this;
    const urls = [...options.urls];
    for (let i = options.shuffle === false ? 0 : urls.length - 1; i > 0; i--) {
      const j = Math.floor(this.#random() * (i + 1));
      [urls[i], urls[j]] = [urls[j] as string, urls[i] as string];
    }
    const timer = (fn: () => void, ms: number) => {
      const handle = setTimeout(fn, ms);
      return () => clearTimeout(handle);
    };
    const ws = options.WebSocket ?? (globalThis.WebSocket as unknown as SocketConstructor | undefined);
    const host = new Host(
      {
        urls,
        token: options.token,
        store: this.#store,
        ownDevice,
        transports: (options.transports ?? ["ws"]).map((it) => (it === "ws" ? ws : it)).filter((it) => it !== undefined),
        now: this.#now,
        random: this.#random,
        setTimer: options.setTimer ?? timer,
      },
      (delivery) => {
        this.#delivered(delivery);
        this.#tabs?.broadcast(delivery);
      },
    );
    this.#host = host;
    await host.start();
    this.#replay();
  }

  /** Hands everything open to the leader: what it has already it ignores. */
  #replay(): void {
    this.#input({ t: "start" });
    this.#want();
    for (const [id, { call }] of this.#pending) this.#input({ t: "call", tab: this.#tab, id, call });
    for (const outgoing of this.#outgoing.values()) this.#submit(outgoing);
  }

  #input(input: TabInput): void {
    if (this.#host) this.#host.input(input);
    else this.#tabs?.send(input);
  }

  #delivered(delivery: Delivery): void {
    switch (delivery.t) {
      case "view": {
        const own = delivery.key === "status" && !this.#host;
        const value = own ? { ...(delivery.value as Status), leader: false } : delivery.value;
        this.#views.get(delivery.key)?.set(value);
        if (delivery.key === "outbox") this.#states(delivery.value as OutgoingInfo[]);
        return;
      }
      case "result": {
        const pending = delivery.tab === this.#tab ? this.#pending.get(delivery.id) : undefined;
        this.#pending.delete(delivery.id);
        if (delivery.error) pending?.reject(new ChatError(delivery.error));
        else pending?.resolve(delivery.value);
        return;
      }
      case "persisted":
        this.#outgoing.get(delivery.cid)?.persisted();
        return;
      case "settled":
        return this.#settled(delivery.cid, delivery.value, delivery.error);
      case "emit":
        for (const fn of this.#listeners.get(delivery.name) ?? []) fn(delivery.data as never);
        return;
    }
  }

  #settled(cid: string, value: Settled | undefined, error: ChatFailure | undefined): void {
    const outgoing = this.#outgoing.get(cid);
    if (!outgoing) return;
    if (value) outgoing.done(value);
    else outgoing.failed(error as ChatFailure);
    // A refused message may be sent again by hand, and settles then.
    if (value || outgoing.call.command.t !== "send" || error?.code === "discarded") this.#outgoing.delete(cid);
  }

  #states(infos: readonly OutgoingInfo[]): void {
    for (const info of infos) this.#outgoing.get(info.cid)?.is(info);
  }

  // === views ===

  #watch(key: string, on: boolean): void {
    const count = (this.#wanted.get(key) ?? 0) + (on ? 1 : -1);
    if (count > 0) this.#wanted.set(key, count);
    else this.#wanted.delete(key);
    if (BASE.includes(key)) return;
    if (on) this.#want();
    // Later: a component that mounts again at once must not close the window.
    else queueMicrotask(() => this.#want());
  }

  #want(): void {
    this.#input({ t: "want", tab: this.#tab, keys: this.#keys() });
  }

  #keys(): string[] {
    return [...new Set([...BASE, ...this.#wanted.keys()])];
  }

  // === surroundings ===

  #shared(): { locks?: Locks; channel?: (name: string) => Channel } {
    const { options } = this;
    if (options.tabs === "own") return {};
    const locks = options.locks ?? (globalThis.navigator as { locks?: Locks } | undefined)?.locks;
    const channel =
      options.channel ??
      (typeof BroadcastChannel === "undefined" ? undefined : (name: string) => new BroadcastChannel(name) as unknown as Channel);
    return locks && channel ? { locks, channel } : {};
  }

  /** Follows the browser's own knowledge of the network and of the page. */
  #listen(): () => void {
    const target = globalThis as { addEventListener?: typeof addEventListener; document?: Document };
    if (!target.addEventListener || !target.document) return () => {};
    const { document } = target;
    const wake = () => this.#input({ t: "wake" });
    const offline = () => this.#host?.input({ t: "offline" });
    const visible = () => {
      if (document.visibilityState === "visible") wake();
    };
    addEventListener("online", wake);
    addEventListener("offline", offline);
    document.addEventListener("visibilitychange", visible);
    return () => {
      removeEventListener("online", wake);
      removeEventListener("offline", offline);
      document.removeEventListener("visibilitychange", visible);
    };
  }
}

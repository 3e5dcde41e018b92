// The host of the engine, in the one tab that has the connection: performs its effects with the socket, the store, the
// timer and the application's token.

import { Engine } from "./engine/engine.js";
import type { Effect, Input, TokenReason } from "./engine/types.js";
import { memory, type Store } from "./store.js";
import type { LogEvent } from "./wire/index.js";

/** The part of a WebSocket that the client uses: that of browsers, of Node 22, and of the package `ws`. */
export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export type SocketConstructor = new (url: string, protocol: string) => Socket;

export interface HostOptions {
  urls: readonly string[];
  token: (request: { reason: TokenReason; signal: AbortSignal }) => Promise<string> | string;
  store: Store;
  ownDevice: boolean;
  /** Kinds of connections, in the order in which they are tried. */
  transports: readonly SocketConstructor[];
  now: () => number;
  random: () => number;
  /** Calls `fn` after a time; returns a function that cancels it. */
  setTimer: (fn: () => void, ms: number) => () => void;
}

/** Effects that concern the application. */
export type Delivery = Extract<Effect, { t: "view" | "result" | "settled" | "persisted" | "emit" }>;

/** The longest time that timers can wait: 2^31 - 1 ms. */
const TIMER_MAX = 2_147_483_647;
/** Frames of a connection that works: `hello`, and what the node says to the token. */
const WORKING = 2;

export class Host {
  readonly #engine: Engine;
  readonly #queue: Effect[] = [];
  #draining = false;
  #failures = 0;
  #frames = WORKING;
  #socket?: Socket;
  #store: Store;
  #cancelTimer = () => {};
  #abort = new AbortController();
  #unwritten: Extract<Effect, { t: "store" }>[] = [];
  #writing: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly options: HostOptions,
    private readonly deliver: (delivery: Delivery) => void,
  ) {
    this.#store = options.store;
    this.#engine = new Engine(options);
  }

  async start(): Promise<void> {
    this.input({ t: "start" });
    const entries: [string, unknown][] = [];
    try {
      const session = await this.#store.load("session");
      for (const prefix of ["row/", "out/", "user/"]) entries.push(...(await this.#store.list(prefix)));
      if (session) entries.push(["session", session]);
    } catch {
      this.#store = memory();
    }
    if (this.#stopped) return;
    this.input({ t: "loaded", entries, durable: this.#store.durable });
  }

  /** Hands an input to the engine, and performs what follows from it. */
  input(input: Input): void {
    if (this.#stopped) return;
    // A subscriber of a view may call the client: its effects queue up behind those of the present step.
    this.#queue.push(...this.#engine.step(input, this.options.now()));
    if (this.#draining) return;
    this.#draining = true;
    for (let effect = this.#queue.shift(); effect; effect = this.#queue.shift()) this.#perform(effect);
    this.#draining = false;
    this.#arm();
  }

  /** Closes the connection and waits for the last writes. */
  async stop(): Promise<void> {
    this.input({ t: "stop" });
    this.#stopped = true;
    this.#abort.abort();
    this.#cancelTimer();
    await this.#writing;
  }

  #arm(): void {
    this.#cancelTimer();
    const at = this.#engine.next();
    if (at === Infinity || this.#stopped) return;
    const wait = Math.min(TIMER_MAX, Math.max(0, at - this.options.now()));
    this.#cancelTimer = this.options.setTimer(() => this.input({ t: "tick" }), wait);
  }

  #perform(effect: Effect): void {
    switch (effect.t) {
      case "connect":
        return this.#connect(effect.conn, effect.url);
      case "send":
        return this.#send(effect.text);
      case "close":
        return this.#close();
      case "token":
        this.#hand({ t: "emit", name: "token", data: { reason: effect.reason } });
        void this.#token(effect.reason);
        return;
      case "store":
        this.#unwritten.push(effect);
        this.#writing ??= this.#write();
        return;
      case "load-log":
        void this.#loadLog(effect.c);
        return;
      default:
        return this.#hand(effect);
    }
  }

  /** A fault of a subscriber is the application's, and must not stop the client. */
  #hand(delivery: Delivery): void {
    try {
      this.deliver(delivery);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #connect(conn: number, url: string): void {
    const closed = (code: number, reason: string) => this.input({ t: "closed", conn, code, reason });
    const { transports, urls } = this.options;
    // Every node by the first kind, then by the next. What worked once is tried from the beginning again.
    this.#failures = this.#frames < WORKING ? this.#failures + 1 : 0;
    this.#frames = 0;
    const Constructor = transports[Math.floor(this.#failures / urls.length) % transports.length];
    if (!Constructor) throw new Error("no WebSocket here: pass one in the options");
    try {
      const socket = new Constructor(url, "chat.v1.json");
      this.#socket = socket;
      socket.onopen = () => this.input({ t: "opened", conn });
      socket.onmessage = ({ data }: { data: unknown }) => {
        this.#frames++;
        if (typeof data === "string") this.input({ t: "frame", conn, text: data });
      };
      socket.onclose = ({ code, reason }: { code: number; reason: string }) => closed(code, String(reason));
      // `close` follows, with the code.
      socket.onerror = () => {};
    } catch (error) {
      queueMicrotask(() => closed(1006, String(error)));
    }
  }

  #send(text: string): void {
    try {
      this.#socket?.send(text);
    } catch {
      // The socket is closing; `close` follows.
    }
  }

  #close(): void {
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = undefined;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(1000);
    } catch {
      // Not open yet, in some implementations.
    }
  }

  async #token(reason: TokenReason): Promise<void> {
    try {
      const token = await this.options.token({ reason, signal: this.#abort.signal });
      this.input({ t: "token", token });
    } catch (error) {
      const final = error instanceof Error && error.name === "Unauthorized";
      this.input({ t: "token-failed", final, why: String(error) });
    }
  }

  /** Writes what has come together, one batch at a time. */
  async #write(): Promise<void> {
    while (this.#unwritten.length > 0) {
      const batch = this.#unwritten;
      this.#unwritten = [];
      const ops = batch.flatMap((effect) => effect.ops);
      try {
        await this.#store.tx(ops);
      } catch {
        this.#store = memory();
        await this.#store.tx(ops);
        this.input({ t: "store-lost" });
      }
      this.input({ t: "stored", mark: (batch[batch.length - 1] as (typeof batch)[0]).mark });
    }
    this.#writing = undefined;
  }

  async #loadLog(c: string): Promise<void> {
    // Behind the writes of the same step, so that the answer has them.
    await this.#writing;
    let events: LogEvent[] = [];
    try {
      events = (await this.#store.list(`ev/${c}/`)).map(([, event]) => event as LogEvent);
    } catch {
      // Without the store the server has them.
    }
    this.input({ t: "log", c, events });
  }
}

// The engine of a client without a host: each frame, write and tick happens when the test says so.

import { Engine } from "../engine/engine.js";
import type { ChangeCommand, Effect, Input, MessageWindow, OutgoingInfo, Status } from "../engine/types.js";
import type { StoreOp } from "../store.js";
import type { LogEvent } from "../wire/index.js";
import type { FakeCluster, FakeLink } from "./cluster.js";

export class SteppedClient {
  engine: Engine;
  /** The durable part of the store; it survives `reload`. */
  readonly disk: Map<string, unknown> = new Map();
  readonly views: Map<string, unknown> = new Map();
  readonly settled: Extract<Effect, { t: "settled" }>[] = [];
  link: FakeLink | undefined;
  /** Frames on their way to the cluster, with the link that they were sent on. */
  sent: [FakeLink, string][] = [];
  private readonly effects: Effect[] = [];
  private conn = 0;
  private writes: { ops: StoreOp[]; mark: number }[] = [];
  private tokenWanted = false;
  private cids = 0;
  private tokens = 0;

  constructor(
    readonly cluster: FakeCluster,
    readonly user: string,
    private readonly random: () => number,
    private wants: string[] = ["status", "inbox", "outbox"],
    public now = 1_000,
  ) {
    this.engine = this.boot();
  }

  get status(): Status {
    return this.views.get("status") as Status;
  }

  window(key: string): MessageWindow | undefined {
    return this.views.get(`m/${key}`) as MessageWindow | undefined;
  }

  get outbox(): OutgoingInfo[] {
    return (this.views.get("outbox") ?? []) as OutgoingInfo[];
  }

  get token(): string {
    return `${this.user}:${this.tokens}`;
  }

  input(input: Input): void {
    // An effect that leads to another input comes before the effects of that one, as in the host.
    const outer = this.effects.length > 0;
    this.effects.push(...this.engine.step(input, this.now));
    if (outer) return;
    for (let effect = this.effects[0]; effect; effect = this.effects[0]) {
      this.perform(effect);
      this.effects.shift();
    }
  }

  change(key: string, command: ChangeCommand): string {
    const cid = `${this.user}-${++this.cids}`;
    this.input({ t: "call", tab: "t", id: 0, call: { op: "change", key, cid, at: this.now, command } });
    return cid;
  }

  /** The page is closed and opened again: only what is on disk is left. */
  reload(): void {
    this.drop(false);
    this.writes = [];
    this.views.clear();
    this.engine = this.boot();
  }

  /** The connection is lost; the cluster may not have noticed. */
  drop(told = true): void {
    const { conn } = this;
    this.link = undefined;
    if (told) this.input({ t: "closed", conn, code: 1006, reason: "" });
  }

  /** Finishes the oldest write. */
  write(): void {
    const write = this.writes.shift();
    if (!write) return;
    for (const op of write.ops) {
      if ("put" in op) this.disk.set(op.put, structuredClone(op.value));
      else if ("del" in op) this.disk.delete(op.del);
      else for (const key of [...this.disk.keys()]) if (key.startsWith(op.drop)) this.disk.delete(key);
    }
    this.input({ t: "stored", mark: write.mark });
  }

  giveToken(): void {
    if (!this.tokenWanted) return;
    this.tokenWanted = false;
    while (this.cluster.revoked.has(this.token)) this.tokens++;
    this.input({ t: "token", token: this.token });
  }

  /** Delivers the next frame of the cluster; `pick` chooses among answers and events, from 0 to 1. Returns false if there is none. */
  receive(pick = 0): boolean {
    const { link } = this;
    if (!link) return false;
    const control = link.control.shift();
    const count = link.answers.length + (link.events.length > 0 ? 1 : 0);
    const at = Math.floor(pick * count);
    const text = control ?? (at < link.answers.length ? link.answers.splice(at, 1)[0] : link.events.shift());
    if (text !== undefined) {
      this.input({ t: "frame", conn: this.conn, text });
      return true;
    }
    if (link.closed === undefined) return false;
    const code = link.closed;
    this.link = undefined;
    this.input({ t: "closed", conn: this.conn, code, reason: "" });
    return true;
  }

  /** The cluster takes the next frame of this client, even one of a connection that the client lost. */
  transmit(): boolean {
    const next = this.sent.shift();
    next?.[0].receive(next[1]);
    return next !== undefined;
  }

  /** Moves everything until nothing moves any more. */
  settle(): boolean {
    let moved = false;
    for (;;) {
      this.giveToken();
      const busy = this.writes.length > 0;
      this.write();
      if (!this.transmit() && !this.receive() && !busy) return moved;
      moved = true;
    }
  }

  /** Lets time pass to the next deadline. */
  advance(limit = 60_000): void {
    const at = this.engine.next();
    this.now = Math.max(this.now + 1, Math.min(at, this.now + limit));
    this.input({ t: "tick" });
  }

  private boot(): Engine {
    const engine = new Engine({ urls: ["ws://a", "ws://b"], random: this.random });
    this.engine = engine;
    this.tokenWanted = false;
    this.conn = 0;
    this.input({ t: "want", tab: "t", keys: this.wants });
    this.input({ t: "start" });
    const entries = [...this.disk]
      .filter(([key]) => !key.startsWith("ev/"))
      .map(([key, value]): [string, unknown] => [key, structuredClone(value)]);
    this.input({ t: "loaded", entries, durable: true });
    return engine;
  }

  private perform(effect: Effect): void {
    switch (effect.t) {
      case "connect":
        this.conn = effect.conn;
        this.link = this.cluster.connect();
        break;
      case "send":
        if (this.link) this.sent.push([this.link, effect.text]);
        break;
      case "close":
        this.link = undefined;
        break;
      case "token":
        this.tokenWanted = true;
        break;
      case "store":
        this.writes.push(effect);
        break;
      case "load-log": {
        const prefix = `ev/${effect.c}/`;
        const found = [...this.disk].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
        this.input({ t: "log", c: effect.c, events: found.map(([, event]) => structuredClone(event) as LogEvent) });
        break;
      }
      case "view":
        this.views.set(effect.key, effect.value);
        break;
      case "settled":
        this.settled.push(effect);
        break;
      default:
        break;
    }
  }
}

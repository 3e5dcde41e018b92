// The outbox as a pure machine: one lane per conversation, in order. After a temporary refusal or a lost connection a lane
// stops until everything in flight is answered; then it sends the refused changes, oldest first, then new ones.

import type { AckAnswer, ConvAnswer, ErrAnswer } from "../wire/index.js";
import type { ChangeCommand, ChatFailure } from "./types.js";

/** Entries of the outbox; more are refused, because a device that is offline for ever must not fill its store. */
export const OUTBOX_LIMIT = 1_000;
/** Unanswered changes of one conversation, and of the session (the server stops reading at 16). */
const LANE_WINDOW = 8;
const SESSION_WINDOW = 16;

export interface OutgoingItem {
  cid: string;
  /** Conversation id, `to:<user>`, or `new:<cid>` for `create`. */
  key: string;
  order: number;
  at: number;
  command: ChangeCommand;
  state: "queued" | "pending" | "failed" | "sent";
  tries: number;
  /** The item is in the store; before that it is not sent. */
  stored: boolean;
  /** Time of the first attempt: the server remembers a `cid` for 72 hours. */
  firstTry?: number;
  error?: ChatFailure;
  nextTry?: number;
  /** Position of the acknowledged event, until the log has it. */
  s?: number;
  mn?: number;
  ts?: number;
}

interface Lane {
  inflight: number;
  /** Changes that may be in flight: one after a refusal, then more with every answer. */
  window: number;
  stopped: boolean;
  retryAt: number;
}

export class Outbox {
  /** In the order in which they were made. */
  items: OutgoingItem[] = [];
  readonly #lanes = new Map<string, Lane>();
  readonly #flights = new Map<number, OutgoingItem>();
  #lastOrder = 0;
  /** The user's rate, as this client accounts for it: what is over it would be refused. */
  #rate = { perMs: 0, burst: Infinity, tokens: Infinity, at: 0 };
  #paceAt = Infinity;

  constructor(
    private readonly random: () => number,
    private readonly resolve: (key: string) => string,
  ) {}

  get full(): boolean {
    return this.items.length >= OUTBOX_LIMIT;
  }

  find(cid: string): OutgoingItem | undefined {
    return this.items.find((it) => it.cid === cid);
  }

  add(item: Omit<OutgoingItem, "order" | "state" | "tries" | "stored">, now: number): OutgoingItem {
    this.#lastOrder = Math.max(this.#lastOrder + 1, now * 1_000);
    const added: OutgoingItem = { ...item, order: this.#lastOrder, state: "queued", tries: 0, stored: false };
    this.items.push(added);
    return added;
  }

  /** Puts back what an earlier run of the client left in the store. */
  restore(items: OutgoingItem[]): void {
    for (const item of items) {
      if (this.find(item.cid)) continue;
      this.items.push({ ...item, state: item.state === "failed" ? "failed" : "queued", stored: true });
      this.#lastOrder = Math.max(this.#lastOrder, item.order);
    }
    this.items.sort((a, b) => a.order - b.order);
  }

  remove(item: OutgoingItem): void {
    this.items = this.items.filter((it) => it !== item);
  }

  /** Takes the rate that the server named. The account outlives the connection. */
  limit(perSecond: number, burst: number, now: number): void {
    this.#refill(now);
    this.#rate = { perMs: perSecond / 1_000, burst, tokens: Math.min(burst, this.#rate.tokens), at: now };
  }

  #refill(now: number): void {
    const rate = this.#rate;
    rate.tokens = Math.min(rate.burst, rate.tokens + Math.max(0, now - rate.at) * rate.perMs);
    rate.at = now;
  }

  /** Returns the changes to send now. `held` says that a lane must wait for something else. */
  due(now: number, id: () => number, held: (item: OutgoingItem) => boolean): [number, OutgoingItem][] {
    const out: [number, OutgoingItem][] = [];
    const blocked = new Set<string>();
    this.#refill(now);
    this.#paceAt = Infinity;
    for (const item of this.items) {
      if (this.#flights.size >= SESSION_WINDOW) break;
      const name = this.resolve(item.key);
      if (item.state !== "queued" || blocked.has(name)) continue;
      const lane = this.#lane(name);
      if (lane.stopped && lane.inflight === 0 && now >= lane.retryAt) lane.stopped = false;
      if (!item.stored || lane.stopped || lane.inflight >= lane.window || held(item)) {
        // Later changes of the lane wait, too: order before speed.
        blocked.add(name);
        continue;
      }
      if (this.#rate.tokens < 1) {
        this.#paceAt = now + Math.ceil((1 - this.#rate.tokens) / this.#rate.perMs);
        break;
      }
      this.#rate.tokens--;
      lane.inflight++;
      item.state = "pending";
      item.tries++;
      item.firstTry ??= now;
      delete item.nextTry;
      const number = id();
      this.#flights.set(number, item);
      out.push([number, item]);
    }
    return out;
  }

  /** Takes the answer of a change. Returns the item, with its new state, or nothing if the answer is of no change. */
  answered(id: number, answer: AckAnswer | ConvAnswer | ErrAnswer, now: number): OutgoingItem | undefined {
    const item = this.#flights.get(id);
    if (!item) return undefined;
    this.#flights.delete(id);
    const lane = this.#lane(this.resolve(item.key));
    lane.inflight--;
    if (answer.t !== "err") lane.window = Math.min(LANE_WINDOW, lane.window * 2);
    // The own event was faster than the answer.
    if (item.state !== "pending") return undefined;
    if (answer.t === "err") this.#refused(item, lane, answer, now);
    else this.done(item, answer.t === "ack" ? positionOf(answer) : {});
    return item;
  }

  /** Marks an item as acknowledged, by its answer or by its own event. */
  done(item: OutgoingItem, at: { s?: number; mn?: number; ts?: number }): void {
    item.state = "sent";
    delete item.error;
    Object.assign(item, at);
  }

  /** Takes back everything in flight: its outcome is not known, and the same `cid` will tell. */
  lost(): void {
    for (const item of this.#flights.values()) if (item.state === "pending") item.state = "queued";
    this.#flights.clear();
    for (const lane of this.#lanes.values()) {
      lane.inflight = 0;
      lane.stopped = false;
    }
  }

  retry(item: OutgoingItem): void {
    if (item.state === "failed") {
      // At the end of its lane: what was written after it may be there already.
      item.state = "queued";
      delete item.error;
    }
    this.#lane(this.resolve(item.key)).retryAt = 0;
  }

  next(): number {
    let at = this.#paceAt;
    for (const lane of this.#lanes.values()) if (lane.stopped && lane.inflight === 0) at = Math.min(at, lane.retryAt);
    return at;
  }

  /** Drops the lanes that nothing waits in. */
  sweep(): void {
    const used = new Set(this.items.map((it) => this.resolve(it.key)));
    for (const [name, lane] of this.#lanes) if (!used.has(name) && lane.inflight === 0) this.#lanes.delete(name);
  }

  #refused(item: OutgoingItem, lane: Lane, err: ErrAnswer, now: number): void {
    item.error = { code: err.code, msg: err.msg, temp: err.temp };
    if (!err.temp) {
      item.state = "failed";
      return;
    }
    item.state = "queued";
    lane.stopped = true;
    lane.window = 1;
    // Spread, so that many clients of a recovering node do not come back at one moment.
    const delay = (err.retry_ms ?? 1_000) * (1 + this.random() / 4);
    lane.retryAt = Math.max(lane.retryAt, now + Math.round(delay));
    item.nextTry = lane.retryAt;
  }

  #lane(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { inflight: 0, window: LANE_WINDOW, stopped: false, retryAt: 0 };
      this.#lanes.set(name, lane);
    }
    return lane;
  }
}

/** Returns the place of an acknowledged event; a change without an event has none. */
export function positionOf({ s, mn, ts }: AckAnswer): { s?: number; mn?: number; ts?: number } {
  return { s: s ?? undefined, mn: mn ?? undefined, ts: ts ?? undefined };
}

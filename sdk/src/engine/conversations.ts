// All conversations of the user: live events, rounds of `sync`, and pages of the history.

import type { StoreOp } from "../store.js";
import type {
  ActivityEvent,
  ConversationSnapshot,
  DeltaAnswer,
  LogEvent,
  ReceiptEvent,
  ServerAnswer,
  ServerEvent,
  TypingEvent,
} from "../wire/index.js";
import type { Asks } from "./asks.js";
import { ConversationState, eventKey, STORED_EVENTS, type StoredRow, stored } from "./conversation.js";
import { History } from "./history.js";
import { ConversationLog } from "./log.js";
import { SyncRound } from "./sync.js";
import type { EventName, Settled } from "./types.js";

/** Conversations in memory and in the store; the quietest make room. */
const CONVERSATIONS = 500;
const LIST_PAGE = 50;
/** Events of a window that a long live stream fills; the older half then makes room. */
const WINDOW_LIMIT = 2_000;
const TYPING_EVERY_MS = 3_000;

type Unnumbered<T> = T extends unknown ? Omit<T, "n"> : never;

/** The parts of the engine that conversations need. */
export interface Surroundings {
  asks: Asks;
  me(): string;
  now(): number;
  /** Marks a view as changed. */
  touch(key: string): void;
  store(op: StoreOp): void;
  load(c: string): void;
  emit(name: EventName, data: unknown): void;
  settle(cid: string, at: Settled): void;
  /** Opens the wanted windows of conversations that have become known. */
  reopen(): void;
}

export class Conversations {
  readonly #map = new Map<string, ConversationState>();
  readonly #round: SyncRound;
  readonly #history: History;
  #listing = false;
  /** Cursor of the next page of the inbox; null after the last one. */
  #nextPage: string | null | undefined;
  #refreshing = false;
  readonly #opening = new Set<string>();
  readonly #dirtyRows = new Set<string>();
  readonly #reading = new Map<string, number>();
  readonly #membersAsked = new Set<string>();
  readonly #typingSent = new Map<string, number>();

  constructor(private readonly around: Surroundings) {
    this.#history = new History(around, (state) => this.#changed(state));
    this.#round = new SyncRound({
      positions: () =>
        [...this.#map.values()].filter((it) => it.info?.role).map((it): [string, number] => [it.c, it.s < 0 ? it.hint : it.s]),
      ask: (command, done) => around.asks.add(command, done, true),
      apply: (delta, had) => this.#delta(delta, had),
      finished: (absent) => this.#finished(absent),
    });
  }

  get syncing(): boolean {
    return this.#listing || this.#round.running;
  }

  /** Events that were received are not all applied, or some are still asked for. */
  get incomplete(): boolean {
    return this.syncing || this.#opening.size > 0 || [...this.#map.values()].some((it) => it.parked.size > 0);
  }

  all(): Iterable<ConversationState> {
    return this.#map.values();
  }

  get(c: string): ConversationState | undefined {
    return this.#map.get(c);
  }

  clear(): void {
    this.#map.clear();
    this.#dirtyRows.clear();
    this.#nextPage = undefined;
  }

  restore(c: string, row: StoredRow): void {
    this.#map.set(c, ConversationState.restore(c, row));
  }

  // === catching up ===

  /** Events are missing: asks for them. A fresh session reads the inbox first. */
  resync(fresh: boolean): void {
    if (!fresh) {
      this.#round.start();
      return;
    }
    this.#round.cancel();
    this.#opening.clear();
    this.#reading.clear();
    this.#listing = true;
    this.#membersAsked.clear();
    const read = () => {
      this.#listing = false;
      this.#round.start();
    };
    this.#list(undefined, read, true);
  }

  /** Reads the next page of the inbox. */
  more(done: (more: boolean) => void): void {
    if (this.#nextPage === null) return done(false);
    this.#list(this.#nextPage, () => {
      this.#round.start();
      done(this.#nextPage !== null);
    });
  }

  #list(cursor: string | undefined, done: () => void, session = false): void {
    const command = { t: "list" as const, limit: LIST_PAGE, cursor };
    const take = (answer: ServerAnswer) => {
      if (answer.t === "inbox") {
        for (const item of answer.items) {
          const state = this.#state(item.c);
          state.fromList(item);
          this.#changed(state);
        }
        // A repetition of the first page must not forget that later ones were read.
        if (cursor !== undefined || this.#nextPage === undefined) this.#nextPage = answer.next ?? null;
      }
      done();
    };
    this.around.asks.add(command, take, session);
  }

  /** Reads the counts again that this client cannot compute. */
  refresh(): void {
    if (this.#refreshing || this.#listing) return;
    this.#refreshing = true;
    this.#list(undefined, () => {
      this.#refreshing = false;
    });
  }

  #delta(delta: DeltaAnswer, had: ReadonlyMap<string, number>): void {
    const items = new Map(delta.items.map((item) => [item.c, item]));
    for (const [c, asOf] of delta.as_of) {
      const state = this.#map.get(c);
      // One that is not described yet is opened afterwards: only a description says what counts as unread.
      if (!state?.info) continue;
      const { events = [], gap = false } = items.get(c) ?? {};
      this.#take(state, events, gap, asOf, had.get(c));
    }
  }

  /** Applies an answer that holds the log behind `have` up to `asOf`. */
  #take(state: ConversationState, events: readonly LogEvent[], gap: boolean, asOf: number, have: number | undefined): void {
    const known = state.s >= 0;
    if (!known) this.#restart(state, events, asOf);
    else if (gap && (state.s < asOf || (have !== undefined && asOf < have))) {
      this.around.emit("gap", { c: state.c, from: state.s + 1, to: (events[0]?.s ?? asOf + 1) - 1 });
      this.#restart(state, events, asOf);
      this.refresh();
    } else {
      for (const event of events) if (event.s === state.s + 1) this.#commit(state, event);
      // The answer promised everything up to `asOf`.
      if (state.s < asOf) {
        this.#restart(state, events, asOf);
        this.refresh();
      }
    }
    this.#drain(state);
  }

  #finished(absent: string[]): void {
    // A conversation joined a moment ago may be absent, so absence is no proof.
    for (const c of absent) this.#openAgain(c, undefined);
    for (const state of this.#map.values()) {
      this.#drain(state);
      if (state.parked.size > 0) this.#catchUp(state);
      if (state.log) this.#readOnce(state);
    }
    this.#evict();
    this.around.reopen();
    this.around.touch("status");
  }

  #catchUp(state: ConversationState): void {
    if (this.syncing || this.#opening.has(state.c)) return;
    this.#openAgain(state.c, state.s < 0 ? undefined : state.s);
  }

  #openAgain(c: string, have: number | undefined): void {
    this.#opening.add(c);
    const take = (answer: ServerAnswer) => {
      this.#opening.delete(c);
      if (answer.t === "conv") {
        this.snapshot(answer, have);
        this.around.reopen();
      } else {
        const state = this.#map.get(c);
        if (state) this.#gone(state);
      }
    };
    this.around.asks.add({ t: "open", c, have }, take, true);
  }

  #evict(): void {
    if (this.#map.size <= CONVERSATIONS) return;
    const idle = [...this.#map.values()].filter((it) => !it.log).sort((a, b) => a.at - b.at);
    for (const state of idle.slice(0, this.#map.size - CONVERSATIONS)) {
      this.#map.delete(state.c);
      this.#dropStored(state);
    }
  }

  // === events ===

  /** Takes an event without its number, which is the session's and not the log's. */
  event(event: Unnumbered<ServerEvent>): void {
    if ("s" in event) this.#receive(event);
    else if (event.t === "conv") this.snapshot(event);
    else if (event.t === "activity") this.#activity(event);
    else if (event.t === "receipt") this.#receipt(event);
    else if (event.t === "typing") this.#typing(event);
  }

  /** The rule of the protocol: apply the next event, hold a greater one, ignore the rest. */
  #receive(event: LogEvent): void {
    const state = this.#state(event.c);
    if (state.s >= 0 && event.s <= state.s) return;
    if (state.s >= 0 && event.s === state.s + 1) this.#commit(state, event);
    else state.park(event);
    this.#drain(state);
    if (state.parked.size > 0) this.#catchUp(state);
  }

  /** Takes a `conv`, an event or an answer: the conversation, and with `events` the log behind `have`. */
  snapshot(conv: ConversationSnapshot, have?: number): void {
    const state = this.#state(conv.c);
    const member = state.info?.role;
    state.fromSnapshot(conv);
    if (!conv.role) return this.#gone(state);
    if (conv.events) {
      const hole = conv.gap || (conv.events[0]?.s ?? 0) > state.s + 1;
      this.#take(state, conv.events, hole, conv.last.s, have);
    } else if (state.s < 0) {
      this.#restart(state, [], conv.last.s);
      if (!member) this.refresh();
    }
    this.#drain(state);
    this.#changed(state);
  }

  #activity(event: Unnumbered<ActivityEvent>): void {
    const state = this.#state(event.c);
    if (state.s >= event.last.s) return;
    this.#catchUp(state);
  }

  #receipt(event: Unnumbered<ReceiptEvent>): void {
    const state = this.#map.get(event.c);
    if (!state) return;
    if (event.u !== this.around.me()) state.cursor(event.u, event.delivered, event.read);
    else if (state.read(event.read)) this.refresh();
    this.#changed(state);
  }

  #typing(event: Unnumbered<TypingEvent>): void {
    const state = this.#map.get(event.c);
    state?.type(event.u, event.on, this.around.now());
    this.around.touch(`y/${event.c}`);
  }

  #commit(state: ConversationState, event: LogEvent): void {
    const typing = state.typing.size;
    state.commit(event, this.around.me());
    if (state.typing.size !== typing) this.around.touch(`y/${state.c}`);
    this.around.store(stored(event));
    while (state.s - state.kept >= STORED_EVENTS) this.around.store({ del: eventKey(state.c, state.kept++) });
    this.#settle(event);
    this.#changed(state);
    if (state.log && state.log.live.events.length > WINDOW_LIMIT) state.log.trim(WINDOW_LIMIT / 2);
    if (event.t === "member" && event.who === this.around.me() && !event.role) this.#gone(state);
  }

  #restart(state: ConversationState, events: readonly LogEvent[], position: number): void {
    const newest = events.slice(-STORED_EVENTS);
    state.restart(events, position, this.around.me());
    state.kept = newest[0]?.s ?? position + 1;
    this.around.store({ drop: `ev/${state.c}/` });
    for (const event of newest) this.around.store(stored(event));
    for (const event of events) this.#settle(event);
    if (state.log) this.#history.fill(state);
    this.#changed(state);
  }

  #drain(state: ConversationState): void {
    if (state.s < 0) return;
    for (let next = state.unpark(); next; next = state.unpark()) this.#commit(state, next);
  }

  #settle(event: LogEvent): void {
    if (event.t === "msg" && event.u === this.around.me()) this.around.settle(event.cid, event);
  }

  /** The membership is over. */
  #gone(state: ConversationState): void {
    if (state.info) state.info = { ...state.info, role: null };
    state.s = -1;
    state.hint = 0;
    state.parked.clear();
    this.#dropStored(state);
    this.#changed(state);
  }

  #dropStored(state: ConversationState): void {
    this.#dirtyRows.delete(state.c);
    this.around.store({ del: `row/${state.c}` });
    this.around.store({ drop: `ev/${state.c}/` });
  }

  // === windows ===

  /** Makes the events of a conversation available, from the store and then from the server. */
  open(c: string, at: number | undefined): void {
    const state = this.#state(c);
    if (state.s < 0) this.#catchUp(state);
    if (!state.log) {
      state.log = new ConversationLog(Math.max(0, state.s));
      if (state.s >= 0 && state.kept <= state.s) {
        state.loading = true;
        this.around.load(c);
      } else if (state.s >= 0) this.#history.fill(state);
      this.#readOnce(state);
    }
    if (at !== undefined && !state.log.around(at)) this.#history.page(state, at, false, () => {});
  }

  logLoaded(c: string, found: readonly LogEvent[]): void {
    const state = this.#map.get(c);
    if (!state?.log || !state.loading) return;
    state.loading = false;
    const events = found.filter((event) => event.s <= state.s);
    const last = events[events.length - 1];
    // Only what is without a hole: after a failure the store may lack a part.
    let from = events.length - 1;
    while (from > 0 && (events[from - 1] as LogEvent).s === (events[from] as LogEvent).s - 1) from--;
    const first = events[from];
    if (first && last) state.log.join(events.slice(from), first.s, last.s, first.s === 1);
    this.#history.fill(state);
    this.around.touch(`m/${c}`);
  }

  closeOthers(open: ReadonlySet<string>): void {
    for (const state of this.#map.values()) {
      if (!state.log || open.has(state.c)) continue;
      delete state.log;
      state.loading = false;
    }
  }

  page(c: string, at: number | undefined, newer: boolean, done: () => void): void {
    const state = this.#map.get(c);
    if (state?.log) this.#history.page(state, at, newer, done);
    else done();
  }

  search(c: string, since: number, cid: string, done: () => void): void {
    this.#history.search(c, since, cid, done);
  }

  // === members, cursors, typing ===

  readMembers(c: string, done: (answer: ServerAnswer) => void): void {
    this.#history.members(
      c,
      (answer, first) => {
        const state = this.#map.get(c);
        if (state && answer.t === "members") {
          state.fromMembers(answer.items, first);
          state.membersRead = answer.next === null;
          this.#changed(state);
        }
      },
      done,
    );
  }

  /** The cursors of a group's members, for the states of the own messages. */
  #readOnce(state: ConversationState): void {
    if (state.info?.kind !== "group" || this.#membersAsked.has(state.c) || (state.info.members ?? 0) > 256) return;
    this.#membersAsked.add(state.c);
    this.readMembers(state.c, () => {});
  }

  read(c: string, s: number | undefined): void {
    const state = this.#map.get(c);
    if (!state?.info || state.s < 0) return;
    const to = Math.min(s ?? state.s, state.s);
    if (to <= state.info.read) return;
    if (state.read(to)) this.refresh();
    state.wantRead = to;
    this.#changed(state);
  }

  /** Sends the read positions, one per conversation at a time. */
  askReads(): void {
    for (const state of this.#map.values()) {
      const s = state.wantRead;
      if (s === undefined || this.#reading.has(state.c)) continue;
      this.#reading.set(state.c, s);
      this.around.asks.add(
        { t: "read", c: state.c, s },
        () => {
          this.#reading.delete(state.c);
          if (state.uncertain) this.refresh();
          if (state.wantRead !== s) return;
          delete state.wantRead;
          this.#dirtyRows.add(state.c);
        },
        true,
      );
    }
  }

  /** Returns true if the announcement is due: the server drops what comes more often. */
  maySendTyping(c: string, on: boolean): boolean {
    const sent = this.#typingSent.get(c);
    const now = this.around.now();
    if (on ? sent !== undefined && now - sent < TYPING_EVERY_MS : sent === undefined) return false;
    if (on) this.#typingSent.set(c, now);
    else this.#typingSent.delete(c);
    return true;
  }

  expireTyping(now: number): void {
    for (const state of this.#map.values()) {
      for (const [u, until] of state.typing) {
        if (until > now) continue;
        state.typing.delete(u);
        this.around.touch(`y/${state.c}`);
      }
    }
  }

  nextTyping(): number {
    let at = Infinity;
    for (const state of this.#map.values()) for (const until of state.typing.values()) at = Math.min(at, until);
    return at;
  }

  // === rows ===

  /** Writes the rows that changed. */
  persist(): void {
    for (const c of this.#dirtyRows) {
      const row = this.#map.get(c)?.stored();
      if (row) this.around.store({ put: `row/${c}`, value: row });
    }
    this.#dirtyRows.clear();
  }

  #state(c: string): ConversationState {
    let state = this.#map.get(c);
    if (!state) {
      state = new ConversationState(c);
      this.#map.set(c, state);
    }
    return state;
  }

  #changed(state: ConversationState): void {
    this.#dirtyRows.add(state.c);
    this.around.touch("inbox");
    this.around.touch(`c/${state.c}`);
    this.around.touch(`m/${state.c}`);
  }
}

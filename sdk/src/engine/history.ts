// Pages of the log and of the members. A page joins the live events without a hole or an overlap, because both are ranges of
// positions.

import type { HistAnswer, ServerAnswer } from "../wire/index.js";
import { type ConversationState, STORED_EVENTS, stored } from "./conversation.js";
import type { Surroundings } from "./conversations.js";

const PAGE = 50;
/** A window with fewer events than this is filled up from the server. */
const ENOUGH = 25;
/** Allowance for the clock of the device. */
const CLOCK_MS = 3_600_000;

export class History {
  /** Callers per page in flight. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(
    private readonly around: Surroundings,
    private readonly changed: (state: ConversationState) => void,
  ) {}

  /** Asks for older events if a window has only a few. */
  fill(state: ConversationState): void {
    const live = state.log?.live;
    if (!live || state.loading || state.s < 0 || live.start || live.events.length >= ENOUGH) return;
    this.page(state, undefined, false, () => {});
  }

  /** Extends the live window, or the one around `at`, by a page. */
  page(state: ConversationState, at: number | undefined, newer: boolean, done: () => void): void {
    const { log, c } = state;
    const segment = at === undefined ? log?.live : log?.around(at);
    if (!log || state.s < 0 || (segment && (newer ? segment === log.live : segment.start))) return done();
    const bound = segment ? (newer ? { after: segment.hi } : { before: segment.lo }) : { after: (at ?? 1) - 1 };
    const key = `${c}/${JSON.stringify(bound)}`;
    const others = this.#waiting.get(key);
    if (others) {
      others.push(done);
      return;
    }
    this.#waiting.set(key, [done]);
    this.around.asks.add({ t: "hist", c, limit: PAGE, ...bound }, (answer) => {
      if (answer.t === "hist") this.#join(state, answer, bound);
      const callers = this.#waiting.get(key) ?? [];
      this.#waiting.delete(key);
      for (const call of callers) call();
    });
  }

  /** Looks for an own message from the newest event backwards, to the time of its first attempt. */
  search(c: string, since: number, cid: string, done: () => void, before?: number): void {
    this.around.asks.add({ t: "hist", c, limit: 100, before }, (answer) => {
      if (answer.t !== "hist") return done();
      for (const event of answer.events) {
        if (event.t === "msg" && event.cid === cid && event.u === this.around.me()) {
          this.around.settle(cid, event);
          return done();
        }
      }
      const first = answer.events[0];
      if (first && answer.more && first.ts > since - CLOCK_MS) this.search(c, since, cid, done, first.s);
      else done();
    });
  }

  /** Reads all pages of the members; `done` gets them as one answer. */
  members(c: string, page: (answer: ServerAnswer, first: boolean) => void, done: (answer: ServerAnswer) => void): void {
    const items: (ServerAnswer & { t: "members" })["items"] = [];
    const next = (cursor?: string) => {
      this.around.asks.add({ t: "members", c, limit: 100, cursor }, (answer) => {
        if (answer.t !== "members") return done(answer);
        page(answer, cursor === undefined);
        items.push(...answer.items);
        if (answer.next) next(answer.next);
        else done({ ...answer, items });
      });
    };
    next();
  }

  #join(state: ConversationState, answer: HistAnswer, bound: { before?: number; after?: number }): void {
    const { log } = state;
    if (!log) return;
    const first = answer.events[0];
    const last = answer.events[answer.events.length - 1];
    if (bound.before !== undefined) {
      const start = !answer.more;
      log.join(answer.events, first ? first.s : bound.before, bound.before - 1, start);
    } else if (last) log.join(answer.events, (bound.after ?? 0) + 1, last.s, false);
    // The newest events are kept for the next start of the page.
    const lo = Math.max(log.live.lo, state.s - STORED_EVENTS + 1);
    for (const event of log.live.events) if (event.s >= lo && event.s < state.kept) this.around.store(stored(event));
    state.kept = Math.min(state.kept, lo);
    this.changed(state);
  }
}

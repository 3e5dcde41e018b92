// The events of one conversation, as far as this client has them: segments without holes, ordered by `s`.

import type { LogEvent } from "../wire/index.js";

/** A range of the log in which everything that the user may see is present. */
export interface Segment {
  lo: number;
  hi: number;
  events: LogEvent[];
  /** Nothing before `lo` is available. */
  start: boolean;
}

/** Pure data structure: the last segment ends at the position of the live events. */
export class ConversationLog {
  /** Ascending and disjoint. The last one is the live one. */
  segments: Segment[];

  constructor(position: number) {
    this.segments = [emptyAt(position)];
  }

  get live(): Segment {
    return this.segments[this.segments.length - 1] as Segment;
  }

  /** Appends the event that follows the position. */
  append(event: LogEvent): void {
    const live = this.live;
    live.events.push(event);
    live.hi = event.s;
  }

  /** Begins a new live segment behind a range that is not known. What came before stays, but is no longer live. */
  restart(events: readonly LogEvent[], position: number): void {
    const first = events[0];
    // A position beyond the log (a restored cluster) makes everything above the new position invalid.
    this.segments = this.segments.filter((old) => old.hi <= position && old.events.length > 0);
    this.segments.push({ lo: first ? first.s : position + 1, hi: position, events: [...events], start: false });
    this.#merge();
  }

  /** Adds a page that covers everything from `lo` to `hi`. */
  join(page: readonly LogEvent[], lo: number, hi: number, start: boolean): void {
    this.segments.push({ lo: Math.min(lo, hi + 1), hi, events: [...page], start });
    this.#merge();
  }

  /** Returns the segment that holds `s`, or ends right before it. */
  around(s: number): Segment | undefined {
    return this.segments.find((it) => it.lo <= s && s <= it.hi);
  }

  /** Forgets all but the newest events. */
  trim(count: number): void {
    const live = this.live;
    if (this.segments.length === 1 && live.events.length <= count) return;
    const events = live.events.slice(-count);
    const cut = events.length < live.events.length;
    const lo = cut && events[0] ? events[0].s : live.lo;
    this.segments = [{ lo, hi: live.hi, events, start: live.start && !cut }];
  }

  #merge(): void {
    const out: Segment[] = [];
    for (const next of this.segments.sort((a, b) => a.hi - b.hi || a.lo - b.lo)) {
      let into = next;
      // Backwards: a large page may cover several earlier segments.
      while (out.length > 0 && (out[out.length - 1] as Segment).hi + 1 >= into.lo) into = union(out.pop() as Segment, into);
      out.push(into);
    }
    this.segments = out;
  }
}

function emptyAt(position: number): Segment {
  return { lo: position + 1, hi: position, events: [], start: position === 0 };
}

function union(a: Segment, b: Segment): Segment {
  const by = new Map<number, LogEvent>();
  // The later answer counts: the server empties deleted messages in it.
  for (const event of a.events) by.set(event.s, event);
  for (const event of b.events) by.set(event.s, event);
  const events = [...by.values()].sort((x, y) => x.s - y.s);
  const lo = Math.min(a.lo, b.lo);
  const start = (a.start && a.lo === lo) || (b.start && b.lo === lo);
  return { lo, hi: Math.max(a.hi, b.hi), events, start };
}

// What one client has seen: each event of a conversation once, in the order of the log, with its content.

import assert from "node:assert/strict";

/** Notes that are kept. */
const NOTES = 40;

export class View {
  constructor(name) {
    this.name = name;
    this.logs = new Map();
    this.others = [];
    this.last = undefined;
    this.notes = [];
    this.listeners = new Set();
  }

  /** Records what the client does, for the report of a failure. */
  note(what) {
    this.notes.push(`${new Date().toISOString().slice(11, 23)} ${what}`);
    if (this.notes.length > NOTES) this.notes.shift();
  }

  /** Sets the position from which the conversation is followed. */
  begin(c, s) {
    this.logs.set(c, { start: s, events: [], early: new Map(), repeated: 0, jumped: 0 });
  }

  position(c) {
    const log = this.logs.get(c);
    return log.start + log.events.length;
  }

  /** Position in words, with what waits for events before it. */
  state(c) {
    const { early, repeated } = this.logs.get(c);
    return `${this.position(c)} (waiting: ${[...early.keys()].slice(0, 5)}, repeated: ${repeated})`;
  }

  /** Returns true if an event came ahead of its turn. */
  lacks(c) {
    return this.logs.get(c)?.early.size > 0;
  }

  /** Takes an event, by the rule of the protocol: the next one is applied, a later one waits, another is a repetition. */
  event(event) {
    const { n: _number, ...content } = event;
    this.last = content;
    const log = this.logs.get(content.c);
    if (content.s === undefined || !log) {
      this.others.push(content);
    } else if (content.s <= this.position(content.c)) {
      // What was there before is no repetition: some clients read the last second once more.
      if (content.s > log.start) log.repeated += 1;
    } else {
      if (content.s > this.position(content.c) + 1) log.jumped += 1;
      log.early.set(content.s, content);
      for (let next; (next = log.early.get(this.position(content.c) + 1)); ) {
        log.early.delete(next.s);
        log.events.push(next);
      }
    }
    for (const listener of this.listeners) listener(content);
  }

  /** Returns true if an event with these fields was seen outside of the logs. */
  saw(fields) {
    return this.others.some((event) => Object.entries(fields).every(([key, value]) => event[key] === value));
  }

  /** Compares with the log of the conversation, up to `end`. `exact`: the transport repeats and reorders nothing. */
  check(c, log, end, exact) {
    const seen = this.logs.get(c);
    const expected = log.filter((event) => event.s > seen.start && event.s <= end);
    assert.deepEqual(seen.events.filter((event) => event.s <= end), expected, `${this.name} in ${c}`);
    if (exact) {
      assert.equal(seen.repeated, 0, `${this.name} got an event of ${c} twice`);
      assert.equal(seen.jumped, 0, `${this.name} got an event of ${c} ahead of its turn`);
    }
  }
}

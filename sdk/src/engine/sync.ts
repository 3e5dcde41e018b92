// Rounds of `sync`: page by page over all conversations that the client has, in the order of their ids.

import type { DeltaAnswer, ServerAnswer, SyncCommand } from "../wire/index.js";

/** Pairs per page (protocol, section 6). */
const HAVE = 200;

export interface SyncHost {
  /** Known conversations with the positions to go on from. */
  positions(): [string, number][];
  ask(command: SyncCommand, done: (answer: ServerAnswer) => void): void;
  /** Applies a page; `had` are the positions that were asked from. */
  apply(delta: DeltaAnswer, had: ReadonlyMap<string, number>): void;
  /** The round is over; the conversations were not named, though this client has them. */
  finished(absent: string[]): void;
}

export class SyncRound {
  running = false;
  #again = false;
  #had = new Set<string>();

  constructor(private readonly host: SyncHost) {}

  /** Begins a round; during one, another follows it. */
  start(): void {
    if (this.running) {
      this.#again = true;
      return;
    }
    this.running = true;
    this.#had = new Set();
    this.#page(undefined);
  }

  /** The session that the round belonged to is over. */
  cancel(): void {
    this.running = this.#again = false;
  }

  #page(cursor: string | undefined): void {
    const all = this.host
      .positions()
      .filter(([c]) => cursor === undefined || c > cursor)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    const have = all.slice(0, HAVE);
    for (const [c] of have) this.#had.add(c);
    const command: SyncCommand = { t: "sync", have, cursor };
    this.host.ask(command, (answer) => {
      if (answer.t !== "delta") return this.#end([]);
      for (const [c] of answer.as_of) this.#had.delete(c);
      this.host.apply(answer, new Map(have));
      const highest = all[all.length - 1]?.[0];
      // Pages beyond the highest known id name only conversations that this client does not have.
      if (answer.next && highest !== undefined && answer.next < highest) this.#page(answer.next);
      else this.#end([...this.#had]);
    });
  }

  #end(absent: string[]): void {
    this.running = false;
    this.host.finished(absent);
    if (this.#again) {
      this.#again = false;
      this.start();
    }
  }
}

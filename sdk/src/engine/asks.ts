// Queries in flight: sent when the session is ready, repeated after a temporary refusal and after a reconnection.

import type { ClientCommand, ErrAnswer, ServerAnswer } from "../wire/index.js";

export type Query = Extract<
  ClientCommand,
  { t: "list" | "sync" | "hist" | "open" | "members" | "watch" | "unwatch" | "me" | "block" | "unblock" | "read" }
>;

interface Ask {
  command: Query;
  done: (answer: ServerAnswer) => void;
  /** Belongs to the session: a new session asks anew. */
  session: boolean;
  sent: boolean;
  at: number;
}

export class Asks {
  readonly #open = new Map<number, Ask>();

  constructor(private readonly id: () => number) {}

  /** Adds a query. `done` gets the answer or the final refusal. */
  add(command: Query, done: (answer: ServerAnswer) => void, session = false): void {
    this.#open.set(this.id(), { command, done, session, sent: false, at: 0 });
  }

  /** Returns the queries to send now. */
  due(now: number): (Query & { id: number })[] {
    const out: (Query & { id: number })[] = [];
    for (const [id, ask] of this.#open) {
      if (ask.sent || now < ask.at) continue;
      ask.sent = true;
      out.push({ ...ask.command, id });
    }
    return out;
  }

  /** Returns false if the answer is of no query. */
  answered(id: number, answer: ServerAnswer, now: number): boolean {
    const ask = this.#open.get(id);
    if (!ask) return false;
    if (answer.t === "err" && answer.temp) {
      ask.sent = false;
      ask.at = now + ((answer as ErrAnswer).retry_ms ?? 1_000);
    } else {
      this.#open.delete(id);
      ask.done(answer);
    }
    return true;
  }

  lost(): void {
    for (const ask of this.#open.values()) ask.sent = false;
  }

  newSession(): void {
    for (const [id, ask] of this.#open) if (ask.session) this.#open.delete(id);
  }

  next(): number {
    let at = Infinity;
    for (const ask of this.#open.values()) if (!ask.sent) at = Math.min(at, ask.at);
    return at;
  }
}

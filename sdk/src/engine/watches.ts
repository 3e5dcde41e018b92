// What the tabs look at, and the presence of users that follows from it.

import type { PresenceEvent } from "../wire/index.js";
import type { Asks } from "./asks.js";
import type { Presence } from "./types.js";

/** Users per `watch` (protocol, section 10). */
const WATCH_LIMIT = 500;

export class Watches {
  readonly #tabs = new Map<string, Set<string>>();
  readonly #states = new Map<string, Presence>();
  #watching = new Set<string>();

  constructor(
    private readonly asks: Asks,
    private readonly touch: (key: string) => void,
  ) {}

  /** Sets what a tab looks at; returns what is new to it. */
  want(tab: string, keys: string[]): string[] {
    const old = this.#tabs.get(tab);
    if (keys.length > 0) this.#tabs.set(tab, new Set(keys));
    else this.#tabs.delete(tab);
    return keys.filter((key) => !old?.has(key));
  }

  keys(): Set<string> {
    return new Set([...this.#tabs.values()].flatMap((keys) => [...keys]));
  }

  /** Returns the wanted views that a change concerns. */
  matching(dirty: string, resolve: (name: string) => string): string[] {
    const [kind, c] = dirty.split("/");
    return [...this.keys()].filter((key) => {
      if (key === dirty) return true;
      const [otherKind, name] = key.split("/");
      return name !== undefined && kind === otherKind && resolve(name) === c;
    });
  }

  state(user: string): Presence | undefined {
    return this.#states.get(user);
  }

  presence(event: PresenceEvent): void {
    this.#states.set(event.u, { state: event.state, seen: event.seen ?? null });
    this.touch(`p/${event.u}`);
  }

  newSession(): void {
    this.#watching = new Set();
  }

  /** Asks for the users that are wanted and not watched, and ends the others. */
  ask(): void {
    const wanted = [...this.keys()].filter((key) => key.startsWith("p/")).map((key) => key.slice(2));
    const users = new Set(wanted.slice(0, WATCH_LIMIT));
    const gone = [...this.#watching].filter((u) => !users.has(u));
    const added = [...users].filter((u) => !this.#watching.has(u));
    if (gone.length > 0) this.asks.add({ t: "unwatch", users: gone }, () => {}, true);
    if (added.length > 0) this.asks.add({ t: "watch", users: added }, () => {}, true);
    for (const u of gone) this.#states.delete(u);
    if (gone.length + added.length > 0) this.#watching = users;
  }
}

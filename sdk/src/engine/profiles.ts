// Names and pictures of users, as far as answers and events have told them.

import type { StoreOp } from "../store.js";
import type { Profile } from "./types.js";

/** Profiles in memory and in the store; those that were told first make room. */
const LIMIT = 2_000;

/** Users beside an answer or event, each once. */
export type UserTable = Readonly<Record<string, Profile>>;

export class Profiles {
  readonly #known = new Map<string, Profile>();

  constructor(
    private readonly touch: (key: string) => void,
    private readonly store: (op: StoreOp) => void,
  ) {}

  get(u: string): Profile | undefined {
    return this.#known.get(u);
  }

  /** Takes a table. A profile that is not newer than the known one changes nothing. */
  take(users: UserTable): void {
    for (const [u, value] of Object.entries(users)) {
      if (!this.older(u, value.ver)) continue;
      this.restore(u, value);
      this.store({ put: `user/${u}`, value });
      this.touch(`u/${u}`);
    }
    for (const u of this.#known.keys()) {
      if (this.#known.size <= LIMIT) break;
      this.#known.delete(u);
      this.store({ del: `user/${u}` });
    }
  }

  /** Returns true if the known profile of a user is older than `ver`, or there is none. */
  older(u: string, ver: number): boolean {
    return (this.get(u)?.ver ?? -1) < ver;
  }

  restore(u: string, profile: Profile): void {
    this.#known.delete(u);
    this.#known.set(u, profile);
  }

  clear(): void {
    for (const u of this.#known.keys()) this.touch(`u/${u}`);
    this.#known.clear();
  }
}

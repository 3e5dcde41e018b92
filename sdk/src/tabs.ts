// One connection for all tabs: a Web Lock elects the leader, a BroadcastChannel joins the others to it.

import type { Input } from "./engine/types.js";
import type { Delivery } from "./host.js";

/** Inputs that a tab hands to the leader. */
export type TabInput = Extract<Input, { t: "call" | "want" | "gone" | "logout" | "start" | "wake" }>;

type TabMessage = { leads: string } | { asks: string } | { input: TabInput } | { delivery: Delivery };

/** The part of the Web Locks API that the client uses. */
export interface Locks {
  request(name: string, options: { signal: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
}

export interface Channel {
  postMessage(message: unknown): void;
  close(): void;
  onmessage: ((event: never) => void) | null;
}

export interface TabsHost {
  /** This tab has the connection from now on; resolves when it gives it up. */
  lead(): Promise<void>;
  /** Another tab has become the leader: everything open goes to it again. */
  follow(): void;
  input(input: TabInput): void;
  delivered(delivery: Delivery): void;
}

export class Tabs {
  leader = false;
  readonly #abort = new AbortController();
  readonly #remote = new Map<string, Set<string>>();
  #following = "";

  constructor(
    readonly tab: string,
    private readonly channel: Channel,
    private readonly host: TabsHost,
  ) {
    channel.onmessage = ({ data }: { data: TabMessage }) => this.#message(data);
  }

  start(name: string, locks: Locks): void {
    const held = async () => {
      this.leader = true;
      const led = this.host.lead();
      this.#post({ leads: this.tab });
      await led;
      this.leader = false;
    };
    // Rejected only by `stop` while waiting.
    locks.request(name, { signal: this.#abort.signal }, held).catch(() => {});
    this.#post({ asks: this.tab });
  }

  /** Hands an input to the leader in another tab. */
  send(input: TabInput): void {
    this.#post({ input });
  }

  /** Hands what concerns other tabs to them. */
  broadcast(delivery: Delivery): void {
    if (this.#remote.size === 0) return;
    if (delivery.t === "result" && delivery.tab === this.tab) return;
    if (delivery.t === "view" && ![...this.#remote.values()].some((keys) => keys.has(delivery.key))) return;
    this.#post({ delivery });
  }

  stop(): void {
    if (!this.leader) this.#post({ input: { t: "gone", tab: this.tab } });
    this.#abort.abort();
    this.channel.onmessage = null;
    this.channel.close();
  }

  #message(message: TabMessage): void {
    if ("leads" in message) {
      this.#following = message.leads;
      this.host.follow();
    } else if ("asks" in message) {
      if (this.leader) this.#post({ leads: this.tab });
    } else if ("input" in message) {
      if (!this.leader) return;
      const { input } = message;
      if (input.t === "want") this.#remote.set(input.tab, new Set(input.keys));
      else if (input.t === "gone") this.#remote.delete(input.tab);
      this.host.input(input);
    } else if (!this.leader && this.#following) this.host.delivered(message.delivery);
  }

  #post(message: TabMessage): void {
    this.channel.postMessage(message);
  }
}

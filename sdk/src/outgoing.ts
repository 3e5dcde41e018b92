// The application's handle of a change on its way.

import type { Rookery } from "./client.js";
import type { Call, ChatFailure, OutgoingInfo, Settled } from "./engine/types.js";
import { ChatError } from "./errors.js";

export class Outgoing {
  state: OutgoingInfo["state"] = "queued";
  error?: ChatFailure;
  /** Resolves when the change is in the store: from then on it survives the end of the page. */
  readonly stored: Promise<void>;
  /** Resolves when a majority of the nodes has the change; rejects with a `ChatError` if it was refused for good. */
  readonly settled: Promise<Settled>;
  #resolveStored!: () => void;
  #resolve!: (value: Settled) => void;
  #reject!: (error: ChatError) => void;

  constructor(
    private readonly chat: Rookery,
    readonly cid: string,
    /** @internal */
    readonly call: Call & { op: "change" },
  ) {
    this.stored = new Promise((resolve) => {
      this.#resolveStored = resolve;
    });
    this.settled = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who does not wait for the outcome sees it in the outbox.
    this.settled.catch(() => {});
  }

  /** Sends a failed change again, or a waiting one now. */
  retry(): Promise<void> {
    return this.chat.retry(this.cid);
  }

  /** Gives the change up, unless it is on its way. */
  discard(): Promise<void> {
    return this.chat.discard(this.cid);
  }

  /** @internal */
  persisted(): void {
    this.#resolveStored();
  }

  /** @internal */
  is(info: OutgoingInfo): void {
    this.state = info.state;
    this.error = info.error;
  }

  /** @internal */
  done(value: Settled): void {
    this.state = "sent";
    delete this.error;
    this.#resolveStored();
    this.#resolve(value);
  }

  /** @internal */
  failed(error: ChatFailure): void {
    this.state = "failed";
    this.error = error;
    this.#reject(new ChatError(error));
  }
}

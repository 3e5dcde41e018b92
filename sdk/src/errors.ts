// Errors that the application sees or throws.

import type { ChatFailure } from "./engine/types.js";

/** Thrown by the application's `token` function if there is nothing to sign in with. The client then stops. */
export class Unauthorized extends Error {
  override name = "Unauthorized";
}

/** A refusal by the server, or by the client itself (`outbox_full`, `discarded`, `signed_out`). */
export class ChatError extends Error {
  override name = "ChatError";
  readonly code: string;
  readonly temporary: boolean;

  constructor(failure: ChatFailure) {
    super(`${failure.code}: ${failure.msg}`);
    this.code = failure.code;
    this.temporary = failure.temp;
  }
}

// Commands that wait for their answer: the same command again on another connection, or after a temporary refusal.

import { within } from "../wait.mjs";

/** Refusal of a command, with the code of the protocol. */
export class Refusal extends Error {
  constructor(answer) {
    super(`${answer.code}: ${answer.msg}`);
    this.code = answer.code;
  }
}

export class Commands {
  /** `transmit(id, command, fields)` writes a command to the connection, if there is one. */
  constructor(transmit) {
    this.transmit = transmit;
    this.waiting = new Map();
    this.next = 1;
  }

  /** Resolves with the answer, and rejects with a `Refusal`. */
  run(command, fields) {
    const id = this.next++;
    const answer = new Promise((resolve, reject) => {
      this.waiting.set(id, { command, fields, resolve, reject });
    });
    this.transmit(id, command, fields);
    return within(`${command} is answered`, answer);
  }

  answer(id, answer) {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    if (answer.t === "err" && answer.temp) {
      const again = () => this.waiting.has(id) && this.transmit(id, waiting.command, waiting.fields);
      setTimeout(again, answer.retry_ms);
      return;
    }
    this.waiting.delete(id);
    if (answer.t === "err") waiting.reject(new Refusal(answer));
    else waiting.resolve(answer);
  }

  /** Writes the unanswered commands again, in their order. */
  resend() {
    for (const [id, { command, fields }] of this.waiting) this.transmit(id, command, fields);
  }
}

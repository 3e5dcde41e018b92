// Commands that wait for their answer: the same command again on another connection, or after a temporary refusal.

import { within } from "../wait.mjs";

/** Refusal of a command, with the code of the protocol. */
export class Refusal extends Error {
  constructor(answer) {
    super(`${answer.code}: ${answer.msg}`);
    this.code = answer.code;
  }
}

/** Lets what nobody awaits go on by itself. A failure shows in the report of what fails by it. */
export function inBackground(view, promise) {
  promise.catch((error) => view.note(error.message));
}

/** Reads the log of a conversation behind what was seen. `hist(after)` returns a page. */
export async function readOn(view, c, hist) {
  try {
    for (let more = true; more; ) {
      const after = view.position(c);
      const page = await hist(after);
      page.events.forEach((event) => view.event(event));
      view.note(`hist behind ${after}: ${page.events.length} events, at ${view.state(c)}`);
      more = page.more;
    }
  } catch (error) {
    // A former member reads nothing.
    if (error.code !== "not_member") throw error;
  }
}

export class Commands {
  /** `transmit(id, command, fields)` writes a command to the connection, if there is one. */
  constructor(view, transmit) {
    this.view = view;
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
    return within(() => `${this.view.name}: ${command} ${id} is answered`, answer);
  }

  answer(id, answer) {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    if (answer.t === "err") this.view.note(`${waiting.command} ${id} is refused: ${answer.code}: ${answer.msg}`);
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
    this.view.note(`connected; unanswered: ${[...this.waiting].map(([id, { command }]) => `${command} ${id}`)}`);
    for (const [id, { command, fields }] of this.waiting) this.transmit(id, command, fields);
  }
}

// Clients of real nodes, for the integration tests.

import WebSocket from "ws";
import { eventually } from "../../scripts/node.js";
import { type Conversation, type Live, Rookery, type RookeryOptions, type SocketConstructor } from "../../src/index.js";
import { type Login, LoginError } from "../../src/login.js";

/** Waits until the value fulfils the condition, and returns it. */
export async function until<T>(live: Live<T>, condition: (value: T) => boolean, what: string): Promise<T> {
  let wake = () => {};
  let late = false;
  const end = live.subscribe(() => wake());
  const timer = setTimeout(() => {
    late = true;
    wake();
  }, 90_000);
  try {
    while (!condition(live.get())) {
      if (late) throw new Error(`not in time: ${what}; last: ${JSON.stringify(live.get()).slice(0, 2_000)}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return live.get();
  } finally {
    clearTimeout(timer);
    end();
  }
}

export function client(urls: string | readonly string[], user: string, options: Partial<RookeryOptions> = {}): Rookery {
  return new Rookery({
    urls: [urls].flat(),
    token: () => `dev:${user}`,
    tabs: "own",
    WebSocket: WebSocket as unknown as SocketConstructor,
    ...options,
  });
}

/** Logs in with a code, as soon as a node that has just started can. */
export async function logIn(login: Login, to: string): Promise<string> {
  const later = (error: unknown) => {
    if (!(error instanceof LoginError && error.temporary)) throw error;
    return undefined;
  };
  const sent = await eventually(() => login.requestCode(to).catch(later), "a code");
  return login.verify(sent.challenge, sent.dev_code ?? "");
}

/** Texts of a window's messages, in order. */
export function texts(messages: readonly { b: { [key: string]: unknown } }[]): string[] {
  return messages.map((message) => String(message.b.text));
}

/** Starts the clients and waits until they are live. */
export async function live(...clients: Rookery[]): Promise<void> {
  for (const one of clients) one.start();
  for (const one of clients) await until(one.status, (it) => it.phase === "live", "a live client");
}

/** Sends messages with the texts 1, 2, 3, …, and waits until all are acknowledged. */
export async function sendAll(conversation: Conversation, count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, i) => conversation.send({ text: `${i + 1}` }));
  await Promise.all(all.map((one) => one.settled));
}

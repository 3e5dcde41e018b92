// What the scenario does besides its clients, over REST, and the log that their views are compared with.

import { randomUUID } from "node:crypto";

export class Rest {
  constructor(address, user) {
    this.base = `http://${address}/v1`;
    this.user = user;
  }

  /** Repeats temporary refusals and broken connections with the same key: the request takes effect once. */
  async call(method, path, body) {
    const headers = { Authorization: `Bearer dev:${this.user}`, "Idempotency-Key": randomUUID() };
    if (body) headers["Content-Type"] = "application/json";
    const end = Date.now() + 60_000;
    for (;;) {
      // A node that is killed or frozen gives no answer.
      const signal = AbortSignal.timeout(15_000);
      const options = { method, headers, signal, body: body && JSON.stringify(body) };
      const answer = await fetch(this.base + path, options).catch(() => undefined);
      const text = await answer?.text().catch(() => undefined);
      if (text !== undefined && answer.ok) return answer.status === 204 ? undefined : JSON.parse(text);
      if (text !== undefined && answer.status < 500 && answer.status !== 429) {
        throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      }
      if (Date.now() > end) throw new Error(`${method} ${path}: no answer in time`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async makeGroup(members, title) {
    return (await this.call("POST", "/conversations", { kind: "group", members, title })).c;
  }

  send(c, text) {
    return this.call("POST", `/conversations/${c}/messages`, { b: { text } });
  }

  kick(c, user) {
    return this.call("DELETE", `/conversations/${c}/members/${user}`);
  }

  /** All events of a conversation. */
  async log(c) {
    const events = [];
    for (;;) {
      const after = events.length === 0 ? 0 : events[events.length - 1].s;
      const page = await this.call("GET", `/conversations/${c}/events?after=${after}&limit=100`);
      events.push(...page.events);
      if (!page.more) return events;
    }
  }

  async lastSeq(c) {
    return (await this.call("GET", `/conversations/${c}`)).last.s;
  }
}

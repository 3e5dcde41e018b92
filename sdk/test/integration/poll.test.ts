// Clients of a real node over the fallbacks: all commands as requests, events by a stream or by polls.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, withNode } from "../../scripts/node.js";
import { Login } from "../../src/login.js";
import { longPoll, sse } from "../../src/poll.js";
import { memory } from "../../src/store.js";
import { Line } from "./line.js";
import { client, live, logIn, sendAll, texts, until } from "./support.js";

for (const [name, transport] of Object.entries({ "server-sent events": sse(), "long polling": longPoll() })) {
  describe(name, { timeout: 300_000, concurrency: true }, () => {
    const transports = [transport];

    test("two users talk, and every command has its request", async () => {
      await withNode(async (url) => {
        const [alice, bob] = [client(url, "alice", { transports }), client(url, "bob", { transports })];
        await live(alice, bob);
        const there = alice.direct("bob");
        const shown = until(there.messages, (it) => it.messages[0]?.state === "read", "the receipt");
        const { c } = await there.send({ text: "hi" }).settled;
        const here = bob.conversation(c);
        await until(bob.inbox, (rows) => rows[0]?.unread === 1, "the unread message");
        await until(here.messages, (it) => texts(it.messages).join() === "hi", "the message");
        here.read();
        await shown;
        const typists = until(there.typists, (it) => it.includes("bob"), "typing");
        here.typing();
        await typists;
        const s = here.messages.get().messages[0]?.s ?? 0;
        await there.edit(s, { text: "hello" }).settled;
        await here.react(s, "👍").settled;
        const changed = (it: { messages: readonly { b: object; reactions: Readonly<Record<string, readonly string[]>> }[] }) =>
          JSON.stringify(it.messages.map(({ b, reactions }) => [b, reactions])) === '[[{"text":"hello"},{"👍":["bob"]}]]';
        await until(there.messages, changed, "the changes");
        await here.react(s, "👍", false).settled;
        await there.remove(s).settled;
        await until(here.messages, (it) => it.messages[0]?.deleted === true, "the deletion");

        const group = await alice.create({ kind: "group", members: ["bob"], title: "Lunch" });
        await until(bob.inbox, (rows) => rows.some((row) => row.title === "Lunch"), "the invitation");
        await group.set({ title: "Dinner", muted: true }).settled;
        await group.role("bob", "admin").settled;
        const row = () => bob.inbox.get().find((it) => it.c === group.key);
        await until(bob.inbox, () => row()?.title === "Dinner" && row()?.role === "admin", "title and role");
        await group.invite("carol").settled;
        await group.kick("carol").settled;
        await group.ban("carol").settled;
        await group.unban("carol").settled;
        assert.deepEqual(
          (await group.members()).map((it) => [it.u, it.role]),
          [
            ["alice", "owner"],
            ["bob", "admin"],
          ],
        );
        await bob.conversation(group.key).leave().settled;
        await until(bob.inbox, (rows) => !rows.some((it) => it.c === group.key), "the end of the membership");
        await bob.block("mallory");
        await bob.unblock("mallory");
        assert.equal((await bob.me({ group_invite: "nobody" })).group_invite, "nobody");
        assert.equal((await bob.me()).group_invite, "nobody");
        await alice.stop();
        await bob.stop();
      });
    });

    test("a cut line delays, and neither loses nor doubles", async () => {
      await withNode(async (url) => {
        const line = new Line(url);
        const near = await line.open();
        const alice = client(near, "alice", { transports });
        const bob = client(url, "bob");
        await live(alice, bob);
        const there = alice.direct("bob");
        const end = there.messages.subscribe(() => {});
        await sendAll(there, 5);
        line.offline(true);
        const rest = Array.from({ length: 5 }, (_, i) => there.send({ text: `${i + 6}` }).settled);
        await bob.direct("alice").send({ text: "meanwhile" }).settled;
        await until(alice.status, (it) => it.phase !== "live", "the loss");
        line.offline(false);
        await Promise.all(rest);
        await until(there.messages, (it) => it.messages.length === 11 && it.messages.every((one) => one.s !== undefined), "all");
        assert.equal(
          texts(there.messages.get().messages)
            .filter((it) => it !== "meanwhile")
            .join(" "),
          "1 2 3 4 5 6 7 8 9 10",
        );
        end();
        await alice.stop();
        await bob.stop();
        line.close();
      });
    });

    test("a token is renewed without a new session", async () => {
      await withNode(
        async (url) => {
          const login = new Login({ url, store: memory() });
          const user = await logIn(login, "ada@example.org");
          const ada = client(url, user, { token: login.token, transports });
          const bob = client(url, "bob");
          let renewed = 0;
          ada.on("token", () => renewed++);
          await live(ada, bob);
          const { since } = ada.status.get();
          await eventually(() => renewed >= 3, "two renewals");
          const { c } = await bob.direct(user).send({ text: "after" }).settled;
          await until(ada.conversation(c).messages, (it) => texts(it.messages).join() === "after", "a message after them");
          await ada.conversation(c).send({ text: "and back" }).settled;
          assert.deepEqual([ada.status.get().phase, ada.status.get().since], ["live", since]);
          await ada.stop();
          await bob.stop();
        },
        ["login.access_token_ttl=10s"],
      );
    });
  });
}

test("what lets no WebSocket through is noticed, and the next kind is tried", { timeout: 300_000 }, async () => {
  await withNode(async (url) => {
    const alice = client(url, "alice", { transports: [blocked, sse()] });
    await live(alice);
    await alice.direct("alice").send({ text: "through" }).settled;
    await alice.stop();
  });
});

/** A WebSocket on the way of which something answers for the node. */
const blocked = class {
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose: ((event: never) => void) | null = null;

  constructor() {
    setTimeout(() => this.onclose?.({ code: 1006, reason: "" } as never));
  }

  send(): void {}
  close(): void {}
};

// Clients against a real node: what the fake cluster takes for granted.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventually, withNode } from "../../scripts/node.js";
import type { Rookery } from "../../src/index.js";
import { memory } from "../../src/index.js";
import { Login } from "../../src/login.js";
import { client, live, logIn, sendAll, texts, until } from "./support.js";

describe("one node", { timeout: 300_000, concurrency: 2 }, () => {
  test("two users talk, and see each other's receipts, typing, presence and changes", async () => {
    await withNode(async (url) => {
      const [alice, bob] = [client(url, "alice"), client(url, "bob")];
      await live(alice, bob);
      const there = alice.direct("bob");
      const shown = until(there.messages, (it) => it.messages[0]?.state === "read", "the receipt");
      const { c } = await there.send({ text: "hi" }).settled;
      const here = bob.conversation(c);
      const row = await until(bob.inbox, (rows) => rows[0]?.unread === 1, "the unread message");
      assert.equal(row[0]?.peer, "alice");
      await until(here.messages, (it) => texts(it.messages).join() === "hi", "the message");
      here.read();
      await until(bob.inbox, (rows) => rows[0]?.unread === 0, "nothing unread");
      await shown;

      const typists = until(there.typists, (it) => it.includes("bob"), "typing");
      here.typing();
      await typists;
      const online = until(alice.presence(["bob"]), (it) => it.bob?.state === "online", "presence");
      await online;

      const s = here.messages.get().messages[0]?.s ?? 0;
      await there.edit(s, { text: "hello" }).settled;
      await here.react(s, "👍").settled;
      await until(
        here.messages,
        (it) => texts(it.messages).join() === "hello" && it.messages[0]?.reactions["👍"]?.[0] === "bob",
        "the changes",
      );
      await there.remove(s).settled;
      await until(here.messages, (it) => it.messages[0]?.deleted === true, "the deletion");
      await stop(alice, bob);
    });
  });

  test("a group: members, roles, titles, leaving", async () => {
    await withNode(async (url) => {
      const [alice, bob] = [client(url, "alice"), client(url, "bob")];
      await live(alice, bob);
      const group = await alice.create({ kind: "group", members: ["bob"], title: "Lunch" });
      await until(bob.inbox, (rows) => rows[0]?.title === "Lunch", "the invitation");
      await group.set({ title: "Dinner" }).settled;
      await group.role("bob", "admin").settled;
      await until(bob.inbox, (rows) => rows[0]?.title === "Dinner" && rows[0]?.role === "admin", "title and role");
      assert.deepEqual(
        (await group.members()).map((it) => [it.u, it.role]),
        [
          ["alice", "owner"],
          ["bob", "admin"],
        ],
      );
      await bob.conversation(group.key).leave().settled;
      await until(bob.inbox, (rows) => rows.length === 0, "an empty inbox");
      await assert.rejects(bob.conversation(group.key).send({ text: "?" }).settled, { code: "not_member" });
      await stop(alice, bob);
    });
  });

  test("a long history comes in pages that join the live messages", async () => {
    await withNode(async (url) => {
      const alice = client(url, "alice");
      await live(alice);
      const notes = alice.direct("alice");
      await sendAll(notes, 130);
      // Another start, with nothing stored.
      const again = client(url, "alice");
      await live(again);
      const there = again.direct("alice");
      const end = there.messages.subscribe(() => {});
      await until(there.messages, (it) => it.messages.length >= 25, "the first page");
      await notes.send({ text: "131" }).settled;
      while (!there.messages.get().atStart) await there.messages.older();
      await until(there.messages, (it) => it.messages.length === 131, "all messages");
      assert.deepEqual(
        texts(there.messages.get().messages),
        Array.from({ length: 131 }, (_, i) => `${i + 1}`),
      );
      const around = there.messages.around(50);
      await until(around, (it) => it.messages.some((message) => message.s === 50), "the window around a message");
      end();
      await stop(alice, again);
    });
  });

  test("a refused token is asked for once more", async () => {
    await withNode(async (url) => {
      const reasons: string[] = [];
      const alice = client(url, "alice", {
        token: ({ reason }) => {
          reasons.push(reason);
          return reason === "first" ? "nonsense" : "dev:alice";
        },
      });
      await live(alice);
      assert.deepEqual(reasons, ["first", "refused"]);
      await stop(alice);
    });
  });

  test("a login by code renews its tokens on the same session, and ends with the logout", async () => {
    const settings = ["login.access_token_ttl=10s"];
    await withNode(async (url) => {
      const login = new Login({ url, store: memory() });
      const user = await logIn(login, "ada@example.org");
      const reasons: string[] = [];
      const token: typeof login.token = (request) => {
        reasons.push(request.reason);
        return login.token(request);
      };
      const ada = client(url, user, { token });
      await live(ada);
      const { since } = ada.status.get();
      await eventually(() => reasons.length >= 3, "two renewals");
      assert.deepEqual(reasons.slice(0, 3), ["first", "expiring", "expiring"]);
      await ada.direct(user).send({ text: "still here" }).settled;
      assert.equal(ada.status.get().since, since, "the session went on");
      const refused = until(ada.status, (it) => it.phase === "refused", "the end of the session");
      await login.logout();
      await refused;
      await stop(ada);
    }, settings);
  });

  test("more sends than the rate allows are all sent, in order", async () => {
    await withNode(async (url) => {
      const [alice, bob] = [client(url, "alice"), client(url, "bob")];
      await live(alice, bob);
      const there = alice.direct("bob");
      const shown = bob.direct("alice");
      const end = shown.messages.subscribe(() => {});
      await sendAll(there, 150);
      await until(shown.messages, (it) => it.messages.length === 150, "all messages");
      assert.deepEqual(
        texts(shown.messages.get().messages),
        Array.from({ length: 150 }, (_, i) => `${i + 1}`),
      );
      end();
      await stop(alice, bob);
    });
  });
});

async function stop(...clients: Rookery[]): Promise<void> {
  for (const one of clients) await one.stop();
}

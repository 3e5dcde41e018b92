// Clients against three nodes, one of which is killed while they talk.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { withCluster } from "../../scripts/node.js";
import { client, live, texts, until } from "./support.js";

const COUNT = 60;

describe("three nodes", { timeout: 600_000 }, () => {
  test("clients of a killed node go on at another one; nothing is lost, doubled or reordered", async () => {
    await withCluster(async (nodes) => {
      const urls = nodes.map((node) => node.url);
      // The first node of each list is the one that the client begins at.
      const from = (first: number) => [...urls.slice(first), ...urls.slice(0, first)];
      const users = ["alice", "bob", "carol"];
      const clients = users.map((user, i) => client(from(i), user, { random: unshuffled() }));
      await live(...clients);
      const [alice] = clients as [(typeof clients)[0]];
      const group = await alice.create({ kind: "group", members: users.slice(1), title: "Lunch" });
      const rooms = clients.map((one) => one.conversation(group.key));
      const ends = rooms.map((room) => room.messages.subscribe(() => {}));
      for (const one of clients) await until(one.inbox, (rows) => rows.length === 1, "the group");

      const settled: Promise<unknown>[] = [];
      for (let i = 0; i < COUNT; i++) {
        for (const [at, room] of rooms.entries()) settled.push(room.send({ text: `${users[at]} ${i}` }).settled);
        if (i === COUNT / 3) process.kill((nodes[0] as (typeof nodes)[0]).pid, "SIGKILL");
        await sleep(100);
      }
      await Promise.all(settled);

      const total = COUNT * users.length;
      for (const room of rooms) {
        while (!room.messages.get().atStart) await room.messages.older();
        await until(room.messages, (it) => it.messages.length === total && it.messages.every((one) => one.s !== undefined), "all messages");
      }
      const [first, ...others] = rooms.map((room) => texts(room.messages.get().messages)) as [string[], ...string[][]];
      for (const other of others) assert.deepEqual(other, first, "every client shows the same");
      for (const user of users) {
        const own = first.filter((text) => text.startsWith(`${user} `));
        assert.deepEqual(
          own,
          Array.from({ length: COUNT }, (_, i) => `${user} ${i}`),
          "each message once, in the order of its sender",
        );
      }
      for (const end of ends) end();
      for (const one of clients) await one.stop();
    });
  });
});

/** Numbers that leave the order of the addresses as it is, and spread everything else. */
function unshuffled(): () => number {
  let draws = 0;
  return () => (++draws <= 40 ? 0.999_999 : Math.random());
}

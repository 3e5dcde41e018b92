// The whole machine against the fake cluster, step by step.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { directId } from "../../src/engine/ids.js";
import { OUTBOX_LIMIT } from "../../src/engine/outbox.js";
import type { ConversationInfo, Message } from "../../src/index.js";
import { FakeCluster, type FakeConversation, SteppedClient } from "../../src/testing/index.js";

const C = "g_1";

function setUp(wants = ["status", "inbox", "outbox", `m/${C}`]): { cluster: FakeCluster; group: FakeConversation; alice: SteppedClient } {
  const cluster = new FakeCluster({ buffer: 8, page: 10 });
  const group = cluster.group(C, ["alice", "bob"]);
  return { cluster, group, alice: new SteppedClient(cluster, "alice", () => 0.5, wants) };
}

function say(cluster: FakeCluster, group: FakeConversation, u: string, text: string): void {
  const s = group.log.length + 1;
  const mn = group.log.filter((it) => it.t === "msg").length + 1;
  cluster.append(group, { t: "msg", c: group.c, s, mn, ts: ++cluster.time, u, cid: `x${s}`, b: { text } });
}

const shown = (client: SteppedClient) => (client.window(C)?.messages ?? []).map((it: Message) => it.b.text);
const row = (client: SteppedClient) => (client.views.get("inbox") as ConversationInfo[])[0];

describe("engine", () => {
  test("a new session reads the inbox, catches up, and is live", () => {
    const { cluster, group, alice } = setUp();
    say(cluster, group, "bob", "one");
    alice.settle();
    assert.equal(alice.status.phase, "live");
    assert.equal(row(alice)?.unread, 1);
    assert.deepEqual(shown(alice), ["one"]);
  });

  test("a message is shown at once, stored before it is sent, and settled by its answer", () => {
    const { alice, group } = setUp();
    alice.settle();
    const cid = alice.change(C, { t: "send", b: { text: "hi" } });
    assert.deepEqual(shown(alice), ["hi"]);
    assert.equal(alice.window(C)?.messages[0]?.state, "queued");
    assert.equal(alice.sent.length, 0);
    while (alice.sent.length === 0) alice.write();
    assert.ok([...alice.disk.keys()].some((key) => key.endsWith(cid)));
    assert.equal(alice.window(C)?.messages[0]?.state, "pending");
    alice.settle();
    assert.deepEqual(shown(alice), ["hi"]);
    assert.equal(alice.window(C)?.messages[0]?.s, group.log.length);
    assert.deepEqual(
      alice.settled.map((it) => it.cid),
      [cid],
    );
    assert.deepEqual(
      [...alice.disk.keys()].filter((key) => key.startsWith("out/")),
      [],
    );
  });

  describe("changes of a message", () => {
    const first = (client: SteppedClient) => client.window(C)?.messages[0] as Message;
    const open = () => {
      const world = setUp();
      say(world.cluster, world.group, "bob", "hi");
      world.alice.settle();
      return { ...world, of: world.group.log.length };
    };

    test("a reaction is shown at once, and stays when the server has it", () => {
      const { alice, group, of } = open();
      const before = group.log.length;
      alice.change(C, { t: "react", of, k: "+1", on: true });
      assert.deepEqual(first(alice).reactions, { "+1": ["alice"] });
      assert.equal(group.log.length, before);
      alice.settle();
      assert.deepEqual(first(alice).reactions, { "+1": ["alice"] });
      alice.change(C, { t: "react", of, k: "+1", on: false });
      assert.deepEqual(first(alice).reactions, {});
      alice.settle();
      assert.deepEqual(first(alice).reactions, {});
      assert.equal(alice.engine.outbox.items.length, 0);
    });

    test("a refusal takes an edit, a removal and a reaction back", () => {
      const { alice, cluster, of } = open();
      cluster.refuseChange = () => "forbidden";
      alice.change(C, { t: "edit", of, b: { text: "changed" } });
      assert.deepEqual(shown(alice), ["changed"]);
      alice.change(C, { t: "react", of, k: "+1", on: true });
      alice.change(C, { t: "del", of });
      assert.equal(first(alice).deleted, true);
      alice.settle();
      assert.deepEqual(shown(alice), ["hi"]);
      assert.deepEqual([first(alice).deleted, first(alice).reactions], [false, {}]);
      assert.deepEqual(
        alice.settled.map((it) => it.error?.code),
        ["forbidden", "forbidden", "forbidden"],
      );
    });

    test("an acknowledged edit is shown until its event comes", () => {
      const { alice, of } = open();
      alice.change(C, { t: "edit", of, b: { text: "changed" } });
      while (!alice.link?.answers.some((it) => it.includes('"ack"'))) {
        alice.write();
        alice.transmit();
      }
      // The answer overtakes the event.
      alice.receive(0);
      assert.deepEqual([alice.settled.length, alice.outbox.length, shown(alice)], [1, 0, ["changed"]]);
      alice.settle();
      assert.deepEqual(shown(alice), ["changed"]);
      assert.equal(alice.engine.outbox.items.length, 0);
    });

    test("a change that was made offline is shown after a reload", () => {
      const { alice, of } = open();
      alice.drop();
      alice.change(C, { t: "edit", of, b: { text: "changed" } });
      while (alice.outbox[0]?.state === "queued" && ![...alice.disk.keys()].some((key) => key.startsWith("out/"))) alice.write();
      alice.reload();
      assert.deepEqual(shown(alice), ["changed"]);
      alice.settle();
      assert.deepEqual(shown(alice), ["changed"]);
    });
  });

  test("names are those of the latest answer, and survive a reload", () => {
    const { alice, cluster } = setUp(["status", "inbox", "u/bob"]);
    cluster.users.set("bob", { name: "Bob", avatar: null, ver: 3 });
    alice.settle();
    assert.deepEqual(alice.views.get("u/bob"), { name: "Bob", avatar: null, ver: 3 });
    cluster.users.set("bob", { name: "Robert", avatar: "https://example.org/bob.png", ver: 4 });
    cluster.push("alice", { t: "profile", u: "bob", ver: 4 });
    alice.settle();
    assert.deepEqual(alice.views.get("u/bob"), { name: "Robert", avatar: "https://example.org/bob.png", ver: 4 });
    // An answer that was on its way is older.
    cluster.users.set("bob", { name: "Bob", avatar: null, ver: 3 });
    cluster.push("alice", { t: "profile", u: "bob", ver: 5 });
    alice.settle();
    assert.equal((alice.views.get("u/bob") as { name: string }).name, "Robert");
    alice.reload();
    assert.equal((alice.views.get("u/bob") as { name: string }).name, "Robert");
  });

  test("what was written offline survives a reload and goes out in order", () => {
    const { alice, group } = setUp();
    for (const text of ["1", "2", "3", "4", "5"]) alice.change(C, { t: "send", b: { text } });
    for (let i = 0; i < 8; i++) alice.write();
    alice.reload();
    assert.deepEqual(shown(alice), ["1", "2", "3", "4", "5"]);
    alice.settle();
    assert.deepEqual(
      group.log.flatMap((it) => (it.t === "msg" ? [it.b.text] : [])),
      ["1", "2", "3", "4", "5"],
    );
  });

  test("a page of the history joins the live messages without hole or overlap", () => {
    const { cluster, group, alice } = setUp();
    for (let i = 1; i <= 50; i++) say(cluster, group, "bob", `${i}`);
    alice.settle();
    const before = shown(alice).length;
    say(cluster, group, "bob", "51");
    alice.input({ t: "call", tab: "t", id: 1, call: { op: "page", key: C } });
    alice.settle();
    const now = shown(alice);
    assert.ok(now.length > before);
    assert.deepEqual(
      now,
      Array.from({ length: now.length }, (_, i) => `${52 - now.length + i}`),
    );
    for (let i = 0; i < 10; i++) {
      alice.input({ t: "call", tab: "t", id: 2, call: { op: "page", key: C } });
      alice.settle();
    }
    assert.equal(shown(alice).length, 51);
    assert.equal(alice.window(C)?.atStart, true);
  });

  test("a window around an old message grows to both sides until it is the live one", () => {
    const { cluster, group, alice } = setUp(["status", "inbox", "outbox", `m/${C}`, `m/${C}/20`]);
    for (let i = 1; i <= 80; i++) say(cluster, group, "bob", `${i}`);
    alice.settle();
    const around = () => alice.views.get(`m/${C}/20`) as ReturnType<SteppedClient["window"]>;
    assert.ok(around()?.messages.some((it) => it.s === 20));
    assert.equal(around()?.atEnd, false);
    for (let i = 0; i < 20; i++) {
      alice.input({ t: "call", tab: "t", id: i, call: { op: "page", key: C, at: 20, newer: true } });
      alice.settle();
    }
    assert.equal(around()?.atEnd, true);
  });

  test("a hole in the log is told, and an older page fills it", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    alice.drop();
    for (let i = 1; i <= 30; i++) say(cluster, group, "bob", `${i}`);
    cluster.loseSessions();
    alice.advance();
    alice.settle();
    assert.equal(alice.status.phase, "live");
    assert.equal(row(alice)?.unread, 30, "the count is asked for again");
    for (let i = 0; i < 5; i++) {
      alice.input({ t: "call", tab: "t", id: i, call: { op: "page", key: C } });
      alice.settle();
    }
    assert.equal(shown(alice).length, 30);
    assert.equal(alice.window(C)?.atStart, true);
  });

  test("a page that is closed in the middle of catching up begins a new session and misses nothing", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    alice.drop();
    cluster.loseSessions();
    for (let i = 1; i <= 4; i++) say(cluster, group, "bob", `${i}`);
    alice.advance();
    // The new session is ready, and the inbox is read; the answer of `sync` is not.
    while (alice.status.phase !== "syncing" || alice.link?.answers.length !== 0) if (!alice.transmit()) alice.receive();
    for (let i = 0; i < 9; i++) alice.write();
    alice.reload();
    alice.settle();
    assert.equal(shown(alice).join(), "1,2,3,4");
  });

  test("an event that overtakes the answer of a sync waits for it", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    alice.drop();
    cluster.loseSessions();
    say(cluster, group, "bob", "1");
    say(cluster, group, "bob", "2");
    alice.advance();
    while (alice.status.phase !== "syncing") if (!alice.transmit()) alice.receive();
    while (!alice.sent.some(([, text]) => text.includes('"sync"'))) if (!alice.transmit()) alice.receive();
    // The cluster answers, and the event comes before the answer.
    while (alice.transmit());
    say(cluster, group, "bob", "3");
    while ((alice.link?.events.length ?? 0) > 0) alice.receive(0.999);
    assert.deepEqual(shown(alice), []);
    alice.settle();
    assert.deepEqual(shown(alice), ["1", "2", "3"]);
    assert.equal(row(alice)?.unread, 3);
  });

  test("states of the own message follow the cursors of the others", () => {
    const { cluster, alice } = setUp();
    alice.settle();
    alice.change(C, { t: "send", b: { text: "hi" } });
    alice.settle();
    const state = () => alice.window(C)?.messages[0];
    assert.equal(state()?.state, "sent");
    assert.deepEqual(state()?.reach, { delivered: 0, read: 0, of: 1 });
    cluster.push("alice", { t: "receipt", c: C, u: "bob", delivered: 3, read: 0 });
    alice.settle();
    assert.equal(state()?.state, "delivered");
    cluster.push("alice", { t: "receipt", c: C, u: "bob", delivered: 3, read: 3 });
    alice.settle();
    assert.equal(state()?.state, "read");
  });

  test("reading up to the end clears the counts, here and by another device", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    say(cluster, group, "bob", "one");
    say(cluster, group, "bob", "two");
    alice.settle();
    assert.equal(row(alice)?.unread, 2);
    cluster.push("alice", { t: "receipt", c: C, u: "alice", delivered: 3, read: 3 });
    alice.settle();
    assert.equal(row(alice)?.unread, 1);
    alice.input({ t: "call", tab: "t", id: 1, call: { op: "read", key: C } });
    assert.equal(row(alice)?.unread, 0);
    alice.settle();
    assert.equal(group.read.get("alice"), 4);
  });

  test("an unchanged message is the same object in the next snapshot", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    say(cluster, group, "bob", "one");
    alice.settle();
    const first = alice.window(C)?.messages[0];
    say(cluster, group, "bob", "two");
    alice.settle();
    assert.equal(alice.window(C)?.messages[0], first);
  });

  test("typing ends by itself and by a message", () => {
    const { cluster, group, alice } = setUp(["status", "inbox", `y/${C}`]);
    alice.settle();
    const typing = () => alice.views.get(`y/${C}`);
    cluster.push("alice", { t: "typing", c: C, u: "bob", on: true });
    alice.settle();
    assert.deepEqual(typing(), ["bob"]);
    alice.now += 6_001;
    alice.input({ t: "tick" });
    assert.deepEqual(typing(), []);
    cluster.push("alice", { t: "typing", c: C, u: "bob", on: true });
    say(cluster, group, "bob", "one");
    alice.settle();
    assert.deepEqual(typing(), []);
  });

  test("a final refusal is shown, and the change can be sent again or given up", () => {
    const { cluster, alice } = setUp();
    alice.settle();
    cluster.refuse = () => "forbidden";
    const first = alice.change(C, { t: "send", b: { text: "one" } });
    const second = alice.change(C, { t: "send", b: { text: "two" } });
    alice.settle();
    assert.deepEqual(
      alice.outbox.map((it) => [it.state, it.error?.code]),
      [
        ["failed", "forbidden"],
        ["failed", "forbidden"],
      ],
    );
    cluster.refuse = () => undefined;
    alice.input({ t: "call", tab: "t", id: 1, call: { op: "retry", cid: first } });
    alice.input({ t: "call", tab: "t", id: 2, call: { op: "discard", cid: second } });
    alice.settle();
    assert.deepEqual(alice.outbox, []);
    assert.deepEqual(shown(alice), ["one"]);
  });

  test("the outbox has a bound", () => {
    const { alice } = setUp(["status"]);
    for (let i = 0; i <= OUTBOX_LIMIT; i++) alice.change(C, { t: "send", b: {} });
    assert.equal(alice.engine.outbox.items.length, OUTBOX_LIMIT);
    assert.equal(alice.settled[0]?.error?.code, "outbox_full");
  });

  test("after 72 hours the log is searched before a change is sent again", () => {
    const { alice, group } = setUp();
    alice.settle();
    alice.change(C, { t: "send", b: { text: "hi" } });
    while (alice.sent.length === 0) alice.write();
    alice.transmit();
    alice.drop();
    // The server has forgotten the `cid`: sending it again would double the message.
    group.dedup.clear();
    for (let i = 0; i < 8; i++) alice.write();
    alice.now += 80 * 3_600_000;
    alice.reload();
    alice.settle();
    alice.advance();
    alice.settle();
    assert.equal(group.log.filter((it) => it.t === "msg").length, 1);
    assert.deepEqual(alice.outbox, []);
  });

  test("the end of the membership takes the row away, and a new invitation brings it back", () => {
    const { cluster, group, alice } = setUp();
    alice.settle();
    cluster.append(group, { t: "member", c: C, s: group.log.length + 1, ts: 1, u: "bob", who: "alice", role: null, why: "kick" });
    group.members = ["bob"];
    alice.settle();
    assert.deepEqual(alice.views.get("inbox"), []);
    say(cluster, group, "bob", "unseen");
    group.members = ["bob", "alice"];
    const s = group.log.length + 1;
    const joined = { t: "member", c: C, s, ts: 1, u: "bob", who: "alice", role: "member", why: "invite" } as const;
    group.log.push(joined);
    group.read.set("alice", s);
    cluster.push("alice", { t: "conv", ...cluster.snapshot(group, "alice"), events: [joined] });
    alice.settle();
    say(cluster, group, "bob", "seen");
    alice.settle();
    assert.equal(row(alice)?.unread, 1);
    assert.equal(shown(alice).at(-1), "seen");
  });

  test("a conversation brings its counts, and the events in it are not counted again", () => {
    const { cluster, alice } = setUp();
    alice.settle();
    const other = cluster.group("g_2", ["bob"]);
    for (const text of ["one", "two", "three"]) say(cluster, other, "bob", text);
    other.log.push({ t: "del", c: other.c, s: other.log.length + 1, ts: ++cluster.time, u: "bob", of: 2 });
    other.members.push("alice");
    const unread = () => (alice.views.get("inbox") as ConversationInfo[]).find((it) => it.c === other.c)?.unread;
    cluster.push("alice", { t: "conv", ...cluster.snapshot(other, "alice"), events: other.log });
    alice.settle();
    assert.equal(unread(), 2);
    say(cluster, other, "bob", "four");
    alice.settle();
    assert.equal(unread(), 3);
    // Counted by the server, which knows more than the events here.
    cluster.push("alice", { t: "conv", ...cluster.snapshot(other, "alice"), unread: 7, muted: true });
    alice.settle();
    assert.equal(unread(), 7);
  });

  test("another user on the same device finds nothing of the first one", () => {
    const { cluster, alice } = setUp();
    alice.settle();
    alice.change(C, { t: "send", b: { text: "secret" } });
    const mallory = new SteppedClient(cluster, "mallory", () => 0.5);
    for (const [key, value] of alice.disk) mallory.disk.set(key, value);
    mallory.reload();
    mallory.settle();
    assert.deepEqual(mallory.views.get("inbox"), []);
    assert.deepEqual(
      [...mallory.disk.keys()].filter((key) => key !== "session"),
      [],
    );
  });

  test("a conversation that begins in the middle of catching up is described before its messages count", () => {
    const { alice, cluster } = setUp(["status", "inbox", "outbox", "m/to:bob"]);
    while (!alice.sent.some(([, text]) => text.includes('"sync"'))) {
      alice.giveToken();
      alice.write();
      if (!alice.receive()) alice.transmit();
    }
    // The list was read without it, and the window of it is open.
    const direct = cluster.group(directId("alice", "bob"), ["bob", "alice"]);
    say(cluster, direct, "bob", "hi");
    alice.settle();
    const found = (alice.views.get("inbox") as ConversationInfo[]).find((it) => it.c === direct.c);
    assert.equal(found?.unread, 1);
    assert.deepEqual(
      alice.window("to:bob")?.messages.map((it) => it.b.text),
      ["hi"],
    );
  });

  test("a direct conversation begins with its first message", () => {
    const { cluster, alice } = setUp(["status", "inbox", "outbox", "m/to:carol"]);
    alice.settle();
    alice.change("to:carol", { t: "send", b: { text: "hello" } });
    alice.settle();
    const window = alice.window("to:carol");
    assert.deepEqual(
      window?.messages.map((it) => [it.b.text, it.state]),
      [["hello", "sent"]],
    );
    assert.equal([...cluster.conversations.keys()].filter((c) => c.startsWith("d_")).length, 1);
  });
});

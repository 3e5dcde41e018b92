// The client with its hosts: tabs that share a connection, a store that fails, a browser database.

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { directId } from "../../src/engine/ids.js";
import { type Live, Rookery, type RookeryOptions, type SocketConstructor, type Store } from "../../src/index.js";
import { indexedDb } from "../../src/indexeddb.js";
import { FakeCluster, type FakeSockets, fakeSockets } from "../../src/testing/index.js";
import { until } from "../integration/support.js";
import { FakeLocks, FakeTabs } from "./browser.js";

globalThis.IDBKeyRange = IDBKeyRange;
const C = "g_1";
const texts = (chat: Rookery) =>
  chat
    .conversation(C)
    .messages.get()
    .messages.map((it) => it.b.text);
const live = (chat: Rookery) => until(chat.status, (it) => it.phase === "live", "live");
/** Deadlines of seconds come at once. */
const soon = (fn: () => void, ms: number) => {
  const timer = setTimeout(fn, ms > 3_000 ? ms : 0);
  return () => clearTimeout(timer);
};
const look = (value: Live<unknown>) => value.subscribe(() => {});

describe("client", () => {
  const clients: Rookery[] = [];

  afterEach(async () => {
    for (const client of clients.splice(0)) await client.stop();
  });

  function chat(sockets: FakeSockets, options: Partial<RookeryOptions> = {}): Rookery {
    const made = new Rookery({ urls: ["ws://a"], token: () => "alice:0", tabs: "own", WebSocket: sockets.WebSocket, ...options });
    clients.push(made);
    return made;
  }

  function setUp(): { cluster: FakeCluster; sockets: FakeSockets } {
    const cluster = new FakeCluster();
    cluster.group(C, ["alice", "bob"]);
    return { cluster, sockets: fakeSockets(cluster) };
  }

  function shared(locks: FakeLocks, tabs: FakeTabs, store: Store): Partial<RookeryOptions> {
    return { tabs: "share", locks, channel: (name) => tabs.channel(name), store };
  }

  test("nothing is opened before start", () => {
    const { sockets } = setUp();
    chat(sockets).conversation(C).messages.get();
    assert.equal(sockets.opened(), 0);
  });

  test("every node is tried by the first kind of connection, then by the next", async () => {
    const { cluster, sockets } = setUp();
    const tried: string[] = [];
    const unable = class {
      onclose: ((event: never) => void) | null = null;
      constructor(url: string) {
        tried.push(url);
        setTimeout(() => this.onclose?.({ code: 1006, reason: "" } as never));
      }
      send(): void {}
      close(): void {}
    };
    const urls = ["ws://a", "ws://b"];
    const one = chat(sockets, {
      urls,
      random: () => 0,
      setTimer: soon,
      transports: ["ws", sockets.WebSocket],
      WebSocket: unable as unknown as SocketConstructor,
    });
    one.start();
    await live(one);
    assert.deepEqual([...tried].sort(), ["ws://a/v1/ws", "ws://b/v1/ws"]);
    assert.equal(sockets.opened(), 1);
    // What worked is no reason to stay with it: the first kind has another try.
    cluster.loseSessions();
    await until(one.status, () => tried.length === 3, "another try");
    await live(one);
  });

  test("five tabs share one connection and show the same", async () => {
    const { sockets } = setUp();
    const [locks, tabs, factory] = [new FakeLocks(), new FakeTabs(), new IDBFactory()];
    const all = Array.from({ length: 5 }, () => chat(sockets, shared(locks, tabs, indexedDb({ factory }))));
    for (const one of all) {
      look(one.conversation(C).messages);
      one.start();
    }
    for (const one of all) await live(one);
    assert.equal(sockets.open(), 1);
    assert.equal(all.filter((one) => one.status.get().leader).length, 1);
    const third = all[2] as Rookery;
    const { s } = await third.conversation(C).send({ text: "from the third" }).settled;
    assert.equal(s, 3);
    for (const one of all)
      await until(one.conversation(C).messages, () => texts(one).includes("from the third"), "the message in every tab");
  });

  test("when the leading tab goes, another goes on with its session and loses nothing", async () => {
    const { cluster, sockets } = setUp();
    const [locks, tabs, factory] = [new FakeLocks(), new FakeTabs(), new IDBFactory()];
    const dying = fakeSockets(cluster);
    const first = chat(dying, shared(locks, tabs, indexedDb({ factory })));
    first.start();
    await live(first);
    const second = chat(sockets, shared(locks, tabs, indexedDb({ factory })));
    second.start();
    await live(second);
    look(second.conversation(C).messages);
    await first.conversation(C).send({ text: "1" }).settled;
    // The page is closed: no farewell, and the lock is free.
    cluster.refuse = () => "unavailable";
    const waiting = second.conversation(C).send({ text: "2" });
    await waiting.stored;
    dying.kill();
    tabs.kill();
    locks.kill();
    cluster.refuse = () => undefined;
    await waiting.settled;
    await until(second.conversation(C).messages, () => texts(second).join() === "1,2", "both messages");
    assert.equal(second.status.get().leader, true);
  });

  test("without locks each tab has its own device", async () => {
    const { sockets } = setUp();
    const all = [chat(sockets), chat(sockets)];
    for (const one of all) one.start();
    for (const one of all) await live(one);
    assert.equal(sockets.open(), 2);
  });

  test("a loop over older pages leaves room for the connection that it waits for", async () => {
    const { cluster, sockets } = setUp();
    cluster.group(directId("alice", "bob"), ["alice", "bob"]);
    const one = chat(sockets);
    const { messages } = one.direct("bob");
    look(messages);
    one.start();
    // Without turns of the event loop in between no frame would ever come.
    for (let turns = 0; turns < 10_000 && !messages.get().atStart; turns++) await messages.older();
    assert.deepEqual([messages.get().loaded, messages.get().atStart], [true, true]);
  });

  test("a database that cannot be opened leaves a working client in memory", async () => {
    const { sockets } = setUp();
    const factory = {
      open: () => {
        throw new Error("private mode");
      },
    } as unknown as IDBFactory;
    const one = chat(sockets, { store: indexedDb({ factory }) });
    one.start();
    await live(one);
    assert.equal(one.status.get().store, "memory");
    await one.conversation(C).send({ text: "hi" }).settled;
  });

  test("a store that fails later does not lose what waits", async () => {
    const { sockets } = setUp();
    const store = indexedDb({ factory: new IDBFactory() });
    const one = chat(sockets, { store });
    one.start();
    await live(one);
    assert.equal(one.status.get().store, "durable");
    store.tx = () => Promise.reject(new Error("the disk is full"));
    const outgoing = one.conversation(C).send({ text: "hi" });
    await outgoing.stored;
    await outgoing.settled;
    assert.equal(one.status.get().store, "memory");
  });

  test("what was written offline is sent after a reload", async () => {
    const { cluster, sockets } = setUp();
    const factory = new IDBFactory();
    const offline = chat(sockets, { store: indexedDb({ factory }), token: () => new Promise<string>(() => {}) });
    offline.start();
    const all = ["1", "2", "3"].map((text) => offline.conversation(C).send({ text }));
    for (const one of all) await one.stored;
    await offline.stop();
    const again = chat(sockets, { store: indexedDb({ factory }) });
    again.start();
    await live(again);
    await until(again.outbox, (it) => it.length === 0, "an empty outbox");
    const log = cluster.conversations.get(C)?.log ?? [];
    assert.deepEqual(
      log.flatMap((it) => (it.t === "msg" ? [it.b.text] : [])),
      ["1", "2", "3"],
    );
  });

  test("signing out leaves nothing behind", async () => {
    const { sockets } = setUp();
    const store = indexedDb({ factory: new IDBFactory() });
    const ended: object[] = [];
    const one = chat(sockets, { store, logout: async (options) => void ended.push(options) });
    one.start();
    await live(one);
    await one.logout({ everywhere: true });
    assert.deepEqual(ended, [{ everywhere: true }]);
    assert.deepEqual(await store.list(""), []);
    assert.deepEqual(one.inbox.get(), []);
    assert.equal(sockets.open(), 0);
  });

  test("a database keeps entries, removes by prefix, and applies a batch whole", async () => {
    const store = indexedDb({ factory: new IDBFactory() });
    await store.tx([
      { put: "a/1", value: 1 },
      { put: "a/2", value: 2 },
      { put: "b/1", value: 3 },
    ]);
    assert.deepEqual(await store.list("a/"), [
      ["a/1", 1],
      ["a/2", 2],
    ]);
    await assert.rejects(
      store.tx([
        { put: "c", value: 1 },
        { put: "d", value: () => {} },
      ]),
    );
    assert.equal(await store.load("c"), undefined);
    await store.tx([{ drop: "a/" }]);
    await store.del("b/1");
    assert.deepEqual(await store.list(""), []);
    await store.close();
  });
});

// The hooks: strict mode, unmounting, rendering on a server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Window } from "happy-dom";
import { act, createElement, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { Rookery } from "../../src/index.js";
import {
  RookeryProvider,
  useConversation,
  useInbox,
  useMessages,
  useOutgoing,
  usePresence,
  useStatus,
  useTyping,
  useUnread,
} from "../../src/react.js";
import { FakeCluster, type FakeSockets, fakeSockets } from "../../src/testing/index.js";
import { until } from "../integration/support.js";

const C = "g_1";
const USERS = ["bob"];

function App(): ReturnType<typeof createElement> {
  const status = useStatus();
  const [conversation, info] = useConversation(C);
  const { messages } = useMessages(C);
  const presence = usePresence(USERS);
  const waiting = useOutgoing().length;
  const parts = [
    status.phase,
    useInbox().length,
    info?.kind,
    conversation.key,
    useTyping(C).length,
    useUnread(),
    useUnread(C),
    waiting,
    presence.bob?.state,
  ];
  return createElement(
    "p",
    null,
    parts.join(" "),
    messages.map((message) => createElement("b", { key: message.cid }, String(message.b.text))),
  );
}

function setUp(): { cluster: FakeCluster; sockets: FakeSockets; chat: Rookery } {
  const cluster = new FakeCluster();
  cluster.group(C, ["alice", "bob"]);
  const sockets = fakeSockets(cluster);
  const chat = new Rookery({ urls: ["ws://a"], token: () => "alice:0", tabs: "own", WebSocket: sockets.WebSocket });
  return { cluster, sockets, chat };
}

describe("react", () => {
  const window = new Window();

  before(() => {
    const page = { window, document: window.document, navigator: window.navigator, IS_REACT_ACT_ENVIRONMENT: true };
    for (const [name, value] of Object.entries(page)) Object.defineProperty(globalThis, name, { value, configurable: true });
  });

  after(() => window.happyDOM.close());

  test("strict mode makes one connection, and unmounting ends it", async () => {
    const { createRoot } = await import("react-dom/client");
    const { chat, sockets } = setUp();
    const place = window.document.createElement("div");
    const root = createRoot(place as unknown as Element);
    await act(async () => {
      root.render(createElement(StrictMode, null, createElement(RookeryProvider, { client: chat }, createElement(App))));
    });
    await act(async () => {
      await until(chat.status, (it) => it.phase === "live", "live");
      await chat.conversation(C).send({ text: "hello" }).settled;
    });
    assert.equal(sockets.opened(), 1);
    assert.match(place.textContent, /^live 1 group g_1 0 0 0 0/);
    assert.equal(place.querySelector("b")?.textContent, "hello");
    await act(async () => root.unmount());
    await until(chat.status, (it) => it.phase === "offline", "offline");
    assert.equal(sockets.open(), 0);
  });

  test("a server renders the initial state and connects to nothing", () => {
    const { chat, sockets } = setUp();
    const html = renderToString(createElement(RookeryProvider, { client: chat }, createElement(App)));
    assert.match(html, /offline 0/);
    assert.equal(sockets.opened(), 0);
  });
});

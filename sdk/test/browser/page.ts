// The page of the browser tests: one client, in the hands of the test.

import { Rookery, type RookeryOptions } from "../../src/index.js";
import { indexedDb } from "../../src/indexeddb.js";
import { Login } from "../../src/login.js";
import { longPoll, sse } from "../../src/poll.js";

const query = new URLSearchParams(location.search);
const user = query.get("user") ?? "alice";
const node = query.get("node") ?? "";
const login = new Login({ url: node, store: indexedDb({ name: "rookery-login" }) });
const token: RookeryOptions["token"] = query.has("login") ? login.token : () => `dev:${user}`;
const kinds = { ws: "ws" as const, sse: sse(), poll: longPoll() };
const transports = [kinds[(query.get("by") ?? "ws") as keyof typeof kinds]];
const chat = new Rookery({ urls: [node], token, store: indexedDb(), transports });

Object.assign(globalThis, { chat, login, notes: chat.direct(query.get("peer") ?? user) });
// The window of the notes is open in every tab.
(globalThis as unknown as { notes: ReturnType<Rookery["direct"]> }).notes.messages.subscribe(() => {});
if (!query.has("login")) chat.start();

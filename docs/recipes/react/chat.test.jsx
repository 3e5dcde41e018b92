// The component against a running node, in Node, without a browser: what one user writes is shown to the other.
//
//   node chat.test.mjs http://127.0.0.1:3000

import { Window } from "happy-dom";
import WebSocket from "ws";
import { Rookery } from "@rookery/client";
import { Chat } from "./Chat.jsx";

const page = new Window();
for (const [name, value] of Object.entries({ window: page, document: page.document, navigator: page.navigator }))
  Object.defineProperty(globalThis, name, { value, configurable: true });
// Behind the document, which it looks for when it is loaded.
const { createRoot } = await import("react-dom/client");

/** Mounts the chat of a user. */
async function open(user) {
  const access = async () => (await fetch(`${process.argv[2]}/chat/access?user=${user}`, { method: "POST" })).json();
  const { url, c } = await access();
  const client = new Rookery({ urls: [url], token: async () => (await access()).token, WebSocket });
  const place = page.document.createElement("div");
  const root = createRoot(place);
  root.render(<Chat client={client} room={c} />);
  return { place, root };
}

/** Waits until the chat shows a text. */
async function shows({ place }, text) {
  for (const end = Date.now() + 60_000; !place.textContent.includes(text); ) {
    if (Date.now() > end) throw new Error(`${JSON.stringify(text)} is not shown: ${place.innerHTML}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function write({ place }, text) {
  place.querySelector("input").value = text;
  place.querySelector("form").dispatchEvent(new page.Event("submit", { bubbles: true, cancelable: true }));
}

const [alice, bob] = await Promise.all([open("alice"), open("bob")]);
await shows(alice, "connected as alice");
await shows(bob, "connected as bob");
write(alice, "Is my order on its way?");
await shows(bob, "alice: Is my order on its way?");
await shows(alice, "Is my order on its way? read");
write(bob, "It left this morning.");
await shows(alice, "bob: It left this morning.");
for (const { root } of [alice, bob]) root.unmount();
console.log("both users have seen both messages");

// Client: shows the messages of a conversation, and sends each line of the keyboard to it.
//
//   CHAT_URL=… node client.mjs ACCESS.json
//
// ACCESS.json is what backend.mjs printed. In a browser the same code runs without `ws`, with `indexedDb()` as its store, and
// with the hooks of `@rookery/client/react` in place of `subscribe`.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { Rookery } from "@rookery/client";
import WebSocket from "ws";

// The user, a token and the conversation. An application asks its back end; the client asks again before the token expires.
const access = async () => JSON.parse(await readFile(process.argv[2], "utf8"));

const chat = new Rookery({ urls: [process.env.CHAT_URL], token: async () => (await access()).token, WebSocket });
chat.status.subscribe(() => {
  const { phase, user, why } = chat.status.get();
  if (phase === "live") console.log(`connected as ${user}`);
  if (phase === "refused") console.log(`! ${why}`);
});
chat.start();

const { user, c } = await access();
const room = chat.conversation(c);
let shown = 0;
room.messages.subscribe(() => {
  for (const { s = 0, u, b } of room.messages.get().messages) {
    if (s <= shown) continue;
    console.log(`${u}: ${b.text}`);
    shown = s;
    if (u !== user) room.read();
  }
});

for await (const text of createInterface({ input: process.stdin })) room.send({ text });
// The end of the keyboard ends the client once everything is on the disks of a majority.
while (chat.outbox.get().length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
await chat.stop();

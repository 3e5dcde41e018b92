// Back end of an application: registers users, gives them a conversation, and mints a token for one of them.
//
//   CHAT_URL=… CHAT_SECRET=… CHAT_API_KEY=… node backend.mjs USER OTHER...
//
// It prints what the application hands to the device of USER, who is signed in there: the user, a token and the conversation.

import { createHash } from "node:crypto";
import { mintToken, ServerApi } from "@rookery/client/server";

const people = process.argv.slice(2);
if (people.length < 2) {
  console.error("usage: backend.mjs USER OTHER...");
  process.exit(1);
}

const server = new ServerApi({ urls: [process.env.CHAT_URL], key: process.env.CHAT_API_KEY });
for (const verdict of await server.putUsers(people.map((u) => ({ u, name: u[0].toUpperCase() + u.slice(1) }))))
  if (!verdict.ok) throw new Error(`${verdict.u}: ${verdict.err}: ${verdict.msg}`);

// The same people get the same conversation, however often and from whichever of them this is called.
const [owner, ...members] = [...people].sort();
const room = createHash("sha256").update([owner, ...members].join("\0")).digest("hex").slice(0, 32);
const { c } = await server.create({ kind: "group", owner, members, title: "Order 1001", cid: `order-${room}` });

// A JWT that every node accepts: HS256 with the secret of `auth.secret`, the user in `sub`, an end in `exp`.
const user = people[0];
const token = await mintToken({ algorithm: "HS256", secret: process.env.CHAT_SECRET }, { user, expiresIn: 900 });
console.log(JSON.stringify({ user, token, c }));

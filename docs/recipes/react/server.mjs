// Back end of the application: serves the page, registers its users, and hands each one who is signed in a token.
//
//   CHAT_URL=… CHAT_SECRET=… CHAT_API_KEY=… node server.mjs PORT USER...

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { mintToken, ServerApi } from "@rookery/client/server";

const [port, ...people] = process.argv.slice(2);
const url = process.env.CHAT_URL;
const api = new ServerApi({ urls: [url], key: process.env.CHAT_API_KEY });
for (const verdict of await api.putUsers(people.map((u) => ({ u, name: u[0].toUpperCase() + u.slice(1) }))))
  if (!verdict.ok) throw new Error(`${verdict.u}: ${verdict.err}: ${verdict.msg}`);
// The `cid` makes a repeated start find the conversation that exists.
const [owner, ...members] = people;
const { c } = await api.create({ kind: "group", owner, members, title: "Order 1002", cid: "order-1002" });

/** The user who is signed in. An application takes it from its own session, never from the address. */
const signedIn = (request) => people.find((user) => request.url.endsWith(`?user=${user}`));

const FILES = { "/": ["index.html", "text/html"], "/app.js": ["app.js", "text/javascript"] };

async function answer(request, response) {
  const path = request.url.split("?")[0];
  if (request.method === "POST" && path === "/chat/access") {
    const user = signedIn(request);
    if (!user) return response.writeHead(401).end();
    const token = await mintToken({ algorithm: "HS256", secret: process.env.CHAT_SECRET }, { user, expiresIn: 900 });
    return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ url, user, token, c }));
  }
  const [file, type] = FILES[path] ?? [];
  if (!file) return response.writeHead(404).end();
  return response.writeHead(200, { "content-type": type }).end(await readFile(file));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(Number(port), "127.0.0.1");

// Receiver of webhooks: learns of messages for users who are away, to send them a push notification.
//
//   CHAT_WEBHOOK_SECRET=… node push.mjs PORT
//
// The node posts to `webhook.url`, signed with `webhook.secret` as Standard Webhooks specifies.

import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { verifyWebhook, WebhookError } from "@rookery/client/server";

// Ids of the posts that were handled: each is posted at least once. A database replaces this in an application.
const handled = new Set();

async function answer(request) {
  // The body as it came, before any parser.
  const body = await text(request);
  let post;
  try {
    post = await verifyWebhook({ secret: process.env.CHAT_WEBHOOK_SECRET, headers: request.headers, body });
  } catch (error) {
    if (error instanceof WebhookError) return 401;
    throw error;
  }
  if (post.type === "message" && !handled.has(post.id)) {
    // Here the application calls its push service.
    for (const { u, muted } of post.offline) if (!muted) console.log(`push to ${u}: ${post.message.u}: ${post.message.b.text}`);
    handled.add(post.id);
  }
  // Only now: a node repeats what is not answered with 2xx.
  return 204;
}

const server = createServer(async (request, response) => {
  try {
    response.writeHead(await answer(request)).end();
  } catch (error) {
    console.error(error);
    response.writeHead(500).end();
  }
});
server.listen(Number(process.argv[2]), "127.0.0.1");

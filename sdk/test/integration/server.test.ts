// What back ends make and verify, against a real node.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { eventually, withNode } from "../../scripts/node.js";
import { type MessageWebhook, mintToken, type TokenKey, verifyWebhook } from "../../src/server.js";
import { client, live, until } from "./support.js";

describe("a back end", { timeout: 300_000 }, () => {
  async function signIn(url: string, key: TokenKey): Promise<void> {
    const claims = { user: "alice", issuer: "shop", audience: "chat" };
    const alice = client(url, "", { token: () => mintToken(key, claims) });
    await live(alice);
    assert.equal(alice.status.get().user, "alice");
    await alice.stop();
    const stranger = client(url, "", { token: () => mintToken(key, { ...claims, audience: "another" }) });
    stranger.start();
    await until(stranger.status, (it) => it.phase === "refused", "the refusal of a token for something else");
    await stranger.stop();
  }

  test("a node accepts its HS256 tokens", async () => {
    const secret = "0123456789abcdef0123456789abcdef";
    await withNode(
      (url) => signIn(url, { algorithm: "HS256", secret }),
      [`auth.secret=${secret}`, "auth.issuer=shop", "auth.audience=chat"],
    );
  });

  test("a node accepts its EdDSA tokens", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const folder = await mkdtemp(join(tmpdir(), "rookery-sdk-"));
    const file = join(folder, "public.pem");
    await writeFile(file, publicKey.export({ type: "spki", format: "pem" }));
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    await withNode(
      (url) => signIn(url, { algorithm: "EdDSA", privateKey: pem }),
      [`auth.public_key_file=${file}`, "auth.algorithm=EdDSA", "auth.issuer=shop", "auth.audience=chat"],
    );
    await rm(folder, { recursive: true });
  });

  test("the webhook of a node is verified", async () => {
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const posts: MessageWebhook[] = [];
    const refused: unknown[] = [];
    const receiver = createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const { headers } = request;
      try {
        posts.push((await verifyWebhook({ secret, headers, body: Buffer.concat(pieces) })) as MessageWebhook);
      } catch (error) {
        refused.push(error);
      }
      response.end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    const { port } = receiver.address() as AddressInfo;
    try {
      await withNode(
        async (url) => {
          const alice = client(url, "alice");
          await live(alice);
          await alice.direct("bob").send({ text: "hi" }).settled;
          await eventually(() => posts.length + refused.length > 0, "the post");
          assert.deepEqual(refused, []);
          assert.deepEqual(
            [posts[0]?.type, posts[0]?.kind, posts[0]?.message.b, posts[0]?.offline[0]?.u],
            ["message", "direct", { text: "hi" }, "bob"],
          );
          await alice.stop();
        },
        [`webhook.url=http://127.0.0.1:${port}/`, `webhook.secret=${secret}`],
      );
    } finally {
      receiver.close();
    }
  });
});

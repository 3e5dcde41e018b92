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
import {
  ChatError,
  type MessageWebhook,
  mintToken,
  ServerApi,
  type TokenKey,
  type UserExportLine,
  verifyWebhook,
} from "../../src/server.js";
import { client, live, texts, until } from "./support.js";

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
      [`auth.key_file=${file}`, "auth.algorithm=EdDSA", "auth.issuer=shop", "auth.audience=chat"],
    );
    await rm(folder, { recursive: true });
  });

  const ADMIN = "an-operator-of-this-node";

  /** Makes a key, as an operator does. */
  async function makeKey(url: string, scopes: string[]): Promise<string> {
    const answer = await fetch(`${url}/v1/admin/keys`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
      body: JSON.stringify({ name: "shop", scopes }),
    });
    assert.equal(answer.status, 201);
    return ((await answer.json()) as { key: string }).key;
  }

  test("the server API: profiles, conversations, members, messages, presence and access, by a key", async () => {
    await withNode(
      async (url) => {
        // The first address is of nobody: the request goes on to the next.
        const urls = ["http://127.0.0.1:9", url];
        const key = await makeKey(url, ["users", "conversations", "messages", "read"]);
        const server = new ServerApi({ urls, key });

        const written = await server.putUsers([{ u: "ann", name: "Ann", avatar: "/ann.png", data: { plan: "pro" } }, { u: "bob" }]);
        assert.deepEqual(written, [
          { u: "ann", ok: true },
          { u: "bob", ok: true },
        ]);
        const [ann, eve] = await server.users(["ann", "eve"]);
        assert.deepEqual([ann?.u, ann?.name, ann?.avatar, ann?.data, ann?.deactivated], ["ann", "Ann", "/ann.png", { plan: "pro" }, false]);
        assert.deepEqual([eve?.u, eve?.ver], ["eve", 0]);

        const made = { kind: "group", owner: "ann", members: ["bob"], title: "Order 7", data: { kind: "order" }, cid: "order-7" } as const;
        const { c, kind, data } = await server.create({ ...made, members: [...made.members] });
        assert.deepEqual([kind, data], ["group", { kind: "order" }]);
        assert.equal((await server.create({ ...made, members: [...made.members] })).c, c, "the same cid is the same conversation");

        assert.deepEqual(await server.putMembers(c, [{ u: "carl" }, { u: "bob", role: "admin" }]), [
          { u: "carl", ok: true },
          { u: "bob", ok: true },
        ]);
        assert.deepEqual(
          (await server.members(c)).map((it) => [it.u, it.role]),
          [
            ["ann", "owner"],
            ["bob", "admin"],
            ["carl", "member"],
          ],
        );
        assert.deepEqual(await server.removeMembers(c, ["carl"]), [{ u: "carl", ok: true }]);
        assert.equal((await server.conversation(c)).title, "Order 7");

        const bob = client(url, "bob");
        await live(bob);
        const { messages } = bob.conversation(c);
        const end = messages.subscribe(() => {});
        const shipped = { c, as: "system", b: { text: "shipped" }, cid: "shipped-7" };
        const ack = await server.send(shipped);
        const again = await server.send(shipped);
        assert.deepEqual([again.s, again.dup], [ack.s, true]);
        await server.send({ c, as: "ann", b: { text: "thanks" }, mentions: ["bob"] });
        const { messages: shown } = await until(messages, (it) => it.messages.length === 2, "both messages");
        assert.deepEqual(
          shown.map((it) => [it.u, it.b.text, it.mentions]),
          [
            ["system", "shipped", []],
            ["ann", "thanks", ["bob"]],
          ],
        );
        assert.deepEqual(texts(shown), ["shipped", "thanks"]);
        await assert.rejects(server.send({ c, as: "carl", b: { text: "?" } }), { name: "ChatError", code: "not_member" });

        await eventually(async () => (await server.presence(["bob"]))[0]?.state === "online", "bob online");
        assert.equal((await server.presence(["ann"]))[0]?.state, "offline");

        const gone = until(bob.status, (it) => it.phase === "refused", "the end of the session");
        await server.deactivate("bob");
        await gone;
        assert.equal((await server.users(["bob"]))[0]?.deactivated, true);
        await server.reactivate("bob");
        await bob.stop();
        await live(bob);
        await server.disconnect("bob");
        await until(bob.status, (it) => it.phase !== "live", "the end of a connection");
        await server.revoke("bob", Math.floor(Date.now() / 1_000));
        end();
        await bob.stop();

        const reader = new ServerApi({ urls: [url], key: await makeKey(url, ["read"]) });
        await assert.rejects(reader.putUsers([{ u: "ann" }]), (error) => error instanceof ChatError && error.code === "forbidden");
        assert.equal((await reader.conversation(c)).c, c);
        const stranger = new ServerApi({ urls: [url], key: "rook_aaaaaaaaaaaaaaaa_nonsense" });
        await assert.rejects(stranger.conversation(c), { code: "unauthenticated" });
      },
      [`server.admin_token=${ADMIN}`],
    );
  });

  test("a user is exported and erased, by a key", async () => {
    await withNode(
      async (url) => {
        const server = new ServerApi({ urls: [url], key: await makeKey(url, ["users", "conversations", "messages", "erase"]) });
        await server.putUsers([{ u: "ben", name: "Ben" }, { u: "ann" }]);
        const { c } = await server.create({ kind: "group", owner: "ann", members: ["ben"], cid: "order-8" });
        for (const text of ["one", "two"]) await server.send({ c, as: "ben", b: { text } });
        await server.send({ c, as: "ann", b: { text: "of another" } });

        const lines: UserExportLine[] = [];
        for await (const line of server.export("ben")) lines.push(line);
        const [user] = lines;
        assert.deepEqual(user?.t === "user" && [user.u, user.name, user.deactivated], ["ben", "Ben", false]);
        assert.deepEqual(
          lines.map((line) => (line.t === "msg" ? line.b.text : line.t)),
          ["user", "membership", "one", "two", "end"],
        );
        assert.deepEqual(lines.at(-1), { t: "end", lines: 4, memberships: 1, events: 2 });

        const proof = await server.erase("ben", "delete");
        assert.deepEqual([proof.u, proof.messages, proof.state], ["ben", "delete", "done"]);
        assert.equal(
          proof.shards.reduce((total, shard) => total + shard.messages, 0),
          2,
        );
        assert.deepEqual(await server.erase("ben", "delete"), proof, "a repetition is the same job");
        assert.deepEqual(await server.job(proof.job), proof);
        await assert.rejects(server.erase("ben", "keep-anonymous"), { code: "conflict" });
        await assert.rejects(server.export("erased_abc").next(), { code: "bad_request" });
      },
      [`server.admin_token=${ADMIN}`],
    );
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

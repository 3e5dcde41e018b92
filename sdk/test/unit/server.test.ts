// For back ends: requests that are repeated, tokens, signatures of webhooks.

import assert from "node:assert/strict";
import { createHmac, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { after, describe, test } from "node:test";
import { ChatError, mintToken, ServerApi, verifyWebhook, WebhookError } from "../../src/server.js";

const part = (token: string, i: number) => JSON.parse(Buffer.from(token.split(".")[i] ?? "", "base64url").toString());

describe("tokens", () => {
  const secret = "0123456789abcdef0123456789abcdef";

  test("HS256 is the HMAC of header and claims", async () => {
    const claims = { user: "älice", expiresIn: 60, issuer: "shop", audience: "chat", claims: { plan: "pro" } };
    const token = await mintToken({ algorithm: "HS256", secret }, claims, 1_767_225_600_500);
    assert.deepEqual(part(token, 0), { alg: "HS256", typ: "JWT" });
    assert.deepEqual(part(token, 1), {
      plan: "pro",
      sub: "älice",
      iat: 1_767_225_600,
      exp: 1_767_225_660,
      iss: "shop",
      aud: "chat",
    });
    const [head, body, signature] = token.split(".");
    assert.equal(signature, createHmac("sha256", secret).update(`${head}.${body}`).digest("base64url"));
  });

  test("EdDSA is verified by the public key, and names its key", async () => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const token = await mintToken({ algorithm: "EdDSA", privateKey: pem, kid: "k1" }, { user: "alice" });
    assert.deepEqual(part(token, 0), { alg: "EdDSA", typ: "JWT", kid: "k1" });
    const [head, body, signature = ""] = token.split(".");
    const signed = Buffer.from(`${head}.${body}`);
    assert.ok(
      verify(null, signed, createPublicKey(publicKey.export({ type: "spki", format: "pem" })), Buffer.from(signature, "base64url")),
    );
  });

  test("a short secret is refused before a node refuses each token", async () => {
    await assert.rejects(mintToken({ algorithm: "HS256", secret: "short" }, { user: "alice" }), /32 bytes/);
  });
});

describe("webhooks", () => {
  // The test vector of Standard Webhooks.
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const body = '{"test": 2432232314}';
  const now = 1_614_265_330_000;
  const headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };

  test("a post is verified, with the headers of fetch and of Node", async () => {
    assert.deepEqual(await verifyWebhook({ secret, headers, body }, now), { test: 2432232314 });
    const several = new Headers({ ...headers, "webhook-signature": `v1,AAAA v2,x ${headers["webhook-signature"]}` });
    assert.deepEqual(await verifyWebhook({ secret, headers: several, body: Buffer.from(body) }, now), { test: 2432232314 });
  });

  test("another body, another secret, another time and no signature are refused", async () => {
    const other = `whsec_${Buffer.from("another secret of 24 byte").toString("base64")}`;
    const { "webhook-signature": _, ...unsigned } = headers;
    for (const request of [
      { secret, headers, body: `${body} ` },
      { secret: other, headers, body },
      { secret, headers: { ...headers, "webhook-timestamp": "1614265331" }, body },
      { secret, headers: { ...headers, "webhook-signature": "v1,not base64" }, body },
      { secret, headers: unsigned, body },
    ]) {
      await assert.rejects(verifyWebhook(request, now), WebhookError);
    }
    await assert.rejects(verifyWebhook({ secret, headers, body }, now + 301_000), /too old/);
    await assert.rejects(verifyWebhook({ secret, headers: { ...headers, "webhook-timestamp": "soon" }, body }, now), /too old/);
  });
});

describe("server API", () => {
  const requests: { url: string; method: string; body: { cid?: string }; auth: string }[] = [];
  let answers: (number | undefined)[] = [];
  const node = createServer(async (request, response) => {
    requests.push({
      url: request.url ?? "",
      method: request.method ?? "",
      body: await json(request),
      auth: request.headers.authorization ?? "",
    });
    const status = answers.shift();
    if (status === undefined) return request.socket.destroy();
    const refusal = { code: status === 503 ? "unavailable" : "not_member", detail: "no", ...(status === 503 ? { retry_ms: 1 } : {}) };
    response.writeHead(status, { "content-type": "application/json" });
    return response.end(JSON.stringify(status < 400 ? { c: "g_1", cid: "x", s: 7, items: [{ u: "bob", ok: true }] } : refusal));
  });
  after(() => node.close());

  async function api(...next: (number | undefined)[]): Promise<ServerApi> {
    if (!node.listening) await new Promise<void>((resolve) => node.listen(0, "127.0.0.1", resolve));
    answers = next;
    requests.length = 0;
    const url = `http://127.0.0.1:${(node.address() as AddressInfo).port}`;
    return new ServerApi({ urls: [url, `${url}/`], key: "rook_1_2" });
  }

  test("a temporary refusal and a lost answer repeat the request with the same key", async () => {
    const server = await api(503, undefined, 201);
    const ack = await server.send({ as: "alice", c: "g_1", b: { text: "hi" } });
    assert.equal(ack.s, 7);
    assert.equal(requests.length, 3);
    const [first, ...others] = requests;
    assert.deepEqual([first?.method, first?.url, first?.auth], ["POST", "/v1/server/messages", "Bearer rook_1_2"]);
    assert.match(first?.body.cid ?? "", /^[0-9A-Z]{26}$/);
    for (const other of others) assert.deepEqual(other, first);
  });

  test("a final refusal is thrown at once", async () => {
    const server = await api(403, 201);
    const refused = server.send({ as: "alice", c: "g_1", b: {} });
    await assert.rejects(refused, (error: unknown) => error instanceof ChatError && error.code === "not_member" && !error.temporary);
    assert.equal(requests.length, 1);
  });

  test("attempts have an end", async () => {
    const server = await api(503, 503, 503, 503, 503, 201);
    await assert.rejects(server.presence(["bob"]), (error: unknown) => error instanceof ChatError && error.temporary);
    assert.equal(requests.length, 5);
  });

  test("bulk requests return the verdicts", async () => {
    const server = await api(200, 200);
    assert.deepEqual(await server.putMembers("g_1", [{ u: "bob", role: "admin" }]), [{ u: "bob", ok: true }]);
    assert.deepEqual(await server.removeMembers("g_1", ["bob"]), [{ u: "bob", ok: true }]);
    assert.deepEqual(
      requests.map(({ method, url, body }) => [method, url, body]),
      [
        ["PUT", "/v1/server/conversations/g_1/members", { members: [{ u: "bob", role: "admin" }] }],
        ["DELETE", "/v1/server/conversations/g_1/members", { members: [{ u: "bob" }] }],
      ],
    );
  });
});

async function json(request: IncomingMessage): Promise<{ cid?: string }> {
  let text = "";
  for await (const piece of request) text += piece;
  return text ? JSON.parse(text) : {};
}

// The files of the page, as a node hands them out.

import assert from "node:assert/strict";
import { get } from "node:http";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { startCluster } from "./support.mjs";

describe("serving", { timeout: 600_000 }, () => {
  let cluster;
  /** Asks the first node; the answer is as it comes over the wire. */
  const ask = (path, headers = {}) =>
    new Promise((resolve, reject) => {
      get(cluster.nodes[0].url + path, { headers }, (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }));
      }).on("error", reject);
    });

  before(async () => {
    cluster = await startCluster();
  });

  after(() => cluster?.stop());

  test("the HTML page comes with its policy, and is checked at each use", async () => {
    const { status, headers, body } = await ask("/");
    assert.equal(status, 200);
    assert.match(headers["content-type"], /^text\/html/);
    assert.equal(headers["content-encoding"], undefined);
    assert.equal(headers["cache-control"], "no-cache");
    const policy = headers["content-security-policy"];
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
    for (const { url } of cluster.nodes.slice(1)) assert.ok(policy.includes(` ${url} ${url.replace("http", "ws")}`), `${url} in ${policy}`);
    assert.match(body.toString(), /<div id="app">/);
    const again = await ask("/", { "if-none-match": headers.etag });
    assert.equal(again.status, 304);
    assert.equal(again.body.length, 0);
  });

  test("scripts and styles come compressed, and are kept for ever", async () => {
    const { body } = await ask("/");
    const names = [...body.toString().matchAll(/"(\/assets\/[^"]+)"/g)].map((match) => match[1]);
    assert.ok(names.length >= 3, String(names));
    for (const name of names) {
      const { status, headers, body } = await ask(name, { "accept-encoding": "gzip" });
      assert.equal(status, 200, name);
      assert.equal(headers["content-encoding"], "gzip");
      assert.equal(headers.vary?.includes("Accept-Encoding"), true);
      assert.match(headers["cache-control"], /immutable/);
      assert.ok(gunzipSync(body).length > 100);
      assert.equal((await ask(name, { "accept-encoding": "gzip, br" })).headers["content-encoding"], "br");
    }
  });

  test("an unknown file is not found, and is no page", async () => {
    for (const path of ["/nope.js", "/assets/nope.js", "/assets/"]) {
      const { status, headers } = await ask(path);
      assert.equal(status, 404, path);
      assert.equal(headers["content-type"], "application/problem+json");
    }
  });

  test("the page is told the other nodes, and the cluster prints its address first", async () => {
    const { body } = await ask("/config.json");
    const { nodes, dev_tokens, login } = JSON.parse(body);
    assert.deepEqual(
      nodes,
      cluster.nodes.slice(1).map((node) => node.url),
    );
    assert.deepEqual([dev_tokens, login], [true, true]);
    assert.match(cluster.output(), new RegExp(`^Open ${cluster.nodes[0].url}/ in a browser`));
  });
});

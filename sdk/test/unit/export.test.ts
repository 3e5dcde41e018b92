// For back ends: the export and the erasure of users, and nodes that are too slow.

import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, test } from "node:test";
import { ChatError, RequestTimeout, ServerApi, type ServerApiOptions, type UserExportLine } from "../../src/server.js";

const nodes: Server[] = [];

async function node(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  nodes.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const api = (urls: string[], options: Partial<ServerApiOptions> = {}) => new ServerApi({ urls, key: "rook_1_2", ...options });

afterEach(async () => {
  for (const server of nodes.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const HEAD = { t: "user", u: "bén", ts: 1, group_invite: "all", deactivated: false, before: 0 };
const BLOCK = { t: "block", u: "eve" };
const text = (...lines: object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");
const end = (lines: number) => ({ t: "end", lines, memberships: 0, events: 0 });

async function exported(server: ServerApi): Promise<UserExportLine[]> {
  const lines: UserExportLine[] = [];
  for await (const line of server.export("bén")) lines.push(line);
  return lines;
}

const cutShort = (error: unknown) => error instanceof ChatError && error.code === "incomplete" && error.temporary;

describe("the export of a user", () => {
  test("its lines are put together from the pieces of the body, up to the counts", async () => {
    const asked: unknown[] = [];
    const url = await node((request, response) => {
      asked.push([request.method, request.url, request.headers.authorization]);
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      const body = Buffer.from(text(HEAD, BLOCK, end(2)));
      // In the middle of a letter of two bytes.
      const at = body.indexOf("é") + 1;
      response.write(body.subarray(0, at));
      setTimeout(() => response.end(body.subarray(at)), 20);
    });
    assert.deepEqual(await exported(api([url])), [HEAD, BLOCK, end(2)]);
    assert.deepEqual(asked, [["POST", "/v1/server/users/b%C3%A9n/export", "Bearer rook_1_2"]]);
  });

  test("a refusal for a moment is asked again, a final one is thrown", async () => {
    const statuses = [503, 200, 404];
    const url = await node((_, response) => {
      const status = statuses.shift() ?? 500;
      response.writeHead(status, { "content-type": "application/json" });
      if (status === 200) response.end(text(HEAD, end(1)));
      else response.end(JSON.stringify({ code: "refused", detail: "no", ...(status === 503 ? { retry_ms: 1 } : {}) }));
    });
    assert.equal((await exported(api([url]))).length, 2);
    await assert.rejects(exported(api([url])), { name: "ChatError", code: "refused", temporary: false });
    assert.deepEqual(statuses, []);
  });

  test("an end without the counts, with others, and a lost connection are incomplete", async () => {
    const without = await node((_, response) => response.end(text(HEAD, BLOCK)));
    const others = await node((_, response) => response.end(text(HEAD, BLOCK, end(1))));
    const half = await node((_, response) => response.end(text(HEAD, BLOCK, end(2)).slice(0, -8)));
    const lost = await node((_, response) => {
      response.write(text(HEAD), () => response.destroy());
    });
    for (const url of [without, others, half, lost]) {
      const lines: UserExportLine[] = [];
      const reading = (async () => {
        for await (const line of api([url]).export("bén")) lines.push(line);
      })();
      await assert.rejects(reading, cutShort);
      assert.deepEqual(lines[0], HEAD, "what came before is handed out");
    }
  });

  test("who has enough ends the request", async () => {
    let closed: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const url = await node((_, response) => {
      response.write(text(HEAD, BLOCK));
      response.on("close", closed);
    });
    for await (const line of api([url]).export("bén")) {
      assert.equal(line.t, "user");
      break;
    }
    await gone;
  });

  test("a body that stops is given up", async () => {
    const url = await node((_, response) => response.write(text(HEAD)));
    await assert.rejects(exported(api([url], { timeoutMs: 50 })), RequestTimeout);
  });
});

describe("the erasure of a user", () => {
  const job = (state: string) => ({ job: "j1", kind: "erase", u: "ben", messages: "delete", state, started: 1, shards: [] });

  /** A node on which the job is done at the `looks`-th look. */
  function eraser(looks: number, asked: string[] = []): Promise<string> {
    return node(async (request, response) => {
      let body = "";
      for await (const piece of request) body += piece;
      asked.push(`${request.method} ${request.url} ${body}`.trim());
      const begun = request.method === "POST";
      response.writeHead(begun ? 202 : 200, { "content-type": "application/json" });
      const running = asked.length <= looks;
      response.end(JSON.stringify(begun ? { job: "j1" } : job(running ? "running" : "done")));
    });
  }

  test("is begun once, and waited for", async () => {
    const asked: string[] = [];
    const server = api([await eraser(2, asked)]);
    assert.deepEqual(await server.erase("ben", "delete"), job("done"));
    const look = "GET /v1/server/jobs/j1";
    assert.deepEqual(asked, ['POST /v1/server/users/ben/erase {"messages":"delete"}', look, look]);
    assert.equal((await server.job("j1")).state, "done");
  });

  test("the wait ends with its signal", async () => {
    const stop = new AbortController();
    const asked: string[] = [];
    const server = api([await eraser(Number.POSITIVE_INFINITY, asked)]);
    const waiting = server.erase("ben", "keep-anonymous", { signal: stop.signal });
    while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
  });
});

describe("a node that is too slow", () => {
  const silent = () => {};

  test("is given up for the next one", async () => {
    const quick = await node((_, response) => response.end('{"items":[]}'));
    const answers = [await node(silent), await node((_, response) => response.write('{"items":'))];
    for (const slow of answers) assert.deepEqual(await api([slow, quick], { timeoutMs: 200 }).presence(["bob"]), []);
  });

  test("fails the request, by an error of its own, after the last attempt", async () => {
    const attempts: AbortSignal[] = [];
    // Not even a fetch that pays no heed to its signal holds the request up.
    const fetch = (_: unknown, { signal }: RequestInit = {}) => {
      attempts.push(signal as AbortSignal);
      return new Promise<Response>(() => {});
    };
    const waiting = api(["http://a"], { timeoutMs: 5, fetch }).conversation("g_1");
    await assert.rejects(waiting, (error) => error instanceof RequestTimeout && /http:\/\/a within 5 ms/.test(error.message));
    assert.deepEqual(
      attempts.map((it) => it.aborted),
      [true, true, true, true, true],
    );
  });
});

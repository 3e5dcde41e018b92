// The fallbacks as a WebSocket: what they ask for, what they say to the client, and in which order.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { longPoll, sse } from "../../src/poll.js";

interface Sent {
  method: string;
  path: string;
  body: { [field: string]: unknown };
  headers: Record<string, string>;
  answer(status: number, body?: object): void;
  fail(): void;
}

/** A socket over requests that the test answers. */
class World {
  readonly requests: Sent[] = [];
  readonly frames: { t: string; id?: number; [field: string]: unknown }[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  readonly stream = new TransformStream<Uint8Array, Uint8Array>();
  private readonly writer = this.stream.writable.getWriter();
  readonly socket;

  /** A world whose connection has said its hello, which comes by a timer: no number of turns waits for it. */
  static async opened(kind: typeof sse): Promise<World> {
    const world = new World(kind);
    await world.#hello;
    return world;
  }

  readonly #hello: Promise<void>;

  private constructor(kind: typeof sse) {
    const fetch = (url: unknown, init: RequestInit = {}) =>
      new Promise<Response>((resolve, reject) => {
        init.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        this.requests.push({
          method: init.method ?? "",
          path: String(url).replace("http://node/v1", ""),
          body: init.body ? JSON.parse(String(init.body)) : {},
          headers: init.headers as Record<string, string>,
          answer: (status, body) => resolve(new Response(status === 204 ? null : JSON.stringify(body), { status })),
          fail: () => reject(new Error("no network")),
        });
        if (String(url).includes("/events?") && kind === sse) resolve(new Response(this.stream.readable));
      });
    const Kind = kind({ fetch: fetch as typeof globalThis.fetch });
    this.socket = new Kind("ws://node/v1/ws", "chat.v1.json");
    this.#hello = new Promise((resolve) => {
      Object.assign(this.socket, {
        onmessage: ({ data }: { data: string }) => {
          this.frames.push(JSON.parse(data));
          resolve();
        },
        onclose: (event: { code: number; reason: string }) => this.closes.push(event),
      });
    });
  }

  say(command: object): void {
    this.socket.send(JSON.stringify(command));
  }

  async push(text: string): Promise<void> {
    void this.writer.write(new TextEncoder().encode(text));
    await moved();
  }

  /** Takes the requests that came since. */
  async asked(): Promise<Sent[]> {
    await moved();
    return this.requests.splice(0);
  }
}

/** Everything has gone on that needs neither the test nor a timer. */
async function moved(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

const AUTH = { t: "auth", id: 0, token: "t1", device: "d", instance: "i" };
const ready = (sid: string, n: number, resumed = false) =>
  `id: ${sid}:${n}\nevent: ready\ndata: ${JSON.stringify({ t: "ready", user: "alice", sid, resumed, n, limits: {} })}\n\n`;

async function listening(): Promise<World> {
  const world = await World.opened(sse);
  world.say(AUTH);
  await world.push(ready("s1", 0));
  world.requests.splice(0);
  world.frames.splice(0);
  return world;
}

describe("server-sent events", () => {
  test("a session begins by a stream, and goes on behind the last event", async () => {
    const world = await World.opened(sse);
    assert.equal(world.frames[0]?.t, "hello");
    world.say({ ...AUTH, resume: { sid: "s0", n: 7 } });
    const [stream] = await world.asked();
    assert.equal(stream?.path, "/events?device=d&instance=i");
    assert.equal(stream?.headers["last-event-id"], "s0:7");
    assert.equal(stream?.headers.authorization, "Bearer t1");
    // In pieces, as a network delivers them.
    const text = `${ready("s1", 7, true)}:\n\nid: s1:8\nevent: typing\ndata: {"n":8,"t":"typing","c":"g","u":"bob","on":true}\n\n`;
    for (const piece of text.match(/[\s\S]{1,9}/g) ?? []) await world.push(piece);
    assert.deepEqual(
      world.frames.slice(1).map(({ t, n, id }) => [t, n, id]),
      [
        ["ready", 7, 0],
        ["typing", 8, undefined],
      ],
    );
  });

  test("the changes of a conversation go one by one, those of two side by side", async () => {
    const world = await listening();
    for (const [id, c] of [
      [1, "g_1"],
      [2, "g_1"],
      [3, "g_2"],
    ] as const)
      world.say({ t: "send", id, c, cid: `c${id}`, b: {} });
    const first = await world.asked();
    assert.deepEqual(
      first.map(({ path, body }) => [path, body.cid]),
      [
        ["/conversations/g_1/messages", "c1"],
        ["/conversations/g_2/messages", "c3"],
      ],
    );
    first[0]?.answer(201, { c: "g_1", cid: "c1", s: 4 });
    const [second] = await world.asked();
    assert.equal(second?.body.cid, "c2");
    assert.deepEqual(world.frames, [{ t: "ack", c: "g_1", cid: "c1", s: 4, id: 1 }]);
  });

  test("nothing overtakes what was refused for a moment", async () => {
    const world = await listening();
    for (const id of [1, 2, 3]) world.say({ t: "send", id, c: "g_1", cid: `c${id}`, b: {} });
    (await world.asked())[0]?.answer(503, { code: "unavailable", detail: "no", retry_ms: 70 });
    assert.deepEqual(await world.asked(), []);
    assert.deepEqual(
      world.frames.map(({ id, code, temp, retry_ms }) => [id, code, temp, retry_ms]),
      [
        [1, "unavailable", true, 70],
        [2, "busy", true, 70],
        [3, "busy", true, 70],
      ],
    );
    world.say({ t: "send", id: 4, c: "g_1", cid: "c1", b: {} });
    assert.equal((await world.asked())[0]?.body.cid, "c1");
  });

  test("a final refusal is an answer, a lost one or an expired token ends the connection", async () => {
    const refused = await listening();
    refused.say({ t: "edit", id: 1, c: "g_1", of: 3, cid: "c1", b: {} });
    const [edit] = await refused.asked();
    assert.deepEqual([edit?.method, edit?.path], ["PUT", "/conversations/g_1/messages/3"]);
    edit?.answer(403, { code: "forbidden", detail: "no" });
    await moved();
    assert.deepEqual(refused.frames, [{ t: "err", code: "forbidden", http: 403, temp: false, msg: "no", id: 1 }]);
    assert.deepEqual(refused.closes, []);
    for (const [end, code] of [
      [(it: Sent) => it.fail(), 1006],
      [(it: Sent) => it.answer(401, { code: "token_expired", detail: "" }), 4201],
      [(it: Sent) => it.answer(401, { code: "unauthenticated", detail: "" }), 4401],
      [(it: Sent) => it.answer(502, {}), 1006],
    ] as const) {
      const world = await listening();
      world.say({ t: "send", id: 1, c: "g_1", cid: "c1", b: {} });
      const [sent] = await world.asked();
      if (sent) end(sent);
      await moved();
      assert.deepEqual([world.frames, world.closes[0]?.code, world.closes.length], [[], code, 1]);
    }
  });

  test("the end of the stream is the close of the connection", async () => {
    const world = await listening();
    await world.push('retry: 1830\nevent: close\ndata: {"code":4012,"retry_ms":1830}\n\n');
    assert.deepEqual(world.closes, [{ code: 4012, reason: '{"retry_ms":1830}' }]);
  });

  test("a closed connection stays silent", async () => {
    const world = await listening();
    world.say({ t: "send", id: 1, c: "g_1", cid: "c1", b: {} });
    const [sent] = await world.asked();
    world.socket.close();
    sent?.answer(201, { c: "g_1", cid: "c1", s: 4 });
    await moved();
    assert.deepEqual([world.frames, world.closes], [[], []]);
  });
});

describe("long polling", () => {
  test("a session begins at once, and each poll confirms the last", async () => {
    const world = await World.opened(longPoll);
    world.say(AUTH);
    (await world.asked())[0]?.answer(200, { u: "alice" });
    const [begin] = await world.asked();
    assert.equal(begin?.path, "/poll?after=0&wait=0&device=d&instance=i");
    begin?.answer(200, { sid: "s1", resumed: false, n: 0, events: [] });
    const [second] = await world.asked();
    assert.equal(second?.path, "/poll?sid=s1&after=0&device=d&instance=i");
    second?.answer(200, { sid: "s2", resumed: true, n: 1, events: [{ n: 1, t: "receipt" }] });
    const [third] = await world.asked();
    assert.equal(third?.path, "/poll?sid=s2&after=1&device=d&instance=i");
    // Another node has gone on with the session: the client learns its new id.
    assert.deepEqual(
      world.frames.slice(1).map(({ t, sid, user, n }) => [t, sid, user, n]),
      [
        ["ready", "s1", "alice", 0],
        ["ready", "s2", "alice", 0],
        ["receipt", undefined, undefined, 1],
      ],
    );
    third?.answer(200, { sid: "s3", resumed: false, why: "expired", n: 0, events: [] });
    await moved();
    assert.equal(world.closes[0]?.code, 1006);
  });

  test("a device that is connected elsewhere is displaced", async () => {
    const world = await World.opened(longPoll);
    world.say(AUTH);
    (await world.asked())[0]?.answer(200, { u: "alice" });
    (await world.asked())[0]?.answer(409, { code: "conflict", detail: "another instance" });
    await moved();
    assert.equal(world.closes[0]?.code, 4409);
  });
});

// The connection: dialing, resume, verdicts of the close codes, tokens, heartbeat.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { Connection } from "../../src/engine/connection.js";
import type { Effect } from "../../src/engine/types.js";
import type { ReadyAnswer } from "../../src/wire/index.js";

const LIMITS = { body_bytes: 16_384, sends_per_s: 20, burst: 60, ephemeral_per_s: 2 };

describe("connection", () => {
  let out: Effect[];
  let connection: Connection;

  beforeEach(() => {
    out = [];
    connection = new Connection(
      ["wss://a", "https://b/"],
      () => 0.5,
      (effect) => out.push(effect),
    );
    Object.assign(connection.session, { device: "d", instance: "i" });
  });

  const take = () => out.splice(0);
  const frames = () => take().flatMap((it) => (it.t === "send" ? [JSON.parse(it.text)] : []));
  const ready = (fields: Partial<ReadyAnswer> = {}): ReadyAnswer => {
    return { t: "ready", id: 0, user: "alice", sid: "s1", resumed: false, n: 0, resume_ttl_ms: 90_000, limits: LIMITS, ...fields };
  };
  const greet = (now: number) => {
    connection.hello({ t: "hello", proto: 1, server: "n1", hb_ms: 30_000, auth_ms: 10_000, max_frame: 65_536, time: now }, now);
  };
  const connect = (now: number, token = "t1") => {
    connection.start(now);
    connection.gotToken(token, now);
    greet(now);
    connection.gotReady(ready(), now);
    take();
  };

  test("it asks for a token first, and connects with it", () => {
    connection.start(0);
    assert.deepEqual(take(), [{ t: "token", reason: "first" }]);
    connection.gotToken("t1", 5);
    assert.deepEqual(take(), [{ t: "connect", conn: 1, url: "wss://a/v1/ws" }]);
    greet(10);
    assert.deepEqual(frames(), [{ t: "auth", id: 0, token: "t1", device: "d", instance: "i" }]);
    assert.equal(connection.gotReady(ready(), 20), true);
    assert.equal(connection.session.sid, "s1");
  });

  test("a lost connection resumes behind the last event, at another node", () => {
    connect(0);
    connection.session.n = 7;
    connection.closed(1006, "", 1_000);
    assert.equal(connection.phase, "waiting");
    connection.tick(connection.next());
    assert.deepEqual(take(), [{ t: "connect", conn: 2, url: "wss://b/v1/ws" }]);
    greet(3_000);
    assert.deepEqual(frames()[0].resume, { sid: "s1", n: 7 });
  });

  test("the time that the server names goes before the backoff", () => {
    connect(0);
    connection.closed(4012, '{"retry_ms":1830}', 1_000);
    assert.equal(connection.retryAt, 2_830);
    connection.tick(2_830);
    connection.gotBye({ n: 1, t: "bye", code: 4012, retry_ms: 77 });
    connection.closed(1006, "", 3_000);
    assert.equal(connection.retryAt, 3_077);
  });

  test("the backoff grows to half a minute, and begins anew after half a minute live", () => {
    connection.start(0);
    connection.gotToken("t", 0);
    const delays = [];
    for (let i = 0; i < 10; i++) {
      connection.closed(1006, "", 0);
      delays.push(connection.retryAt);
      connection.tick(connection.retryAt);
    }
    assert.deepEqual(delays.slice(0, 3), [750, 1_250, 2_250]);
    assert.equal(delays[9], 15_250);
    greet(0);
    connection.gotReady(ready(), 0);
    connection.closed(1006, "", 40_000);
    assert.equal(connection.retryAt, 40_750);
  });

  test("codes from 4200 on begin a new session", () => {
    for (const code of [4208, 4210, 1002, 1009]) {
      connect(0);
      connection.closed(code, "", 0);
      assert.equal(connection.session.sid, undefined, `${code}`);
      assert.equal(connection.phase, "waiting", `${code}`);
      connection.stop(0);
    }
  });

  test("codes from 4400 on end it, each in its way", () => {
    const ends = [4400, 4403, 4406, 4409, 4429].map((code) => {
      connect(0);
      connection.closed(code, "", 0);
      assert.equal(connection.next(), Infinity);
      return [connection.phase, ...take().flatMap((it) => (it.t === "emit" ? [it.name] : []))].join(" ");
    });
    assert.deepEqual(ends, ["refused", "refused revoked", "refused", "displaced displaced", "refused"]);
  });

  test("a refused token is replaced once", () => {
    connect(0);
    connection.closed(4401, "", 0);
    connection.tick(connection.next());
    assert.deepEqual(take(), [{ t: "token", reason: "refused" }]);
    connection.gotToken("t2", 1_000);
    connection.closed(4401, "", 2_000);
    assert.equal(connection.phase, "refused");
  });

  test("an expired token is replaced, and the session begins anew", () => {
    connect(0);
    connection.closed(4201, "", 0);
    connection.tick(connection.next());
    assert.deepEqual(take(), [{ t: "token", reason: "expired" }]);
  });

  test("a token is renewed before it ends, on the same connection", () => {
    const payload = Buffer.from(JSON.stringify({ exp: 900 })).toString("base64url");
    connect(0, `h.${payload}.s`);
    assert.equal(connection.next(), 30_000, "the heartbeat comes first");
    connection.tick(810_000);
    assert.deepEqual(
      take().filter((it) => it.t === "token"),
      [{ t: "token", reason: "expiring" }],
    );
    connection.gotToken("t2", 811_000);
    assert.deepEqual(frames(), [{ t: "auth", id: 0, token: "t2", device: "d", instance: "i" }]);
    assert.equal(connection.gotReady(ready({ n: 0 }), 812_000), false, "no new session");
  });

  test("without a token to be had it stops, and after a mishap it tries again", () => {
    connection.start(0);
    connection.noToken(false, "network", 0);
    assert.equal(connection.phase, "waiting");
    connection.tick(connection.next());
    connection.noToken(true, "signed out", 5_000);
    assert.equal(connection.phase, "refused");
    assert.equal(connection.next(), Infinity);
  });

  test("a socket that does not answer the heartbeat is given up after 40 s of silence", () => {
    connect(0);
    connection.session.n = 3;
    connection.tick(30_000);
    assert.deepEqual(frames(), [{ t: "hb", n: 3 }]);
    connection.tick(39_999);
    assert.deepEqual(take(), []);
    connection.tick(40_000);
    assert.deepEqual(take(), [{ t: "close", conn: 1 }]);
    assert.equal(connection.phase, "waiting");
    assert.equal(connection.session.sid, "s1", "the session may be resumed");
  });

  test("a node that does not greet is given up", () => {
    connection.start(0);
    connection.gotToken("t", 0);
    connection.tick(10_000);
    assert.equal(connection.phase, "waiting");
  });

  test("waking up ends the wait, and doubts a live socket", () => {
    connect(0);
    connection.wake(1_000);
    assert.deepEqual(frames(), [{ t: "hb", n: 0 }]);
    connection.inbound();
    connection.tick(7_000);
    assert.equal(connection.ready, true);
    connection.closed(1006, "", 8_000);
    connection.wake(8_001);
    connection.tick(8_001);
    assert.equal(connection.phase, "connecting");
  });

  test("a rate-limited auth is repeated on the same connection", () => {
    connection.start(0);
    connection.gotToken("t1", 0);
    greet(0);
    take();
    connection.authRefused({ t: "err", id: 0, code: "rate_limited", http: 429, temp: true, msg: "", retry_ms: 400 }, 0);
    connection.tick(400);
    assert.equal(frames()[0].t, "auth");
  });
});

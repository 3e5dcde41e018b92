// Lanes of the outbox: order, refusals, lost connections.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Outbox, type OutgoingItem } from "../../src/engine/outbox.js";

const busy = { t: "err", code: "busy", http: 503, temp: true, msg: "", retry_ms: 100 } as const;
const forbidden = { t: "err", code: "forbidden", http: 403, temp: false, msg: "" } as const;

function filled(count: number, key = "g"): { outbox: Outbox; due: (now: number) => [number, string][] } {
  const outbox = new Outbox(
    () => 0,
    (name) => name,
  );
  for (let i = 1; i <= count; i++) add(outbox, `${key}${i}`, key);
  let ids = 0;
  const due = (now: number) =>
    outbox
      .due(
        now,
        () => ++ids,
        () => false,
      )
      .map(([id, item]): [number, string] => [id, item.cid]);
  return { outbox, due };
}

function add(outbox: Outbox, cid: string, key: string): OutgoingItem {
  const item = outbox.add({ cid, key, at: 0, command: { t: "send", b: {} } }, 0);
  item.stored = true;
  return item;
}

const ack = (cid: string) => ({ t: "ack", c: "g", cid, s: 1, mn: 1, ts: 1 }) as const;

describe("outbox", () => {
  test("a lane sends a window of its changes in order", () => {
    const { due } = filled(10);
    assert.deepEqual(
      due(0).map(([, cid]) => cid),
      ["g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8"],
    );
    assert.deepEqual(due(0), []);
  });

  test("after a temporary refusal nothing goes out until everything in flight is answered", () => {
    const { outbox, due } = filled(3);
    const [first, second, third] = due(0).map(([id]) => id) as [number, number, number];
    add(outbox, "g4", "g");
    outbox.answered(first, busy, 0);
    assert.deepEqual(due(1_000), [], "two are in flight");
    outbox.answered(second, busy, 1_000);
    outbox.answered(third, busy, 1_000);
    assert.deepEqual(due(1_050), [], "the time that the server named");
    assert.equal(outbox.next(), 1_100);
    const [[again]] = due(1_100) as [[number, string]];
    assert.deepEqual(due(1_100), [], "one at a time after a refusal");
    outbox.answered(again, ack("g1"), 1_200);
    assert.deepEqual(
      due(1_200).map(([, cid]) => cid),
      ["g2", "g3"],
      "the oldest first, and more with every answer",
    );
  });

  test("what is over the rate waits", () => {
    const { outbox, due } = filled(6);
    outbox.limit(10, 4, 0);
    assert.equal(due(0).length, 4);
    assert.equal(outbox.next(), 100);
    assert.equal(due(100).length, 1);
    outbox.limit(10, 4, 150);
    assert.equal(outbox.next(), 200, "a new session does not fill the account");
  });

  test("other conversations go on", () => {
    const { outbox, due } = filled(1);
    add(outbox, "h1", "h");
    const [[first]] = due(0) as [[number, string]];
    outbox.answered(first, busy, 0);
    add(outbox, "g2", "g");
    add(outbox, "h2", "h");
    assert.deepEqual(
      due(1).map(([, cid]) => cid),
      ["h2"],
    );
  });

  test("a final refusal fails one change and holds nothing up", () => {
    const { outbox, due } = filled(2);
    const [[first]] = due(0) as [[number, string]];
    assert.equal(outbox.answered(first, forbidden, 0)?.state, "failed");
    add(outbox, "g3", "g");
    assert.deepEqual(
      due(0).map(([, cid]) => cid),
      ["g3"],
    );
  });

  test("a lost connection takes back what is in flight, and a late answer finds nothing", () => {
    const { outbox, due } = filled(2);
    const [[first]] = due(0) as [[number, string]];
    outbox.lost();
    assert.equal(outbox.answered(first, ack("g1"), 0), undefined);
    assert.deepEqual(
      due(0).map(([, cid]) => cid),
      ["g1", "g2"],
    );
  });

  test("a change that is not stored yet holds up its lane", () => {
    const { outbox, due } = filled(0);
    const item = outbox.add({ cid: "g1", key: "g", at: 0, command: { t: "send", b: {} } }, 0);
    add(outbox, "g2", "g");
    assert.deepEqual(due(0), []);
    item.stored = true;
    assert.deepEqual(
      due(0).map(([, cid]) => cid),
      ["g1", "g2"],
    );
  });

  test("what an earlier run left is sent first", () => {
    const { outbox, due } = filled(0);
    const left = filled(2).outbox.items;
    add(outbox, "g3", "g");
    outbox.restore(left.map((item) => ({ ...item, order: item.order - 10, state: "pending" })));
    assert.deepEqual(
      due(0).map(([, cid]) => cid),
      ["g1", "g2", "g3"],
    );
  });
});

// Segments of the log, and messages out of events.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fold } from "../../src/engine/fold.js";
import { directId, sha256, ulid } from "../../src/engine/ids.js";
import { ConversationLog } from "../../src/engine/log.js";
import type { LogEvent } from "../../src/wire/index.js";

const msg = (s: number, text = `m${s}`, u = "alice"): LogEvent => ({ t: "msg", c: "g", s, mn: s, ts: s, u, cid: `c${s}`, b: { text } });
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => msg(from + i));
const ranges = (log: ConversationLog) => log.segments.map(({ lo, hi, events }) => [lo, hi, events.length]);

describe("log", () => {
  test("a page of the history joins the live events", () => {
    const log = new ConversationLog(10);
    log.append(msg(11));
    log.join(range(4, 10), 4, 10, false);
    assert.deepEqual(ranges(log), [[4, 11, 8]]);
    log.join(range(1, 3), 1, 3, true);
    assert.deepEqual(ranges(log), [[1, 11, 11]]);
    assert.equal(log.live.start, true);
  });

  test("an overlapping page doubles nothing, and its later state counts", () => {
    const log = new ConversationLog(5);
    log.join(range(3, 5), 3, 5, false);
    log.join([msg(4, "", "alice"), msg(5)], 4, 5, false);
    assert.deepEqual(ranges(log), [[3, 5, 3]]);
    assert.equal(log.live.events[1]?.t === "msg" && log.live.events[1].b.text, "");
  });

  test("a gap begins a new live segment, and an older page closes it", () => {
    const log = new ConversationLog(0);
    for (const event of range(1, 3)) log.append(event);
    log.restart(range(8, 9), 9);
    assert.deepEqual(ranges(log), [
      [1, 3, 3],
      [8, 9, 2],
    ]);
    log.join(range(2, 7), 2, 7, false);
    assert.deepEqual(ranges(log), [[1, 9, 9]]);
  });

  test("a position beyond the log drops what the log does not have", () => {
    const log = new ConversationLog(0);
    for (const event of range(1, 9)) log.append(event);
    log.restart(range(3, 4), 4);
    assert.deepEqual(ranges(log), [[3, 4, 2]]);
  });

  test("a window around a message stands alone until pages reach the end", () => {
    const log = new ConversationLog(100);
    log.join(range(40, 60), 40, 60, false);
    assert.equal(log.around(50)?.lo, 40);
    assert.equal(log.around(61), undefined);
    log.join(range(61, 100), 61, 100, false);
    assert.equal(log.around(50), log.live);
  });

  test("trimming leaves the newest", () => {
    const log = new ConversationLog(0);
    for (const event of range(1, 9)) log.append(event);
    log.trim(4);
    assert.deepEqual(ranges(log), [[6, 9, 4]]);
    assert.equal(log.live.start, false);
  });
});

describe("fold", () => {
  const at = { c: "g", u: "bob" };

  test("edits, reactions and deletions change their message in order", () => {
    const events: LogEvent[] = [
      msg(1),
      msg(2),
      { t: "edit", s: 3, of: 1, ts: 3, ...at, b: { text: "new" }, mentions: ["carol"] },
      { t: "react", s: 4, of: 1, ts: 4, ...at, k: "👍", on: true },
      { t: "react", s: 5, of: 1, ts: 5, c: "g", u: "carol", k: "👍", on: true },
      { t: "react", s: 6, of: 1, ts: 6, ...at, k: "👍", on: false },
      { t: "del", s: 7, of: 2, ts: 7, ...at },
      { t: "edit", s: 8, of: 2, ts: 8, ...at, b: {}, deleted: true },
    ];
    const [first, second] = fold(events);
    assert.deepEqual(first?.b, { text: "new" });
    assert.deepEqual(first?.mentions, ["carol"]);
    assert.deepEqual(first?.reactions, { "👍": ["carol"] });
    assert.equal(first?.editedTs, 3);
    assert.deepEqual([second?.b, second?.deleted], [{}, true]);
  });

  test("a change of a message that is not at hand changes nothing", () => {
    assert.deepEqual(fold([{ t: "del", s: 7, of: 2, ts: 7, ...at }]), []);
  });
});

describe("ids", () => {
  test("sha256 is that of the standard", () => {
    const hex = (text: string) => Buffer.from(sha256(text)).toString("hex");
    assert.equal(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert.equal(hex("a".repeat(120)), "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c");
  });

  test("both sides of a direct conversation name the same id", () => {
    assert.equal(directId("alice", "bob"), "d_cqnezuscwz7if3puu6f3iggubj");
    assert.equal(directId("bob", "alice"), "d_cqnezuscwz7if3puu6f3iggubj");
  });

  test("ids of messages are in the order of their time", () => {
    const ids = [1, 2, 1_700_000_000_000].map((now) => ulid(now, () => 0.5));
    assert.deepEqual([...ids].sort(), ids);
    assert.ok(ids.every((id) => id.length === 26));
  });
});

import type { Message, MessageWindow } from "@rookery/client";
import { expect, test } from "vitest";
import { timelineRows } from "../../src/model/timeline.js";

const NOON = new Date(2026, 10, 30, 12).getTime();

function message(s: number, u: string, minutes: number): Message {
  const ts = NOON + minutes * 60_000;
  return {
    c: "g_1",
    s,
    mn: s,
    u,
    cid: `${s}`,
    ts,
    b: { text: `${s}` },
    mentions: [],
    deleted: false,
    reactions: {},
    changed: s,
    state: "sent",
  };
}

function window(messages: Message[], gaps: [number, number][] = []): MessageWindow {
  return { messages, loaded: true, atStart: false, atEnd: true, gaps };
}

const shapes = (w: MessageWindow, unreadAfter?: number) =>
  timelineRows(w, "alice", unreadAfter).map((row) =>
    row.kind === "message" ? `${row.message.s}${row.head ? " head" : ""}${row.tail ? " tail" : ""}` : row.kind,
  );

test("messages of one author within minutes form a group", () => {
  const messages = [message(1, "bob", 0), message(2, "bob", 1), message(3, "carol", 2), message(4, "bob", 30), message(5, "bob", 36)];
  expect(shapes(window(messages))).toEqual(["day", "1 head", "2 tail", "3 head tail", "4 head tail", "5 head tail"]);
});

test("each day has a separator", () => {
  const messages = [message(1, "bob", -24 * 60), message(2, "bob", 0)];
  expect(shapes(window(messages))).toEqual(["day", "1 head tail", "day", "2 head tail"]);
});

test("the unread line stands before the first message of others above the read position", () => {
  const messages = [message(1, "bob", 0), message(2, "bob", 1), message(3, "alice", 2), message(4, "bob", 3)];
  expect(shapes(window(messages), 1)).toEqual(["day", "1 head tail", "unread", "2 head tail", "3 head tail", "4 head tail"]);
  expect(shapes(window(messages), 2)).toEqual(["day", "1 head", "2 tail", "3 head tail", "unread", "4 head tail"]);
  expect(shapes(window(messages), 4)).not.toContain("unread");
  expect(shapes(window(messages), 0)).not.toContain("unread");
  expect(shapes({ ...window(messages), atStart: true }, 0)[1]).toBe("unread");
});

test("a hole is shown where the messages are missing", () => {
  const messages = [message(1, "bob", 0), message(8, "bob", 1)];
  expect(shapes(window(messages, [[2, 7]]))).toEqual(["day", "1 head tail", "gap", "8 head tail"]);
});

test("a message that waits in the outbox comes last", () => {
  const { s: _, mn: __, ...waiting } = message(9, "alice", 5);
  const rows = timelineRows(window([message(1, "bob", 0), { ...waiting, state: "queued" }]), "alice", 0);
  expect(rows.map((row) => row.kind)).toEqual(["day", "message", "message"]);
});

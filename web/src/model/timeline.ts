// Rows of the timeline: messages with what stands between them.

import type { Message, MessageWindow } from "@rookery/client";

export type Row =
  | { kind: "day"; key: string; ts: number }
  | { kind: "unread"; key: string }
  | { kind: "gap"; key: string; from: number; to: number }
  | { kind: "message"; key: string; message: Message; head: boolean; tail: boolean };

/** Messages of one author within so long form a group. */
const GROUP_MS = 5 * 60_000;

/** Returns the rows of a window. The unread line stands before the first message of others above `unreadAfter`. */
export function timelineRows(window: MessageWindow, me: string, unreadAfter: number | undefined): Row[] {
  const rows: Row[] = [];
  const gaps = [...window.gaps];
  let before: Message | undefined;
  let lineDue = unreadAfter !== undefined;
  for (const message of window.messages) {
    const { s = Number.POSITIVE_INFINITY, ts, u } = message;
    let joined = before !== undefined && before.u === u && ts - before.ts < GROUP_MS && !message.replyTo;
    if (!before || dayOf(before.ts) !== dayOf(ts)) {
      rows.push({ kind: "day", key: `day ${dayOf(ts)} ${s}`, ts });
      joined = false;
    }
    while (gaps[0] && gaps[0][1] < s) {
      const [from, to] = gaps.shift() as [number, number];
      rows.push({ kind: "gap", key: `gap ${from}`, from, to });
      joined = false;
    }
    if (lineDue && s > (unreadAfter as number) && u !== me) {
      // The first unread message may be on an earlier page.
      if (before || window.atStart) rows.push({ kind: "unread", key: "unread" });
      lineDue = false;
      joined = false;
    }
    const last = rows[rows.length - 1];
    if (joined && last?.kind === "message") last.tail = false;
    rows.push({ kind: "message", key: keyOf(message), message, head: !joined, tail: true });
    before = message;
  }
  return rows;
}

/** Identity of a message from the outbox on: a `cid` is unique per user. */
export const keyOf = (message: Message): string => `${message.u}/${message.cid}`;

export function textOf(body: { text?: unknown }): string {
  return typeof body.text === "string" ? body.text : "";
}

function dayOf(ts: number): string {
  const date = new Date(ts);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

// The values that the application sees, computed from the state.

import type { ConversationState } from "./conversation.js";
import { type FoldedMessage, fold, type MessageChange } from "./fold.js";
import type { Segment } from "./log.js";
import type { Outbox, OutgoingItem } from "./outbox.js";
import type { ConversationInfo, Message, MessageState, MessageWindow, OutgoingInfo } from "./types.js";

/** The last snapshot of a window: what did not change is the same object in the next one. */
export interface WindowCache {
  shown?: MessageWindow;
  /** Messages by author and `cid`; a `cid` is unique per user only. */
  messages: Map<string, { mark: string; message: Message }>;
}

/** Returns the rows of the inbox: the latest message first. */
export function inboxView(conversations: Iterable<ConversationState>): ConversationInfo[] {
  const rows = [...conversations].filter((it) => it.info?.role);
  rows.sort((a, b) => b.at - a.at || (a.c < b.c ? 1 : -1));
  return rows.map((it) => it.info as ConversationInfo);
}

export function outboxView(outbox: Outbox): OutgoingInfo[] {
  return outbox.items
    .filter((it) => it.state !== "sent")
    .map(({ cid, key: c, command, state, tries, error, nextTry, at }) => ({ cid, c, kind: command.t, state, tries, error, nextTry, at }));
}

/** Returns the window of a segment, with the changes of its messages that wait; the live one ends with the messages that do. */
export function windowView(
  c: string,
  me: string,
  state: ConversationState | undefined,
  segment: Segment | undefined,
  waiting: readonly OutgoingItem[],
  cache: WindowCache,
): MessageWindow {
  const atEnd = segment !== undefined && segment === state?.log?.live;
  const known = cache.messages;
  cache.messages = new Map();
  const remembered = (key: string, mark: string, make: () => Message): Message => {
    const old = known.get(key);
    const entry = old?.mark === mark ? old : { mark, message: make() };
    cache.messages.set(key, entry);
    return entry.message;
  };
  const changes = waiting.flatMap((item) => change(item, me) ?? []);
  const messages = fold(segment?.events ?? [], changes).map((folded) => {
    const message = decorate(c, me, state, folded);
    const { u, cid, changed, state: own, reach } = message;
    return remembered(`${u}/${cid}`, [changed, own, reach?.delivered, reach?.read, reach?.of].join(), () => message);
  });
  const present = new Set(messages.filter((it) => it.u === me).map((it) => it.cid));
  if (atEnd || !segment) {
    for (const item of waiting) {
      const { cid, command, tries, state: own, s, error } = item;
      if (command.t === "send" && !present.has(cid))
        messages.push(remembered(`${me}/${cid}`, `${tries} ${own} ${s} ${error?.code}`, () => outgoing(c, me, item)));
    }
  }
  const loaded = segment !== undefined && (state?.s ?? -1) >= 0;
  const next: MessageWindow = {
    messages,
    loaded,
    atStart: loaded && segment.start,
    atEnd,
    gaps: segment ? gaps(segment) : [],
  };
  const { shown } = cache;
  const same =
    shown?.messages.length === messages.length &&
    messages.every((message, i) => message === shown.messages[i]) &&
    JSON.stringify({ ...shown, messages: 0 }) === JSON.stringify({ ...next, messages: 0 });
  if (!same) cache.shown = next;
  return cache.shown as MessageWindow;
}

function decorate(c: string, me: string, state: ConversationState | undefined, message: FoldedMessage): Message {
  if (message.u !== me || !state) return { ...message, c, state: "sent" };
  const reach = reached(state, me, message.s);
  const all = (count: number) => reach.of > 0 && count >= reach.of;
  const reachedState: MessageState = all(reach.read) ? "read" : all(reach.delivered) ? "delivered" : "sent";
  return { ...message, c, state: reachedState, reach };
}

function reached(state: ConversationState, me: string, s: number): { delivered: number; read: number; of: number } {
  let delivered = 0;
  let read = 0;
  let others = 0;
  for (const [u, member] of state.members) {
    if (u === me || (state.membersRead && !member.role)) continue;
    others++;
    if (member.delivered >= s) delivered++;
    if (member.read >= s) read++;
  }
  const direct = state.info?.kind === "direct";
  const of = direct ? (state.info?.peer === me ? 0 : 1) : state.membersRead ? others : Math.max(others, (state.info?.members ?? 1) - 1);
  return { delivered, read, of };
}

/** A change that waits, as the event that it will be. */
function change({ command, order, at }: OutgoingItem, me: string): MessageChange | undefined {
  if (!("of" in command)) return undefined;
  return { ...command, s: order, ts: at, u: ("who" in command && command.who) || me } as unknown as MessageChange;
}

function outgoing(c: string, me: string, item: OutgoingItem): Message {
  const { cid, s, mn, state, error } = item;
  const { b, mentions = [], reply_to: replyTo } = item.command as Extract<OutgoingItem["command"], { t: "send" }>;
  return { c, cid, u: me, b, ts: item.ts ?? item.at, s, mn, state, error, mentions, replyTo, deleted: false, reactions: {}, changed: 0 };
}

function gaps(segment: Segment): [number, number][] {
  const found: [number, number][] = [];
  let expected = segment.lo;
  for (const event of segment.events) {
    if (event.s > expected) found.push([expected, event.s - 1]);
    expected = event.s + 1;
  }
  return found;
}

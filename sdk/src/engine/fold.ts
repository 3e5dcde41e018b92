// Messages out of events: `edit`, `del` and `react` change the message at `of`, in the order of `s`.

import type { Body, LogEvent } from "../wire/index.js";

/** A message as a person sees it, without what depends on the cursors of others. */
export interface FoldedMessage {
  s: number;
  mn: number;
  ts: number;
  u: string;
  cid: string;
  b: Body;
  replyTo?: number;
  mentions: readonly string[];
  deleted: boolean;
  editedTs?: number;
  /** Users by reaction. */
  reactions: Readonly<Record<string, readonly string[]>>;
  /** Position of the last event that changed the message; beyond the log for changes that are on their way. */
  changed: number;
}

/** A change of the message at `of`. */
export type MessageChange = LogEvent & { of: number };

/** Folds the events of a segment into its messages, ascending. Changes that the log does not have yet come last. */
export function fold(events: readonly LogEvent[], unsettled: readonly MessageChange[] = []): FoldedMessage[] {
  const by = new Map<number, FoldedMessage>();
  for (const event of [...events, ...unsettled]) {
    if (event.t === "msg") by.set(event.s, message(event));
    else if ("of" in event) {
      const target = by.get(event.of);
      if (target) change(target, event);
    }
  }
  return [...by.values()];
}

function message(event: LogEvent & { t: "msg" }): FoldedMessage {
  const { s, mn, ts, u, cid, b } = event;
  return {
    ...{ s, mn, ts, u, cid, b },
    replyTo: event.reply_to ?? undefined,
    mentions: event.mentions ?? [],
    deleted: event.deleted ?? false,
    reactions: {},
    changed: s,
  };
}

function change(target: FoldedMessage, event: MessageChange): void {
  target.changed = event.s;
  if (event.t === "edit" && !target.deleted) {
    target.b = event.b;
    target.editedTs = event.ts;
    if (event.mentions) target.mentions = event.mentions;
    if (event.deleted) target.deleted = true;
  } else if (event.t === "del") {
    target.b = {};
    target.mentions = [];
    target.deleted = true;
  } else if (event.t === "react") {
    const users = (target.reactions[event.k] ?? []).filter((u) => u !== event.u);
    if (event.on) users.push(event.u);
    const { [event.k]: _, ...others } = target.reactions;
    target.reactions = users.length > 0 ? { ...others, [event.k]: users } : others;
  }
}

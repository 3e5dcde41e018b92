// The vocabulary of the engine: inputs and effects of the pure machine, and the values that the application sees.

import type { StoreOp } from "../store.js";
import type { Body, ConversationKind, HistoryVisibility, LogEvent, PresenceState, Role, UserCard } from "../wire/index.js";
import type { FoldedMessage } from "./fold.js";

// === what the application sees ===

export type Phase = "offline" | "connecting" | "syncing" | "live" | "waiting" | "displaced" | "refused";

/** State of the connection. */
export interface Status {
  phase: Phase;
  /** Time of the last change of phase, in milliseconds. */
  since: number;
  /** Time of the next attempt, in phase `waiting`. */
  retryAt?: number;
  /** Reason of the last disconnection or refusal. */
  why?: string;
  /** Name of the connected node. */
  node?: string;
  /** The signed-in user, once known. */
  user?: string;
  /** True in the tab that has the connection. */
  leader: boolean;
  store: "durable" | "memory";
}

/** A conversation as its row in the inbox shows it. */
export interface ConversationInfo {
  c: string;
  kind: ConversationKind;
  title: string | null;
  /** The user's own role; null after the end of the membership. */
  role: Role | null;
  history?: HistoryVisibility;
  /** The number of members, where known. */
  members?: number;
  /** The other user of a direct conversation. */
  peer?: string;
  last: LastMessage | null;
  unread: number;
  mentions: number;
  read: number;
  delivered: number;
  muted: boolean;
  pinned: boolean;
  /** The row could not be read in time, and is asked for again. */
  stale: boolean;
}

export interface LastMessage {
  s: number;
  ts: number;
  u: string;
  b: Body;
  deleted: boolean;
}

/** The states of a message (protocol, section 7). */
export type MessageState = "queued" | "pending" | "failed" | "sent" | "delivered" | "read";

/** A message of a conversation, or one that waits in the outbox (then without `s` and `mn`). */
export interface Message extends Omit<FoldedMessage, "s" | "mn"> {
  s?: number;
  mn?: number;
  c: string;
  state: MessageState;
  /** How many of the other members have it, where the cursors are known. Own messages only. */
  reach?: { delivered: number; read: number; of: number };
  error?: ChatFailure;
}

/** The messages of a conversation around one position. */
export interface MessageWindow {
  messages: readonly Message[];
  /** False while the conversation's position is not known. */
  loaded: boolean;
  /** Nothing older is available. */
  atStart: boolean;
  /** The window follows the live events. */
  atEnd: boolean;
  /** Ranges `[from, to]` inside the window whose events this member cannot see any more. */
  gaps: readonly (readonly [number, number])[];
}

/** An entry of the outbox: a change that is not acknowledged. */
export interface OutgoingInfo {
  cid: string;
  /** Conversation, or `to:<user>`. */
  c: string;
  kind: ChangeCommand["t"];
  state: "queued" | "pending" | "failed" | "sent";
  tries: number;
  error?: ChatFailure;
  nextTry?: number;
  at: number;
}

/** A refusal, or the reason for which nothing was sent. */
export interface ChatFailure {
  code: string;
  msg: string;
  temp: boolean;
}

/** A user as others see them, where the server has told it. A greater `ver` is newer. */
export type Profile = UserCard;

export interface Presence {
  state: PresenceState;
  seen: number | null;
}

/** Result of an acknowledged change. */
export interface Settled {
  c: string;
  s?: number;
  mn?: number;
  ts?: number;
}

// === commands ===

type Own<T> = T & { cid?: never };

/** The fields of a change, without its conversation and `cid`. */
export type ChangeCommand =
  | Own<{ t: "send"; b: Body; reply_to?: number; mentions?: string[] }>
  | Own<{ t: "edit"; of: number; b: Body; mentions?: string[] }>
  | Own<{ t: "del"; of: number }>
  | Own<{ t: "react"; of: number; k: string; on: boolean; who?: string }>
  | Own<{ t: "create"; kind: ConversationKind; members: string[]; title?: string }>
  | Own<{ t: "invite" | "kick" | "ban" | "unban"; who: string }>
  | Own<{ t: "role"; who: string; role: Role }>
  | Own<{ t: "join" | "leave" }>
  | Own<{ t: "set"; title?: string; history?: HistoryVisibility; muted?: boolean; pinned?: boolean }>;

/** A call of the application. `key` is a conversation id, or `to:<user>`. */
export type Call =
  | { op: "change"; key: string; cid: string; at: number; command: ChangeCommand }
  | { op: "retry" | "discard"; cid: string }
  | { op: "read"; key: string; s?: number }
  | { op: "typing"; key: string; on: boolean }
  | { op: "page"; key: string; at?: number; newer?: boolean }
  | { op: "more" }
  | { op: "members"; key: string }
  | { op: "query"; command: QueryCommand };

/** Commands that are passed on as they are. */
export type QueryCommand =
  | { t: "me"; group_invite?: "anyone" | "shares_conversation" | "nobody"; name?: string | null }
  | { t: "block" | "unblock"; who: string };

// === inputs and effects ===

export type TokenReason = "first" | "expiring" | "expired" | "refused";

export type Input =
  | { t: "start" }
  | { t: "stop" }
  | { t: "logout" }
  | { t: "loaded"; entries: [string, unknown][]; durable: boolean }
  | { t: "log"; c: string; events: LogEvent[] }
  | { t: "stored"; mark: number }
  | { t: "store-lost" }
  | { t: "token"; token: string }
  | { t: "token-failed"; final: boolean; why: string }
  | { t: "opened"; conn: number }
  | { t: "frame"; conn: number; text: string }
  | { t: "closed"; conn: number; code: number; reason: string }
  | { t: "tick" }
  | { t: "wake" }
  | { t: "offline" }
  | { t: "call"; tab: string; id: number; call: Call }
  | { t: "want"; tab: string; keys: string[] }
  | { t: "gone"; tab: string };

export type EventName = "gap" | "resync" | "revoked" | "displaced" | "token";

export type Effect =
  | { t: "connect"; conn: number; url: string }
  | { t: "send"; conn: number; text: string }
  | { t: "close"; conn: number }
  | { t: "token"; reason: TokenReason }
  | { t: "store"; ops: StoreOp[]; mark: number }
  | { t: "load-log"; c: string }
  | { t: "view"; key: string; value: unknown }
  | { t: "result"; tab: string; id: number; value?: unknown; error?: ChatFailure }
  | { t: "settled"; cid: string; value?: Settled; error?: ChatFailure }
  | { t: "persisted"; cid: string }
  | { t: "emit"; name: EventName; data: unknown };

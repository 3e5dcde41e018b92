// Generated from the server's OpenAPI description by scripts/generate.ts. Not edited by hand.

import type { Body, ClientMessageId, ConversationId, ConversationKind, ErrorCode, GroupInvite, HistoryVisibility, NotResumed, Role, UserId } from "./generated.js";

/** A ban of a user from a conversation. */
export interface BanEntryRow {
  /** The member who banned the user. */
  by: UserId;
  /** Time of the ban, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who is banned. */
  u: UserId;
}

/** A page of the bans of a conversation. */
export interface BanList {
  /** The bans, in the order of the user ids. */
  items: BanEntryRow[];
  /** Cursor of the next page; null after the last page. */
  next: string | null;
}

/** A page of the users whom a user blocks. */
export interface BlockList {
  /** The blocked users, in the order of their ids. */
  items: UserId[];
  /** The cursor of the next page, null after the last. */
  next: string | null;
}

/** An entered one-time code. */
export interface CodeEntered {
  /** The challenge from the answer to the request for the code. */
  challenge: string;
  /** The six digits of the code. */
  code: string;
}

/** Answer to a request for a code. */
export interface CodeSent {
  /** The challenge that identifies the code when it is entered. */
  challenge: string;
  /** The code itself; present with development tokens only. */
  dev_code?: string | null;
  /** The lifetime of the code in seconds. */
  expires_in: number;
}

/** Request for a one-time code. */
export interface CodeWanted {
  /** The phone number with its country code, or the mail address, that receives the code. */
  to: string;
}

/** A position in the log of a conversation. */
export interface CursorRequest {
  /** The event up to which the cursor moves, inclusive; clamped to the last event. */
  s: number;
}

/** A created device token. */
export interface DeviceTokenCreated {
  /** The time at which the token expires, in milliseconds since the epoch. */
  expires: number;
  /** The token itself, the bearer token of the device. It is shown only once. */
  token: string;
  /** The id of the token, by which it is listed and revoked. */
  token_id: ClientMessageId;
}

/** Device tokens of the caller. */
export interface DeviceTokenList {
  items: ListedDeviceToken[];
}

/** Request for a device token. */
export interface DeviceTokenRequest {
  /** The id of the device, such as `phone-1`. Only this device can use the token. */
  device: string;
  /** A name for the list of tokens, at most 64 bytes. */
  name?: string | null;
}

/** Positions of the client. */
export interface HaveQuery {
  /** The `next` of the previous page; without it, the first page. */
  cursor?: string | null;
  /** The last `s` per conversation. A conversation without one is sent from the start of the caller's membership. */
  have?: [string, number][];
}

/** A device token of the caller, without the token itself. */
export interface ListedDeviceToken {
  /** The time at which the token was created, in milliseconds since the epoch. */
  created: number;
  /** The id of the device. */
  device: string;
  /** The time at which the token expires, in milliseconds since the epoch. */
  expires: number;
  /** The name of the token; absent if it has none. */
  name?: string | null;
  /** The id of the token. */
  token_id: ClientMessageId;
}

/** Tokens of a login. */
export interface LoggedIn {
  /** The access token, a JWT: the bearer token of every request. */
  access_token: string;
  /** The lifetime of the access token in seconds. */
  expires_in: number;
  /** The token that yields the next pair of tokens; it can be used once. */
  refresh_token: string;
  /** The token type, always `Bearer`. */
  token_type: string;
  /** The id of the user who is logged in. */
  user: UserId;
}

/** A login to end. */
export interface LogoutRequest {
  /** True to end all logins of the user. */
  everywhere?: boolean;
  /** The refresh token of the latest answer. */
  refresh_token: string;
}

/** The membership to set for a user. */
export interface MemberRequest {
  /** The new role of an existing member. Without it, the user is added. */
  role?: Role | null;
}

/** A page of messages in their current state. */
export interface MessagePage {
  /** Id of the conversation. */
  c: ConversationId;
  /**
   * True if messages behind `after` are missing: they expired, the user may not read them, or the log ends before
   * `after`.
   */
  gap?: boolean;
  /** The messages, in ascending order of `s`. */
  items: MessageState[];
  /** True if more messages exist in the requested direction. */
  more: boolean;
}

/** A message in its current state, with all edits and reactions applied. */
export interface MessageState {
  /** The current body; empty if the message was deleted. */
  b: Body;
  /** The sender's idempotency key. */
  cid: ClientMessageId;
  /** True if the message was deleted. */
  deleted?: boolean;
  /** Time of the last edit, in milliseconds since the Unix epoch; absent if never edited. */
  edited_ts?: number | null;
  /** Users to notify, at most 50. */
  mentions?: UserId[];
  /** Ordinal of the message, counting messages only. */
  mn: number;
  /** Number of users per reaction. */
  reactions: { [key: string]: number };
  /** The `s` of the message to which this one replies. */
  reply_to?: number | null;
  /** Sequence number of the message in its conversation. */
  s: number;
  /** Time of sending, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who sent the message. */
  u: UserId;
}

/** New content of a message. */
export interface NewBody {
  /** The content that replaces the old one. */
  b: Body;
  /** The users to alert from now on; without it, the mentions stay as they were. */
  mentions?: UserId[] | null;
}

/** A conversation to create. */
export interface NewConversation {
  /** The kind of the conversation: direct, group or channel. */
  kind: ConversationKind;
  /** The other initial members; exactly one for a direct conversation. */
  members?: UserId[];
  /** The title; not permitted for direct conversations. */
  title?: string | null;
}

/** A message to send. */
export interface NewMessage {
  /** The content of the message. */
  b: Body;
  /** The users to alert. */
  mentions?: UserId[];
  /** The `s` of the message that this one replies to. */
  reply_to?: number | null;
}

/** Location of a conversation in the cluster. */
export interface OwnerLocation {
  /** The id of the requested conversation. */
  conversation: ConversationId;
  /** The epoch of the owner: the log index of its takeover. */
  epoch: number;
  /** The version of the cluster map that this answer is based on. */
  map_version: number;
  /** The node that answered. */
  node: number;
  /** The node that owns the shard, or null if no owner is known. */
  owner: number | null;
  /** The nodes that hold replicas of the shard. */
  replicas: number[];
  /** The shard that holds the conversation. */
  shard: number;
}

/** Answer to a poll. */
export interface Polled {
  /**
   * The events, each with its session number `n`, as on a WebSocket. Empty if the wait ended or another poll of the
   * session began.
   */
  events: { [key: string]: unknown }[];
  /** The session number of the last event that the client has after this answer: the next `after`. */
  n: number;
  /** True if no event is missing: the events follow `after`. If false, the client catches up by `POST /v1/sync`. */
  resumed: boolean;
  /** The session id for the next poll. */
  sid: string;
  /** The reason for a new session in place of the requested one; absent if it was resumed or none was requested. */
  why?: NotResumed | null;
}

/** The body of every error response. */
export interface Problem {
  /** The reason as a code for programs. */
  code: ErrorCode;
  /** The reason as text for people. */
  detail: string;
  /** Milliseconds to wait before the next try; present on temporary refusals only. */
  retry_ms?: number | null;
  /** The HTTP status code of the response. */
  status: number;
  /** The reason phrase of the HTTP status. */
  title: string;
  /** The entry of the `code` in the error catalogue, a page of every node. */
  type: string;
}

/** A refresh token to exchange for new tokens. */
export interface RefreshRequest {
  /** The refresh token of the latest answer. */
  refresh_token: string;
}

/** One event of the stream. */
export interface Sent {
  /** The event as on a WebSocket, in one line of JSON. */
  data?: string | null;
  /** The tag `t` of the event. */
  event?: string | null;
  /** `<sid>:<n>` of the event; absent on the final `close` and on keepalive comments. */
  id?: string | null;
}

/** Settings to change; at least one field is required. */
export interface Settings {
  /** The part of the history that new members may read; shared by all members. */
  history?: HistoryVisibility | null;
  /** True to mute the conversation for the caller only. */
  muted?: boolean | null;
  /** True to pin the conversation to the top of the caller's list. */
  pinned?: boolean | null;
  /** The title, shared by all members; an empty one removes it. */
  title?: string | null;
}

/** Health of the node. */
export interface State {
  /** Reason for not being ready; absent otherwise. */
  reason?: string | null;
  /** The health in one word: `ok`, `ready` or `not ready`. */
  status: string;
}

/** A change of the caller's typing state. */
export interface Types {
  /** True when the caller starts to type, false when the caller stops. */
  on: boolean;
}

/** Fields of the `me` command, which changes the user's settings. Without fields it only returns them. */
export interface MeCommandFields {
  /** New setting for the users who may add this user to groups and channels. */
  group_invite?: GroupInvite | null;
}

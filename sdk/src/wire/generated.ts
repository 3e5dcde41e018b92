// Generated from the server's AsyncAPI description by scripts/generate.ts. Not edited by hand.

/** Fields of the `ack` response: the change is durable and applied. */
export interface Ack {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key of the command. */
  cid: ClientMessageId;
  /** True if the command was a repetition; the other fields are the first result. */
  dup?: boolean;
  /** Ordinal of the message; absent if the event is no message. */
  mn?: number | null;
  /** Sequence number of the event; absent if the command made none. */
  s?: number | null;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts?: number | null;
}

/** The body of a message: any JSON object of at most 16 KiB, delivered verbatim. */
export type Body = { [key: string]: unknown };

/** The idempotency key of a command, chosen by the client: 1 to 64 bytes of UTF-8. */
export type ClientMessageId = string;

/** The id of a conversation. */
export type ConversationId = string;

/** Kind of a conversation, fixed at its creation. */
export type ConversationKind = "direct" | "group" | "channel";

/** Fields of the `inbox` response: a page of the user's conversations. */
export interface ConversationList {
  /** The conversations, the latest activity first. */
  items: ConversationListItem[];
  /** Cursor of the next page; null after the last page. */
  next: string | null;
  /**
   * Profiles of the users that the response names, by their ids. Left out are users without a profile, and those whose
   * shard did not respond in time.
   */
  users?: { [key: string]: UserCard };
}

/** One conversation of the user's list. */
export interface ConversationListItem {
  /** Id of the conversation. */
  c: ConversationId;
  /** The user's delivered cursor. */
  delivered: number;
  /** Kind of the conversation. */
  kind: ConversationKind;
  /** The last message in its current state; null if there is none, the user may not read it, or the row is stale. */
  last: LogEvent | null;
  /** Number of unread messages that mention the user. */
  mentions: number;
  /** True if notifications are muted for this user. */
  muted: boolean;
  /** The other user of a direct conversation; absent in groups and channels. */
  peer?: DirectPeer | null;
  /** True if the user's clients show the conversation on top. */
  pinned: boolean;
  /** The user's read cursor. */
  read: number;
  /** The user's role; null if the row is stale. */
  role: Role | null;
  /**
   * True if the owner of the conversation did not respond in time: only `c` and `kind` are valid. Request the page
   * again.
   */
  stale?: boolean;
  /** Title of the conversation; null if it has none. */
  title: string | null;
  /** Number of messages above the read cursor that the user may read. */
  unread: number;
}

/** One member of a conversation. */
export interface ConversationMember {
  /** Custom data of the member; absent if it has none. */
  data?: CustomData | null;
  /** The member's delivered cursor; absent in conversations of more than 256 members. */
  delivered?: number | null;
  /** The member's read cursor; absent in conversations of more than 256 members. */
  read?: number | null;
  /** Role of the member in the conversation. */
  role: Role;
  /** The user who is a member. */
  u: UserId;
}

/** Fields of `conv`, which is both a response and an event: a conversation as its member sees it. */
export interface ConversationSnapshot {
  /** Id of the conversation. */
  c: ConversationId;
  /** Custom data of the conversation; absent if it has none. */
  data?: CustomData | null;
  /** The user's delivered cursor. */
  delivered: number;
  /** The events after `have`; absent if `open` was sent without it. */
  events?: LogEvent[] | null;
  /** True if `events` does not start at `have + 1`, because more events were missed than it holds. */
  gap?: boolean;
  /** History that a new member may read. */
  history?: HistoryVisibility | null;
  /** Kind of the conversation. */
  kind: ConversationKind;
  /** The last event of the log; live events continue at `last.s + 1`. */
  last: LastEvent;
  /** Number of members of the conversation. */
  members?: number | null;
  /** Number of unread messages that mention the user. */
  mentions: number;
  /** True if notifications are muted for this user. */
  muted: boolean;
  /** The other user of a direct conversation; absent in groups and channels. */
  peer?: DirectPeer | null;
  /** True if the user's clients show the conversation on top. */
  pinned: boolean;
  /** The user's read cursor. */
  read: number;
  /** The user's role; null if the user is no member. */
  role: Role | null;
  /** Title of the conversation; null if it has none. */
  title: string | null;
  /** Number of messages above the read cursor that the user may read. */
  unread: number;
  /**
   * Profiles of the peer and of the users in `events`, by their ids; in the response only. Left out are users without
   * a profile, and those whose shard did not respond in time.
   */
  users?: { [key: string]: UserCard };
}

/** Custom data of the application: any JSON object of at most 4 KiB, kept verbatim. */
export type CustomData = { [key: string]: unknown };

/** The other user of a direct conversation and that user's cursors. */
export interface DirectPeer {
  /** The other user's delivered cursor. */
  delivered: number;
  /** The other user's read cursor. */
  read: number;
  /** The other user of the direct conversation. */
  u: UserId;
}

/**
 * Reason for which a command was refused. The name on the wire is the variant in snake case; the number is frozen for
 * encodings between nodes.
 */
export type ErrorCode = "bad_request" | "unauthenticated" | "token_expired" | "forbidden" | "not_member" | "not_found" | "conflict" | "too_large" | "rate_limited" | "busy" | "unavailable" | "timeout_unknown" | "internal";

/** Fields of the `err` response: the command was refused. */
export interface ErrorResponse {
  /** The reason for the refusal, for programs. */
  code: ErrorCode;
  /** HTTP status that corresponds to the code. */
  http: number;
  /** Text of the reason, for people. */
  msg: string;
  /** Time to wait before the next attempt, in milliseconds; present on temporary refusals. */
  retry_ms?: number | null;
  /** True if the same command may succeed later. */
  temp: boolean;
}

/** A durable event of a conversation's log; `t` is its type. */
export type LogEvent = { t: "msg" } & MsgEventFields | { t: "edit" } & EditEventFields | { t: "del" } & DelEventFields | { t: "react" } & ReactEventFields | { t: "meta" } & MetaEventFields | { t: "member" } & MemberEventFields;

/** Users who may add a user to groups and channels. Blocked users never may. */
export type GroupInvite = "anyone" | "shares_conversation" | "nobody";

/** Fields of the `hb` response, the heartbeat of the server. */
export interface HeartbeatResponse {
  /** The server's clock, in milliseconds since the Unix epoch. */
  time: number;
}

/** Fields of the `hello` frame, the first of every connection. */
export interface HelloResponse {
  /** Time within which the client must send `auth`, in milliseconds. */
  auth_ms: number;
  /** Interval at which the client should send `hb`, in milliseconds. */
  hb_ms: number;
  /** The largest message that the server accepts, in bytes. */
  max_frame: number;
  /** Version of the protocol, which is 1. */
  proto: number;
  /** Name of the node, for support. */
  server: string;
  /** The server's clock, in milliseconds since the Unix epoch. */
  time: number;
}

/** Fields of the `hist` response: a page of a conversation's events. */
export interface HistoryResponse {
  /** Id of the conversation. */
  c: ConversationId;
  /** The events, in ascending order of `s`. */
  events: LogEvent[];
  /**
   * True if events behind `after` are missing: they expired, the user may not read them, or the log ends before
   * `after`.
   */
  gap?: boolean;
  /** True if more events exist in the requested direction. */
  more: boolean;
}

/** Part of the history that a member may read. */
export type HistoryVisibility = "joined" | "all";

/** The end of a conversation's log. */
export interface LastEvent {
  /** Ordinal of the last message. */
  mn: number;
  /** Sequence number of the last event. */
  s: number;
  /** Time of the last event, in milliseconds since the Unix epoch. */
  ts: number;
}

/** Fields of the `me` response: the profile and the settings of the user. */
export interface MeResponse {
  /** URL of the user's picture; absent if the user has none. */
  avatar?: string | null;
  /** Custom data of the application; absent if the user has none. */
  data?: CustomData | null;
  /** Setting for the users who may add this user to groups and channels. */
  group_invite: GroupInvite;
  /** Displayed name; absent if the user has none. */
  name?: string | null;
  /** The user who sent the command. */
  u: UserId;
  /** Version of the profile, greater after each change; absent without a profile. */
  ver?: number | null;
}

/** Fields of the `members` response: a page of a conversation's members. */
export interface MembersResponse {
  /** The members, in the order of their ids. */
  items: ConversationMember[];
  /** Cursor of the next page; null after the last page. */
  next: string | null;
  /**
   * Profiles of the users that the response names, by their ids. Left out are users without a profile, and those whose
   * shard did not respond in time.
   */
  users?: { [key: string]: UserCard };
}

/** Change of a membership, reported by a `member` event. */
export type MembershipChange = "create" | "join" | "leave" | "invite" | "kick" | "ban" | "unban" | "role";

/** Reason for which a session was not resumed. */
export type NotResumed = "expired" | "unknown" | "gap";

/** A response without any fields. */
export type OkResponse = object;

/** Fields of the `ready` response: the session has begun or was resumed. */
export interface ReadyResponse {
  /** The limits that apply to this session. */
  limits: SessionLimits;
  /** Number of the last event before those that follow. */
  n: number;
  /** Time for which the session can be resumed after its connection is lost, in milliseconds. */
  resume_ttl_ms: number;
  /** True if the session continues exactly at `n + 1`. */
  resumed: boolean;
  /** Id of the session, sent by the client to resume it. */
  sid: string;
  /** The user that the token authenticates. */
  user: UserId;
  /** The reason for which a requested resume was refused. */
  why?: NotResumed | null;
}

/** Role of a member. Roles are ordered from the most powerful to the least. */
export type Role = "owner" | "admin" | "member" | "reader";

/** Limits that apply to a session. */
export interface SessionLimits {
  /** The largest message body, in bytes. */
  body_bytes: number;
  /** Number of `send` commands that may arrive at once. */
  burst: number;
  /** Rate of ephemeral commands such as `typing`, per second. */
  ephemeral_per_s: number;
  /** Sustained rate of `send` commands, per second. */
  sends_per_s: number;
}

/** Fields of the `delta` response: the missed events of a set of conversations. */
export interface SyncResponse {
  /** Pairs of a conversation and the `s` up to which its items reach. Apply buffered live events above it afterwards. */
  as_of: [string, number][];
  /** The missed events of each conversation. */
  items: SyncResponseItem[];
  /** Cursor of the next page; null after the last page. */
  next: string | null;
}

/** The missed events of one conversation. */
export interface SyncResponseItem {
  /** Id of the conversation. */
  c: ConversationId;
  /** The events, in ascending order of `s`, without a hole. */
  events: LogEvent[];
  /** True if the events do not start at `have + 1`: they are the newest ones, and `hist` returns the others. */
  gap: boolean;
}

/** The part of a profile that other responses carry. */
export interface UserCard {
  /** URL of the user's picture, absolute or relative to the application; absent if the user has none. */
  avatar?: string | null;
  /** Displayed name; absent if the user has none. */
  name?: string | null;
  /** Version of the profile, greater after each change. */
  ver: number;
}

/** The id of a user. */
export type UserId = string;

/** The profile of a user. */
export interface UserProfile {
  /** URL of the user's picture, absolute or relative to the application; absent if the user has none. */
  avatar?: string | null;
  /** Custom data of the application; absent if the user has none. */
  data?: CustomData | null;
  /** Displayed name; absent if the user has none. */
  name?: string | null;
  /** The user whose profile this is. */
  u: UserId;
  /** Version of the profile, greater after each change; 0 without a profile, whether the user exists or not. */
  ver: number;
}

/** Fields of the `users` response. */
export interface UsersResponse {
  /**
   * The profiles in the order of the request, each user once. A user whose shard did not respond in time is left
   * out: request it again.
   */
  items: UserProfile[];
}

/** Action on the last session of the device. */
export type DeviceResumeCommandFields = "device" | "clean";

/** The session to resume and the last event that the client has applied. */
export interface ResumeCommandFields {
  /** The last event number that the client has applied. */
  n: number;
  /** The `sid` from the `ready` of that session. */
  sid: string;
}

/** The session that a client resumes or ends: one by its id, or the last one of its device. */
export type ResumeTargetCommandFields = ResumeCommandFields | DeviceResumeCommandFields;

/**
 * Fields of the `activity` event. This session did not receive the events up to `last` live; later events may arrive
 * live.
 */
export interface ActivityEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** Last event of the conversation's log. */
  last: LastEvent;
}

/** Fields of the `bye` event, which announces a close. */
export interface ByeEventFields {
  /** The WebSocket close code that follows. */
  code: number;
  /** Time to wait before the next connection, in milliseconds. */
  retry_ms: number;
}

/** Fields of the `del` event: a message was deleted. */
export interface DelEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** The `s` of the deleted message. */
  of: number;
  /** Sequence number of this event in its conversation. */
  s: number;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who deleted the message. */
  u: UserId;
}

/** Fields of the `edit` event: the body of a message was replaced. */
export interface EditEventFields {
  /** The new body, a JSON object. */
  b: Body;
  /** Id of the conversation. */
  c: ConversationId;
  /** True if the message was deleted since; `b` is then empty and `mentions` absent. */
  deleted?: boolean;
  /** Users to notify from now on, at most 50; if absent, the mentions of the message stay. */
  mentions?: UserId[] | null;
  /** The `s` of the edited message. */
  of: number;
  /** Sequence number of this event in its conversation. */
  s: number;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who edited the message. */
  u: UserId;
}

/** Fields of the `member` event: a membership changed. */
export interface MemberEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** The new custom data of the member, if it was changed; null means that it was removed. */
  data?: CustomData | null;
  /** The new role; null if the user is no longer a member. */
  role: Role | null;
  /** Sequence number of the event in its conversation. */
  s: number;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who made the change. */
  u: UserId;
  /** The user whose membership changed. */
  who: UserId;
  /** Kind of the membership change. */
  why: MembershipChange;
}

/** Fields of the `meta` event; only the settings that changed are present. */
export interface MetaEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** The new custom data; null means that it was removed. */
  data?: CustomData | null;
  /** History that a new member may read. */
  history?: HistoryVisibility | null;
  /** Sequence number of this event in its conversation. */
  s: number;
  /** The new title; an empty one means that the title was removed. */
  title?: string | null;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who changed the settings. */
  u: UserId;
}

/** Fields of the `msg` event: a message was sent. */
export interface MsgEventFields {
  /** Body of the message, a JSON object. */
  b: Body;
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key of the `send` command. */
  cid: ClientMessageId;
  /** True if the message was deleted since; `b` is then empty and `mentions` absent. */
  deleted?: boolean;
  /** Users to notify, at most 50. */
  mentions?: UserId[];
  /** Ordinal of the message, counting messages only. */
  mn: number;
  /** The `s` of the message to which this one replies. */
  reply_to?: number | null;
  /** Sequence number of the event in its conversation. */
  s: number;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user who sent the message. */
  u: UserId;
}

/** Fields of the `presence` event: a watched user came online or went offline. */
export interface PresenceEventFields {
  /** Time at which the user was last seen, in milliseconds since the Unix epoch; null if never. */
  seen: number | null;
  /** State of the user: `online` or `offline`. */
  state: PresenceStateEventFields;
  /** The user whose presence is reported. */
  u: UserId;
}

/** Presence state of a user. */
export type PresenceStateEventFields = "online" | "offline";

/** Fields of the `profile` event: the profile of a watched user changed. */
export interface ProfileEventFields {
  /** The user whose profile changed. */
  u: UserId;
  /** New version of the profile. */
  ver: number;
}

/** Fields of the `react` event: a reaction was set or removed. */
export interface ReactEventFields {
  /** The owner or admin who removed the reaction; absent if the user did it. */
  by?: UserId | null;
  /** Id of the conversation. */
  c: ConversationId;
  /** The reaction, 1 to 32 bytes of text. */
  k: string;
  /** The `s` of the message with the reaction. */
  of: number;
  /** True if the reaction was set, false if it was removed. */
  on: boolean;
  /** Sequence number of this event in its conversation. */
  s: number;
  /** Time of the event, in milliseconds since the Unix epoch. */
  ts: number;
  /** The user whose reaction was set or removed. */
  u: UserId;
}

/** Fields of the `receipt` event: the cursors of a member moved. The cursors are durable, the event is not. */
export interface ReceiptEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** The member's delivered cursor: the highest `s` that arrived there. */
  delivered: number;
  /** The member's read cursor: the highest `s` that was read there. */
  read: number;
  /** The member whose cursors moved. */
  u: UserId;
}

/** Fields of the `resync` event: events were dropped, and the client must run `sync`. */
export interface ResyncEventFields {
  /** The reason for the loss, for support. */
  why: string;
}

/** Fields of the `typing` event. The client drops the state after 6 seconds. */
export interface TypingEventFields {
  /** Id of the conversation. */
  c: ConversationId;
  /** True while the user types, false when the user has stopped. */
  on: boolean;
  /** The member who is typing. */
  u: UserId;
}

/** The change is durable and applied. */
export interface AckAnswer extends Ack {
  /** The number of the command that this message answers. */
  id?: number;
  t: "ack";
}

/** A conversation as its member sees it. */
export interface ConvAnswer extends ConversationSnapshot {
  /** The number of the command that this message answers. */
  id?: number;
  t: "conv";
}

/** The missed events of a set of conversations. */
export interface DeltaAnswer extends SyncResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "delta";
}

/** The command was refused; the error code names the reason. */
export interface ErrAnswer extends ErrorResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "err";
}

/** The server is alive and repeats its clock. */
export interface HbAnswer extends HeartbeatResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "hb";
}

/** The first frame of every connection. */
export interface HelloAnswer extends HelloResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "hello";
}

/** A page of a conversation's events. */
export interface HistAnswer extends HistoryResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "hist";
}

/** A page of the user's conversations. */
export interface InboxAnswer extends ConversationList {
  /** The number of the command that this message answers. */
  id?: number;
  t: "inbox";
}

/** The profile and the settings of the user. */
export interface MeAnswer extends MeResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "me";
}

/** A page of a conversation's members. */
export interface MembersAnswer extends MembersResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "members";
}

/** The command was carried out and returns no data. */
export interface OkAnswer {
  /** The number of the command that this message answers. */
  id?: number;
  t: "ok";
}

/** The session has begun or was resumed. */
export interface ReadyAnswer extends ReadyResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "ready";
}

/** Profiles of the users that the command names. */
export interface UsersAnswer extends UsersResponse {
  /** The number of the command that this message answers. */
  id?: number;
  t: "users";
}

/** Authenticates the connection; sent again later, it renews the token. */
export interface AuthCommand {
  /** Name of the device, at most 64 bytes. Without it the server chooses a random name. */
  device?: string | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Random id of one start of the app, at most 64 bytes. It distinguishes a reconnect from a second copy of the app. */
  instance?: string | null;
  /** The session to resume; absent for a new session. */
  resume?: ResumeTargetCommandFields | null;
  t: "auth";
  /** A JWT, or `dev:<user>` in dev mode. At most 8 KiB. */
  token: string;
}

/** Removes a user from a conversation and prevents the user from joining again. */
export interface BanCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "ban";
  /** The user on whom the command acts. */
  who: UserId;
}

/** Blocks a user: refuses the user's direct messages and invitations. */
export interface BlockCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "block";
  /** The user who is blocked or unblocked. */
  who: UserId;
}

/** Creates a conversation with its initial members. */
export interface CreateCommand {
  /** Idempotency key, unique per user: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** Custom data of the application, a JSON object of at most 4 KiB; direct conversations have none. */
  data?: CustomData | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Kind of the conversation: `direct`, `group` or `channel`. */
  kind: ConversationKind;
  /** The other initial members, at most 256; for a direct conversation exactly one. */
  members?: UserId[];
  t: "create";
  /** Title, at most 256 bytes; direct conversations have none. */
  title?: string | null;
}

/** Deletes a message for all members. */
export interface DelCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** The `s` of the message. */
  of: number;
  t: "del";
}

/** Replaces the body of a message. */
export interface EditCommand {
  /** The new body, a JSON object of at most 16 KiB. */
  b: Body;
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Users to notify from now on, at most 50; if absent, the mentions of the message stay. */
  mentions?: UserId[] | null;
  /** The `s` of the message. */
  of: number;
  t: "edit";
}

/** Reports that the client is alive, and the last event that it has applied. */
export interface HbCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Number of the last event that the client has applied. It confirms all events up to that number. */
  n?: number | null;
  t: "hb";
}

/** Returns a page of a conversation's events. */
export interface HistCommand {
  /** Returns the oldest events above this `s`. */
  after?: number | null;
  /** Returns the newest events below this `s`. */
  before?: number | null;
  /** Id of the conversation. */
  c: ConversationId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Page size, 1 to 100; 50 if absent. A larger value is reduced to 100. */
  limit?: number | null;
  t: "hist";
}

/** Adds a user to a group or channel. */
export interface InviteCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "invite";
  /** The user on whom the command acts. */
  who: UserId;
}

/** Makes the user a member of a channel. */
export interface JoinCommand {
  /** Id of the channel. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "join";
}

/** Removes a member from a conversation. */
export interface KickCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "kick";
  /** The user on whom the command acts. */
  who: UserId;
}

/** Ends the user's membership in a conversation. */
export interface LeaveCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "leave";
}

/** Lists the user's conversations, the latest activity first. */
export interface ListCommand {
  /** The `next` of the previous page; absent for the first page. */
  cursor?: string | null;
  /**
   * Only conversations whose custom data has this text as its `kind`, and those whose owner did not respond; at most
   * 64 bytes. All if absent.
   */
  data_kind?: string | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Page size, 1 to 100; 50 if absent. A larger value is reduced to 100. */
  limit?: number | null;
  t: "list";
}

/** Returns the user's profile and settings, after changing what is given. */
export interface MeCommand {
  /** URL of the user's picture, at most 1,024 bytes: `http`, `https`, or relative to the application. */
  avatar?: string | null;
  /** Custom data of the application, a JSON object of at most 4 KiB. */
  data?: CustomData | null;
  /** New setting for the users who may add this user to groups and channels. */
  group_invite?: GroupInvite | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Displayed name, at most 256 bytes with a visible character. */
  name?: string | null;
  t: "me";
}

/** Lists the members of a conversation. */
export interface MembersCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** The `next` of the previous page; absent for the first page. */
  cursor?: string | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Page size, 1 to 100; 50 if absent. A larger value is reduced to 100. */
  limit?: number | null;
  t: "members";
}

/** Returns one conversation and subscribes the session to it. */
export interface OpenCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** The last `s` that the client has; without it no events are returned. */
  have?: number | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "open";
}

/** Sets or removes a reaction to a message. */
export interface ReactCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** The reaction: 1 to 32 bytes of displayable text. */
  k: string;
  /** The `s` of the message. */
  of: number;
  /** True sets the reaction, false removes it. */
  on: boolean;
  t: "react";
  /**
   * The user whose reaction is removed, if it is not the sender's own. Only owners and admins may set it, and only
   * with `on` false.
   */
  who?: UserId | null;
}

/** Moves the user's read cursor in a conversation. */
export interface ReadCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** New cursor position: up to and including this `s`. A value beyond the last event is reduced to it. */
  s: number;
  t: "read";
}

/** Moves the user's delivered cursor in a conversation. */
export interface RecvCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** New cursor position: up to and including this `s`. A value beyond the last event is reduced to it. */
  s: number;
  t: "recv";
}

/** Changes the role of a member. */
export interface RoleCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** New custom data of the member, a JSON object of at most 4 KiB; null removes it. */
  data?: CustomData | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** The new role of the member; absent to leave it unchanged. */
  role?: Role | null;
  t: "role";
  /** The member whose role changes. */
  who: UserId;
}

/** Sends a message to a conversation or to a user. */
export interface SendCommand {
  /** Body of the message, a JSON object of at most 16 KiB. */
  b: Body;
  /** Id of the conversation. Exactly one of `c` and `to` must be given. */
  c?: ConversationId | null;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** True if the sending session receives the event in addition to the `ack`. Default: true. */
  echo?: boolean;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Users to notify, at most 50. */
  mentions?: UserId[];
  /** The `s` of the message to which this one replies. */
  reply_to?: number | null;
  t: "send";
  /** The other user of a direct conversation, which is created if it does not exist. */
  to?: UserId | null;
}

/** Changes the title or history setting for all members, or the user's own mute and pin. */
export interface SetCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** New custom data of the conversation, a JSON object of at most 4 KiB; null removes it. */
  data?: CustomData | null;
  /** History that a new member may read. */
  history?: HistoryVisibility | null;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** True if notifications are muted for this user. */
  muted?: boolean | null;
  /** True if this user's clients show the conversation on top. */
  pinned?: boolean | null;
  t: "set";
  /** New title, at most 256 bytes; an empty one removes the title. */
  title?: string | null;
}

/** Returns the missed events of many conversations. */
export interface SyncCommand {
  /** The `next` of the previous page; absent for the first page. */
  cursor?: string | null;
  /**
   * Pairs of a conversation and the last `s` that the client has there, at most 200. Conversations that are absent
   * are sent from the start of the membership.
   */
  have?: [string, number][];
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "sync";
}

/** Announces that the user is typing or has stopped. */
export interface TypingCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** True while the user types, false when the user has stopped. */
  on: boolean;
  t: "typing";
}

/** Lifts the ban of a user. */
export interface UnbanCommand {
  /** Id of the conversation. */
  c: ConversationId;
  /** Idempotency key: a repeated command with the same key has no second effect. */
  cid: ClientMessageId;
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "unban";
  /** The user on whom the command acts. */
  who: UserId;
}

/** Unblocks a user who was blocked before. */
export interface UnblockCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "unblock";
  /** The user who is blocked or unblocked. */
  who: UserId;
}

/** Ends the subscription to the presence of users. */
export interface UnwatchCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "unwatch";
  /** Users whose presence the session receives, at most 500 per command. */
  users: UserId[];
}

/** Returns the profiles of users. */
export interface UsersCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  /** Users whose profiles are returned, at most 100. */
  ids: UserId[];
  t: "users";
}

/** Subscribes the session to the presence of users. */
export interface WatchCommand {
  /** The number of the command, repeated in the answer. */
  id?: number;
  t: "watch";
  /** Users whose presence the session receives, at most 500 per command. */
  users: UserId[];
}

/** A message was sent in a conversation whose events this session did not receive live. */
export interface ActivityEvent extends ActivityEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "activity";
}

/** The server is about to close the connection. */
export interface ByeEvent extends ByeEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "bye";
}

/** A conversation is new to the session, or another device of the user changed mute or pin. */
export interface ConvEvent extends ConversationSnapshot {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "conv";
}

/** A message was deleted for all members. */
export interface DelEvent extends DelEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "del";
}

/** The body of a message was replaced. */
export interface EditEvent extends EditEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "edit";
}

/** The membership of a user changed. */
export interface MemberEvent extends MemberEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "member";
}

/** The title or the history setting of a conversation changed. */
export interface MetaEvent extends MetaEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "meta";
}

/** A message was sent to a conversation. */
export interface MsgEvent extends MsgEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "msg";
}

/** A watched user came online or went offline. */
export interface PresenceEvent extends PresenceEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "presence";
}

/** The profile of a watched user changed. */
export interface ProfileEvent extends ProfileEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "profile";
}

/** A reaction to a message was set or removed. */
export interface ReactEvent extends ReactEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "react";
}

/** The cursors of a member moved. */
export interface ReceiptEvent extends ReceiptEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "receipt";
}

/** Events were dropped, and the client must run `sync`. */
export interface ResyncEvent extends ResyncEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "resync";
}

/** A member is typing or has stopped. */
export interface TypingEvent extends TypingEventFields {
  /** The number of the event in the session: one more than that of the previous event. */
  n: number;
  t: "typing";
}

/** Every command that a client can send. */
export type ClientCommand =
  | AuthCommand
  | BanCommand
  | BlockCommand
  | CreateCommand
  | DelCommand
  | EditCommand
  | HbCommand
  | HistCommand
  | InviteCommand
  | JoinCommand
  | KickCommand
  | LeaveCommand
  | ListCommand
  | MeCommand
  | MembersCommand
  | OpenCommand
  | ReactCommand
  | ReadCommand
  | RecvCommand
  | RoleCommand
  | SendCommand
  | SetCommand
  | SyncCommand
  | TypingCommand
  | UnbanCommand
  | UnblockCommand
  | UnwatchCommand
  | UsersCommand
  | WatchCommand;

/** Every answer of the server. */
export type ServerAnswer =
  | AckAnswer
  | ConvAnswer
  | DeltaAnswer
  | ErrAnswer
  | HbAnswer
  | HelloAnswer
  | HistAnswer
  | InboxAnswer
  | MeAnswer
  | MembersAnswer
  | OkAnswer
  | ReadyAnswer
  | UsersAnswer;

/** Every event that the server pushes. */
export type ServerEvent =
  | ActivityEvent
  | ByeEvent
  | ConvEvent
  | DelEvent
  | EditEvent
  | MemberEvent
  | MetaEvent
  | MsgEvent
  | PresenceEvent
  | ProfileEvent
  | ReactEvent
  | ReceiptEvent
  | ResyncEvent
  | TypingEvent;

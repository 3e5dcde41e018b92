// Generated from the server's OpenAPI description by scripts/generate.ts. Not edited by hand.

import type { Body, ClientMessageId, ConversationId, ConversationKind, CustomData, ErrorCode, GroupInvite, HistoryVisibility, NotResumed, PresenceEventFields, Role, UserId } from "./generated.js";

/** A created API key. */
export interface ApiKeyCreated {
  /** The key itself, the bearer token of the back end. It is shown only once. */
  key: string;
  /** The id of the key, by which it is listed and revoked. */
  key_id: string;
}

/** The API keys of the cluster. */
export interface ApiKeyList {
  items: ListedApiKey[];
}

/** An API key to create. */
export interface ApiKeyRequest {
  /** The time at which the key ends, in milliseconds since the epoch; without it, the key has no end. */
  expires?: number | null;
  /** The name of the key, for the list: 1 to 64 bytes. */
  name: string;
  /** The parts of the server API that the key permits. */
  scopes: KeyScope[];
}

/**
 * A change that was requested with sufficient rights. The entry precedes the change, so the state may refuse the
 * change behind it.
 */
export interface AuditItem {
  /** The kind of the change, such as `messages.send` or `nodes.drain`. */
  act: string;
  /** The number of items that the request named. */
  count: number;
  /** The id of the API key; absent for a change by an operator. */
  key_id?: string | null;
  /**
   * The outcome of an operator's change: `done`, `failed: <code>`, or `begun` if the node could not record another one;
   * absent for a change by an API key.
   */
  outcome?: string | null;
  /** The number of the entry. */
  seq: number;
  /** The conversation, user, node, session or key that the change concerns. */
  target: string;
  /** The time of the entry, in milliseconds since the epoch. */
  ts: number;
  /** The name of the operator's token; absent for a change by an API key. */
  who?: string | null;
}

/** A page of the audit log, the newest entry first. */
export interface AuditPage {
  items: AuditItem[];
}

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

/** Fate of the messages of an erased user. */
export type ErasedMessages = "keep-anonymous" | "delete";

/** The erasure of a user that a back end requests. */
export interface ErasureRequest {
  /** `delete` deletes the user's messages for everybody, `keep-anonymous` keeps them with a random id as their author. */
  messages: ErasedMessages;
}

/** A takeover of a shard from an earlier owner, as the new owner has seen it. */
export interface FailoverItem {
  /** The epoch of the new owner. */
  epoch: number;
  /** The old owner, or null if it is not known. */
  from: number | null;
  /** The number of the entry. */
  seq: number;
  /** The shard; 65535 for the meta group. */
  shard: number;
  /** The new owner, which made the entry. */
  to: number;
  /** The time of the takeover, in milliseconds since the epoch. */
  ts: number;
  /**
   * Milliseconds from the last message of the old owner, or from its order to take over, to the takeover; null if the new
   * owner had neither.
   */
  unavailable_ms: number | null;
  /** `drained`, `moved`, `killed`, `isolated`, `restarted`, `regained` or `clock`. */
  why: string;
}

/** The failovers that are kept, the newest entry first. */
export interface FailoverList {
  items: FailoverItem[];
  /** True if the owner of the meta group did not answer, so that the newest may be missing; absent otherwise. */
  partial?: boolean;
}

/** Positions of the client. */
export interface HaveQuery {
  /** The `next` of the previous page; without it, the first page. */
  cursor?: string | null;
  /** The last `s` per conversation. A conversation without one is sent from the start of the caller's membership. */
  have?: [string, number][];
}

/** The verdict on one user of a bulk request. */
export interface ItemVerdict {
  /** The reason of a refusal as a code for programs; absent if `ok` is true. */
  err?: ErrorCode | null;
  /** The reason of a refusal as text for people. */
  msg?: string | null;
  /** True if the requested state holds. */
  ok: boolean;
  /** Milliseconds to wait before a repeat; present on temporary refusals only. */
  retry_ms?: number | null;
  /** True if a repeat may succeed; absent if `ok` is true. */
  temp?: boolean | null;
  /** The id of the user. */
  u: UserId;
}

/** The erasure of a user: what it has done, for the records of the operator. */
export interface Job {
  /** The time of the last step, in milliseconds since the epoch; absent while the job runs. */
  done?: number | null;
  /**
   * The time by which the removed words are in no file of a node, in milliseconds since the epoch; absent while the job
   * runs, and if `storage.compaction_interval` is 0. It assumes that all nodes have the interval of this one and run
   * until then. Backups from before may hold the words.
   */
  gone_by?: number | null;
  /** The id of the job. */
  job: string;
  /** The kind of the job, `erase`. */
  kind: string;
  /** The fate of the user's messages. */
  messages: ErasedMessages;
  /** The work in each shard, without the conversations that are under way. */
  shards: JobShard[];
  /** The time of the request, in milliseconds since the epoch. */
  started: number;
  /** The state of the job: running or done. */
  state: JobState;
  /** The id of the user. It is not given out again. */
  u: UserId;
}

/** A job that was begun. */
export interface JobCreated {
  /** The id of the job. */
  job: string;
}

/** Work of a job in one shard. */
export interface JobShard {
  /** The number of conversations of the user. */
  conversations: number;
  /**
   * The number of other events that named the user: edits, deletions, reactions, changes of members and settings,
   * mentions.
   */
  events: number;
  /** The log index up to which the shard is done. A replica that has applied it holds the result. */
  index: number;
  /** The number of messages that were deleted or made anonymous. */
  messages: number;
  /** The number of the shard. */
  shard: number;
}

/** State of a job. */
export type JobState = "running" | "done";

/** Part of the server API that a key permits. */
export type KeyScope = "users" | "conversations" | "messages" | "read" | "erase";

/** An API key, without its secret. */
export interface ListedApiKey {
  /** The time at which the key was created, in milliseconds since the epoch. */
  created: number;
  /** The time at which the key ends, in milliseconds since the epoch; absent if it has no end. */
  expires?: number | null;
  /** The id of the key. */
  key_id: string;
  /** The name of the key. */
  name: string;
  /** The parts of the server API that the key permits. */
  scopes: KeyScope[];
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

/** A session of a user. */
export interface ListedSession {
  /** True if the session has no connection and waits for its client. */
  detached: boolean;
  /** The device; absent if the client named none. */
  device?: string | null;
  /** The id of the session in this list. It ends the session, and does not resume it. */
  id: string;
  /** The node that has the session. */
  node: number;
  /** The time at which the session began or continued on its node, in milliseconds since the epoch. */
  since: number;
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

/** A warning or error of the log. */
export interface LoggedLine {
  /** The level: `WARN` or `ERROR`. */
  level: string;
  /** The message and its fields; cut off after 1,024 bytes. */
  text: string;
  /** The time in milliseconds since the epoch. */
  ts: number;
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
  /** The new custom data of an existing member, a JSON object of at most 4 KiB; null removes it. */
  data?: CustomData | null;
  /** The new role of an existing member. Without it and without `data`, the user is added. */
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
  /** Custom data of the application, a JSON object of at most 4 KiB; not permitted for direct conversations. */
  data?: CustomData | null;
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

/** The new owner of a conversation. */
export interface NewOwner {
  /** The id of the user. One who is no member is added. */
  u: UserId;
}

/** A node. Without an answer within half a second it is silent, and its report is null. */
export interface NodeOverview {
  /** The address for other nodes. */
  addr: string;
  /** True if the answering node has a connection to the node. */
  alive: boolean;
  /** `replicas`, `gateway` for a node that holds none, or `leaving`. */
  duty: string;
  id: number;
  /** The number of shards that the node owns, with the meta group, as the answering node knows it. */
  owned: number;
  report: ReportOverview | null;
  /** True if the node did not answer in time. */
  silent: boolean;
  /** The failure domain; empty for a domain of its own. */
  zone: string;
}

/** The report of a node for the developers. It has no secret. */
export interface NodeSupport {
  /** The last warnings and errors of the log, the oldest first; at most 200. */
  log: LoggedLine[];
  /** The metrics in the text format of OpenMetrics. */
  metrics: string;
  node: number;
  /** The settings as TOML. Secrets are `***`. */
  settings: string;
  /** The version of the program. */
  version: string;
}

/** The state of the cluster: the map of the answering node, and the reports of all nodes. */
export interface Overview {
  /** The id of the cluster, as 16 hexadecimal digits. */
  cluster: string;
  /** The feature level of the cluster. */
  feature_level: number;
  /** The version of the cluster map. */
  map_version: number;
  /** The meta group, which holds the cluster map; its number is 65535. */
  meta: ShardOverview;
  /** The node that answers. */
  node: number;
  nodes: NodeOverview[];
  /** The number of replicas that a shard has, if there are as many nodes: the setting of the node that answers. */
  replication: number;
  /** The shards in the order of their numbers, without the meta group. */
  shards: ShardOverview[];
}

/** One event of the stream. */
export interface OverviewEvent {
  /** The overview, in one line of JSON. */
  data: Overview;
  /** The name of the event, always `overview`. */
  event: string;
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

/** The presence of users, in the order of the request. */
export interface PresenceList {
  /** The presence of each user. A user whose shard cannot be reached at the moment is left out. */
  items: PresenceEventFields[];
}

/** Users whose presence is read. */
export interface PresenceRequest {
  /** The users whose presence is read. */
  users: UserId[];
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

/** A member to remove. */
export interface RemovedMember {
  /** The id of the user. */
  u: UserId;
}

/** Members of a conversation to remove. */
export interface RemovedMembers {
  /** The users to remove from the conversation. */
  members: RemovedMember[];
}

/** A replica. Of a silent node only the number is known. */
export interface ReplicaOverview {
  /** The index of the last applied entry; null if unknown. */
  applied: number | null;
  /** The number of entries that the replica is behind the log of the leader; null if unknown. */
  lag: number | null;
  node: number;
  /** `leader`, `follower`, `learner`, `candidate`, `shutdown` or `failed`; null if unknown. */
  role: string | null;
  /** True if the replica votes, as the leader knows it; null if no replica of the group reported. */
  voter: boolean | null;
}

/** The report of a node about itself. */
export interface ReportOverview {
  /** Milliseconds from a send to its answer that half of the sends of the last seconds took at most; null without a send. */
  ack_p50_ms: number | null;
  /** The same of 99 of a hundred sends. */
  ack_p99_ms: number | null;
  /** Milliseconds by which the clock is ahead of the majority's, negative if behind; null if unknown. */
  clock_skew_ms: number | null;
  /** The number of open connections. */
  connections: number;
  /** The limit of open connections. */
  connections_limit: number;
  /** Sessions without a connection that wait for their client. */
  detached: number;
  /** Free bytes of the disk. */
  disk_free_bytes: number;
  /** Free bytes below which new messages are refused. */
  disk_reserve_bytes: number;
  /** Frames to clients per second, the mean of the last seconds. */
  frames_out_per_second: number;
  /** True if acknowledged messages are synced to the disk. */
  fsync: boolean;
  /** Milliseconds that 99 of a hundred fsyncs of the last seconds took at most; null without an fsync. */
  fsync_p99_ms: number | null;
  /** The reason for which the node accepts no clients; null if it does. */
  not_ready: string | null;
  /** Answered sends per second, the mean of the last seconds. */
  sends_per_second: number;
  /** Sessions with a connected client. */
  sessions: number;
  /** `serving`, `handing_over`, `draining`, `drained` or `isolated`. */
  state: string;
  /** The time since the start of the node, in milliseconds. */
  uptime_ms: number;
  /** The version of the program. */
  version: string;
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

/** A conversation to create for others. */
export interface ServerConversation {
  /** Custom data of the application, a JSON object of at most 4 KiB; not permitted for direct conversations. */
  data?: CustomData | null;
  /** The kind of the conversation: direct, group or channel. */
  kind: ConversationKind;
  /** The other initial members; exactly one for a direct conversation. */
  members?: UserId[];
  /** The owner of a group or channel; one of the two users of a direct conversation. */
  owner: UserId;
  /** The title; not permitted for direct conversations. */
  title?: string | null;
}

/** A member of a conversation. */
export interface ServerMember {
  /** The role of the member. Without it, a user is added with the usual role, and that of a member stays. */
  role?: Role | null;
  /** The id of the user. */
  u: UserId;
}

/** Members of a conversation to add or to change. */
export interface ServerMembers {
  /** The users, each at most once. */
  members: ServerMember[];
}

/** A message of a back end. Exactly one of `c` and `to` is required. */
export interface ServerMessage {
  /** The author: a user, whose rights in the conversation are checked, or `system`. */
  as: UserId;
  /** The content of the message. */
  b: Body;
  /** The conversation that receives the message. */
  c?: ConversationId | null;
  /** The users to alert. */
  mentions?: UserId[];
  /** The `s` of the message that this one replies to. */
  reply_to?: number | null;
  /** The user of the direct conversation, which is created if it does not exist. */
  to?: UserId | null;
}

/** The profile and the state of a user. */
export interface ServerProfile {
  /** URL of the user's picture; absent if the user has none. */
  avatar?: string | null;
  /** Custom data of the application; absent if the user has none. */
  data?: CustomData | null;
  /** True if the user is deactivated. */
  deactivated: boolean;
  /** Displayed name; absent if the user has none. */
  name?: string | null;
  /** The id of the user. */
  u: UserId;
  /** Version of the profile, greater after each change; 0 without a profile, whether the user exists or not. */
  ver: number;
}

/** The users that a back end asked for. */
export interface ServerProfiles {
  /** The users in the order of the request. A user whose shard did not respond is left out. */
  items: ServerProfile[];
}

/** A merge patch of the profile of a user: null removes, and what is absent stays as it is. */
export interface ServerUser {
  /** URL of the user's picture, at most 1,024 bytes: `http`, `https`, or relative to the application. */
  avatar?: string | null;
  /** Custom data of the application, a JSON object of at most 4 KiB. */
  data?: CustomData | null;
  /** Displayed name, at most 256 bytes with a visible character. */
  name?: string | null;
  /** The id of the user. */
  u: UserId;
}

/** Profiles of users to write. */
export interface ServerUsers {
  /** The users, each at most once. */
  users: ServerUser[];
}

/** The sessions of a user. */
export interface SessionList {
  /** The sessions, the latest first. */
  items: ListedSession[];
  /** True if a node did not respond in time, so that its sessions are missing; absent otherwise. */
  partial?: boolean;
}

/** Settings to change; at least one field is required. */
export interface Settings {
  /** Custom data of the application, a JSON object of at most 4 KiB, shared by all members; null removes it. */
  data?: CustomData | null;
  /** The part of the history that new members may read; shared by all members. */
  history?: HistoryVisibility | null;
  /** True to mute the conversation for the caller only. */
  muted?: boolean | null;
  /** True to pin the conversation to the top of the caller's list. */
  pinned?: boolean | null;
  /** The title, shared by all members; an empty one removes it. */
  title?: string | null;
}

/** The new owner of a shard. */
export interface ShardMove {
  /** The id of the node, which needs a replica of the shard. */
  to: number;
}

/** A shard, or the meta group. */
export interface ShardOverview {
  /** The epoch of the owner: the log index of its takeover. */
  epoch: number;
  /** The owner, or null if none is known. */
  owner: number | null;
  /** The node that owns the shard whenever it can. */
  preferred: number | null;
  /** The replicas that the cluster map assigns, and others that a node still has. */
  replicas: ReplicaOverview[];
  shard: number;
}

/** Health of the node. */
export interface State {
  /** Reason for not being ready; absent otherwise. */
  reason?: string | null;
  /** The health in one word: `ok`, `ready` or `not ready`. */
  status: string;
}

/** Effect of the stop of a node on the shards. */
export interface StopVerdict {
  /** True if every shard of the node keeps a majority of its replicas without it. */
  can_stop: boolean;
  /** The other nodes that count as down: without a connection to the node that answers, or draining. */
  down: number[];
  /** True if the meta group would lose its majority. */
  meta: boolean;
  /** The node in question. */
  node: number;
  /** The shards that would lose their majority, without the meta group. */
  shards: number[];
}

/** The tokens of a user that are to be refused. */
export interface TokenRevocation {
  /** The time in seconds since the epoch: tokens with an earlier `iat`, or without one, are refused from now on. */
  before: number;
}

/** A change of the caller's typing state. */
export interface Types {
  /** True when the caller starts to type, false when the caller stops. */
  on: boolean;
}

/** The account of a user, without anything that the user wrote to others. */
export interface UserAccount {
  /** True if the user is deactivated. */
  deactivated: boolean;
  /** Displayed name; absent if the user has none. */
  name?: string | null;
  /** True if a node did not respond in time, so that its sessions are missing; absent otherwise. */
  partial?: boolean;
  /** The number of the sessions on all nodes. */
  sessions: number;
  /** The time in seconds since the epoch before which no accepted token was issued; 0 accepts all. */
  tokens_from: number;
  /** The id of the user. */
  u: UserId;
  /** Version of the profile; 0 without a profile, whether the user exists or not. */
  ver: number;
}

/** The verdicts of a bulk request, in the order of its items. */
export interface Verdicts {
  items: ItemVerdict[];
}

/** A session of a user, for operators. */
export interface WatchedSession {
  /** True if the session has no connection and waits for its client. */
  detached: boolean;
  /** The device; absent if the client named none. */
  device?: string | null;
  /** The id of the session in this list. It ends the session, and does not resume it. */
  id: string;
  /** The node that has the session. */
  node: number;
  /** The bytes of the events that the client has not confirmed; null if the session did not answer in time. */
  outbox_bytes: number | null;
  /** The number of sessions that this one has continued, one after the other; null if the session did not answer in time. */
  resumes: number | null;
  /** The time at which the session began or continued on its node, in milliseconds since the epoch. */
  since: number;
}

/** The sessions of a user, for operators. */
export interface WatchedSessionList {
  /** The sessions, the latest first. */
  items: WatchedSession[];
  /** True if a node did not respond in time, so that its sessions are missing; absent otherwise. */
  partial?: boolean;
}

/**
 * Fields of the `me` command, a merge patch of the user's profile and settings: null removes, and what is absent stays.
 * Without fields it only returns them.
 */
export interface MeCommandFields {
  /** URL of the user's picture, at most 1,024 bytes: `http`, `https`, or relative to the application. */
  avatar?: string | null;
  /** Custom data of the application, a JSON object of at most 4 KiB. */
  data?: CustomData | null;
  /** New setting for the users who may add this user to groups and channels. */
  group_invite?: GroupInvite | null;
  /** Displayed name, at most 256 bytes with a visible character. */
  name?: string | null;
}

// The entry of `@rookery/client`.

export { type Inbox, Rookery, type RookeryOptions } from "./client.js";
export type { Conversation, LiveWindow } from "./conversation.js";
export type {
  ChatFailure,
  ConversationInfo,
  EventName,
  LastMessage,
  Message,
  MessageState,
  MessageWindow,
  OutgoingInfo,
  Phase,
  Presence,
  Profile,
  Settled,
  Status,
  TokenReason,
} from "./engine/types.js";
export { ChatError, Unauthorized } from "./errors.js";
export type { Socket, SocketConstructor } from "./host.js";
export type { Live } from "./live.js";
export type { Outgoing } from "./outgoing.js";
export { memory, type Store, type StoreOp } from "./store.js";
export type { Body, ConversationKind, ConversationMember, HistoryVisibility, Role } from "./wire/index.js";

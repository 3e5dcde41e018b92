//! Table of commands: one row per command with its frozen number, its first feature level, the condition on the user's
//! membership, and the fields of its payload.
//!
//! The number and the order of the fields are the format on disk and between nodes. A new command takes a new number
//! and the present feature level. A changed payload is a new command. Each group has a range of numbers: conversation
//! from 1, user from 64, login from 96, outbox from 128, webhook from 144, retention from 160, erasure from 176.

use protocol::{
    ClientMessageId, ConversationId, ConversationKind, GroupInvite, HistoryVisibility, Role, UserId,
};

use super::api_keys::{ApiKeyId, KeyScopes};
use super::command::ActivityNote;
use super::command_codec::{PayloadField, commands};
use super::consent::AdditionLimits;
use super::device_cursors::DeviceCursors;
use super::erasure::{ErasedMessages, ErasureId, ErasureStep};
use super::login::{AttemptLimit, KeyRotationPolicy, LoginCodeId, SecretBytes, TokenFamilyId};
use super::outcome::OutboxId;

/// Condition on the membership of a command's user, by which an owner refuses a command before the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MembershipRule {
    /// The user must be a member.
    Required,
    /// The user must be a member, except of a direct conversation, which the command creates.
    RequiredUnlessDirect,
    /// The command may create the conversation, or repeats the result of one that did.
    Creates,
    /// The command may make the user a member of an existing conversation.
    Joins,
    /// The command needs no conversation row.
    Irrelevant,
}

commands! {
    /// Operations of a user on a conversation, in the shard of the conversation.
    ConversationOp in Conversation {
        /// Appends a message to the conversation.
        Send = 1, level 1, RequiredUnlessDirect {
            /// Peer of a direct conversation that is created if missing; the conversation is then
            /// [`ConversationId::direct`] of the two. `None` for an existing conversation.
            direct: Option<UserId>,
            /// JSON object, already checked ([`protocol::Body`]).
            body: Box<str>,
            /// Position of the answered message.
            reply_to: Option<u64>,
            mentions: Vec<UserId>,
        };
        /// Replaces the body of the message at `of`.
        Edit = 2, level 1, Required {
            of: u64,
            /// New body, a JSON object.
            body: Box<str>,
            /// New mentions; `None` leaves them unchanged.
            mentions: Option<Vec<UserId>>,
        };
        /// Deletes the message at `of`.
        Delete = 3, level 1, Required { of: u64 };
        /// Sets or removes a reaction to the message at `of`.
        React = 4, level 1, Required {
            of: u64,
            k: Box<str>,
            /// True to set, false to remove.
            on: bool,
            /// User whose reaction is removed; `None` means the user's own.
            who: Option<UserId>,
        };
        /// Moves the read cursor forward to `s`, and the delivered cursor with it.
        Read = 5, level 1, Required {
            /// Position of the last read event, inclusive.
            s: u64,
        };
        /// Moves the delivered cursor forward to `s`.
        Delivered = 6, level 1, Required {
            /// Position of the last delivered event, inclusive.
            s: u64,
        };
        /// Creates the conversation, whose prefix agrees with `kind`. Creating it again is a duplicate.
        Create = 7, level 1, Creates {
            kind: ConversationKind,
            /// Initial members besides the creator.
            members: Vec<UserId>,
            title: Option<String>,
            /// Custom data, a JSON object, already checked ([`protocol::CustomData`]).
            data: Option<Box<str>>,
        };
        /// Takes the place of an [`ConversationOp::Invite`] or a [`ConversationOp::Create`] that lacks consent. It is
        /// refused, unless its key was applied before.
        NotAdded = 8, level 1, Creates {
            /// Invited user; `None` means that the conversation was to be created.
            who: Option<UserId>,
            why: Box<str>,
        };
        /// Makes `who` a member by invitation.
        Invite = 9, level 1, Required { who: UserId };
        /// Removes the member `who`.
        Kick = 10, level 1, Required { who: UserId };
        /// Removes the user itself.
        Leave = 11, level 1, Required;
        /// Makes the user a member of a channel.
        Join = 12, level 1, Joins;
        /// Bans `who`, and removes it if it is a member.
        Ban = 13, level 1, Required { who: UserId };
        /// Lifts the ban of `who`.
        Unban = 14, level 1, Required { who: UserId };
        /// Changes the role or the custom data of a member.
        SetRole = 15, level 1, Required {
            who: UserId,
            /// New role; `None` leaves it unchanged.
            role: Option<Role>,
            /// New custom data; an empty text removes it, `None` leaves it unchanged.
            data: Option<Box<str>>,
        };
        /// Changes shared settings (`title`, `history`, `data`), which appends an event, and the member's own (`muted`,
        /// `pinned`), which appends none.
        Set = 16, level 1, Required {
            /// New title; an empty one removes it. `None` leaves it unchanged.
            title: Option<String>,
            /// Visibility of events before the membership.
            history: Option<HistoryVisibility>,
            /// Suppression of alerts for this member.
            muted: Option<bool>,
            /// Pinning at the top of the member's list.
            pinned: Option<bool>,
            /// New custom data; an empty text removes it, `None` leaves it unchanged.
            data: Option<Box<str>>,
        };
        /// Refuses direct messages of `who` to the user, or accepts them again. The conversation is
        /// [`ConversationId::direct`] of the two and need not exist.
        Block = 17, level 1, Irrelevant {
            who: UserId,
            /// True to block, false to unblock.
            on: bool,
        };
        /// Adds or removes a webhook name of the conversation. Appends no event.
        Hook = 18, level 1, Required {
            name: Box<str>,
            /// True to add, false to remove.
            on: bool,
        };
        /// Makes `who` a member, or sets the role of a member. A state that holds already is acknowledged.
        PutMember = 19, level 1, Required {
            who: UserId,
            /// Role of the member; `None` leaves that of a member unchanged.
            role: Option<Role>,
        };
    }

    /// Operations on the rows of a user, in the shard of the user.
    UserOp in User {
        /// Binds the key of a `create` to `conversation`. A key bound before returns its conversation. Precedes every
        /// [`ConversationOp::Create`] of a group or channel.
        Reserve = 64, level 1, Irrelevant {
            conversation: ConversationId,
            /// Key of the `create`.
            cid: ClientMessageId,
        };
        /// Writes the user's row for a conversation, unless a newer version exists.
        IndexPut = 65, level 1, Irrelevant {
            conversation: ConversationId,
            member: bool,
            /// Outbox entry of the change; the greater one wins.
            version: OutboxId,
            /// Time of the membership change, in milliseconds since the epoch.
            at_ms: u64,
        };
        /// Writes the user's row for a block, unless a newer version exists.
        BlockPut = 66, level 1, Irrelevant {
            who: UserId,
            on: bool,
            /// Outbox entry of the change; the greater one wins.
            version: OutboxId,
            /// Time of the change, in milliseconds since the epoch.
            at_ms: u64,
        };
        /// Records the time at which the user was last seen, unless a later one exists.
        Seen = 67, level 1, Irrelevant {
            /// Milliseconds since the epoch.
            at_ms: u64,
        };
        /// Decides whether `by` may make the user a member of `conversation`, and counts a permitted addition.
        MayAdd = 68, level 1, Irrelevant {
            by: UserId,
            conversation: ConversationId,
            /// Idempotency key of the addition: the same key counts once.
            cid: ClientMessageId,
            /// Conversation with both as members, according to the shard of `by`; `None` if not looked up.
            shared: Option<ConversationId>,
            bounds: AdditionLimits,
        };
        /// Sets the users who may add the user to groups and channels.
        Wish = 69, level 1, Irrelevant { group_invite: GroupInvite };
        /// Replaces the cursors of a device.
        PutCursors = 70, level 1, Irrelevant {
            device: Box<str>,
            /// New cursors; `None` removes them.
            cursors: Option<DeviceCursors>,
            /// Time in milliseconds until they expire.
            valid_ms: u64,
        };
        /// Changes the access of the user, ends logins that it refuses, and closes the user's sessions unless it
        /// activates the user again.
        PutAccess = 71, level 1, Irrelevant {
            /// True to deactivate the user, false to activate it; `None` leaves it unchanged.
            deactivated: Option<bool>,
            /// Time in seconds since the epoch before which tokens are refused; `None` leaves it unchanged.
            before_s: Option<u64>,
        };
        /// Changes the user's profile. `None` leaves a value unchanged, an empty text removes it.
        PutProfile = 72, level 1, Irrelevant {
            name: Option<Box<str>>,
            /// URL of the user's picture, already checked.
            avatar: Option<Box<str>>,
            /// JSON object, already checked ([`protocol::CustomData`]).
            data: Option<Box<str>>,
        };
        /// Begins the erasure of the user: refuses every token, ends the logins, closes the sessions. An erasure that was
        /// begun before keeps its id. One that is done begins anew if the user has become a member since.
        Erase = 73, level 1, Irrelevant {
            /// Id of the erasure, which hashes to the shard of the user.
            id: ErasureId,
            /// Random id that stands for the user in what stays.
            tombstone: UserId,
            messages: ErasedMessages,
        };
        /// Records that the erasure is done with a conversation, and removes the conversation from the user's list.
        PutErased = 74, level 1, Irrelevant {
            conversation: ConversationId,
            /// Version of the row that the erasure has seen; a later membership is kept.
            version: OutboxId,
            /// Shard of the conversation.
            shard: u16,
            /// Last step in the conversation.
            step: ErasureStep,
        };
        /// Removes a bounded number of the user's rows once the erasure is done with all conversations. The last of them
        /// ends the erasure.
        EraseRows = 75, level 1, Irrelevant {
            /// Shard of the user.
            shard: u16,
        };
    }

    /// Steps of a login, in the shard of a [`LoginKey`](super::login::LoginKey).
    LoginOp in Login {
        /// Creates the next signing key if due, and removes keys that no valid token was signed with.
        TurnKeys = 96, level 1, Irrelevant {
            /// Seed of the key, used only if one is created.
            seed: SecretBytes,
            /// Key of all hashes, used only if none exists yet.
            pepper: SecretBytes,
            pace: KeyRotationPolicy,
        };
        /// Counts one attempt of an IP address or a login identifier.
        Count = 97, level 1, Irrelevant {
            /// Random number; a retry with the same one is not counted again.
            nonce: u64,
            limit: AttemptLimit,
        };
        /// Stores a code for a login identifier, unless it has requested too many.
        PutCode = 98, level 1, Irrelevant {
            id: LoginCodeId,
            code: SecretBytes,
            /// Lifetime of the code in milliseconds.
            valid_ms: u64,
            /// Limit on codes per login identifier.
            limit: AttemptLimit,
        };
        /// Verifies a code of a login identifier.
        TryCode = 99, level 1, Irrelevant {
            id: LoginCodeId,
            /// Hash of the entered code.
            code: SecretBytes,
            /// Random number; a retry with the same one is the same attempt.
            attempt: u64,
            /// Maximum number of wrong attempts.
            tries: u32,
        };
        /// Creates a token family of a user.
        OpenLine = 100, level 1, Irrelevant {
            id: TokenFamilyId,
            /// Hash of its first token.
            token: SecretBytes,
            /// Lifetime of the token in milliseconds.
            valid_ms: u64,
        };
        /// Replaces the current token of a family by the next.
        TurnLine = 101, level 1, Irrelevant {
            id: TokenFamilyId,
            /// Hash of the presented token.
            token: SecretBytes,
            /// Hash of the next token.
            next: SecretBytes,
            /// Lifetime of the next token in milliseconds.
            valid_ms: u64,
            /// Time in milliseconds for which a replaced token stays usable, for a lost response or a second tab.
            grace_ms: u64,
        };
        /// Ends a token family, or all families of the user, with the device tokens that they created.
        EndLine = 102, level 1, Irrelevant {
            id: TokenFamilyId,
            /// True to end all families and all device tokens.
            all: bool,
        };
        /// Creates a device token of a user, unless the login that requests it has ended.
        OpenDevice = 103, level 1, Irrelevant {
            /// Id of the token, which counts as a login of its own.
            id: TokenFamilyId,
            /// SHA-256 hash of the token.
            token: SecretBytes,
            /// Only device that may use the token.
            device: Box<str>,
            /// Name for lists of the user's tokens.
            name: Option<Box<str>>,
            /// Login that requests the token and whose end revokes it; `None` for a user of another issuer.
            login: Option<TokenFamilyId>,
            /// Lifetime of the token in milliseconds.
            valid_ms: u64,
        };
        /// Revokes a device token.
        EndDevice = 104, level 1, Irrelevant { id: TokenFamilyId };
        /// Makes a code usable again whose attempt succeeded and yielded no tokens.
        ReleaseCode = 105, level 1, Irrelevant {
            id: LoginCodeId,
            /// Attempt that used the code.
            attempt: u64,
        };
        /// Creates an API key, in the shard of the keyring.
        CreateApiKey = 106, level 1, Irrelevant {
            id: ApiKeyId,
            /// SHA-256 hash of the whole key.
            secret: SecretBytes,
            name: Box<str>,
            scopes: KeyScopes,
            /// End in milliseconds since the epoch; `None` for a key without one.
            expires_ms: Option<u64>,
        };
        /// Revokes an API key.
        RevokeApiKey = 107, level 1, Irrelevant { id: ApiKeyId };
        /// Appends an entry to the audit log, before the change that it records.
        Audit = 108, level 1, Irrelevant {
            /// Random number; a retry with the same one is not recorded again.
            nonce: u64,
            key: ApiKeyId,
            /// Kind of the change.
            act: Box<str>,
            /// Conversation or user that the change concerns.
            target: Box<str>,
            /// Number of items that the request names.
            count: u32,
        };
        /// Appends the entry of an operator's change to the audit log, or sets the outcome of the entry with this nonce.
        AuditOperator = 112, level 1, Irrelevant {
            /// Random number of the change.
            nonce: u64,
            /// Name of the operator's token.
            who: Box<str>,
            /// Kind of the change.
            act: Box<str>,
            /// Node, session, user or key that the change concerns.
            target: Box<str>,
            /// Outcome of the change; `begun` until it is known.
            outcome: Box<str>,
        };
    }

    /// Effects of one shard on another. Proposed by shard owners.
    OutboxOp in Outbox {
        /// Removes outbox entries that the other shard has applied.
        OutboxDone = 128, level 1, Irrelevant { ids: Vec<OutboxId> };
        /// Moves conversations to the time of their last message, in the shard of their members.
        Active = 129, level 1, Irrelevant { items: Vec<ActivityNote> };
        /// Ends the activity watches of conversations whose members' shards have recorded the last message.
        EndWatch = 130, level 1, Irrelevant {
            /// Conversations, each with the position of the last recorded message; a later message continues the watch.
            items: Vec<(ConversationId, u64)>,
        };
    }

    /// Queue of webhook messages of a shard. Proposed by its owner.
    WebhookOp in Webhook {
        /// Records the webhook policy of the shard.
        HooksOn = 144, level 1, Irrelevant {
            /// Size of the largest conversation whose messages are queued for absent members; 0 queues none.
            members: u64,
        };
        /// Removes queued messages that were delivered or dropped.
        WebhookDelivered = 145, level 1, Irrelevant { ids: Vec<OutboxId> };
    }

    /// Removal of rows by age. Proposed by the owner of the shard.
    RetentionOp in Retention {
        /// Trims the events of a conversation below `below`, at most a quarter of those retained. They are invisible at
        /// once; their rows are removed in bounded steps, so the owner proposes it again until all are removed.
        Retain = 160, level 1, Irrelevant {
            conversation: ConversationId,
            /// First event to retain. The last event keeps its place in any case; if `below` is above it, its text is
            /// redacted.
            below: u64,
        };
        /// Removes a bounded number of expired login rows.
        SweepLogins = 161, level 1, Irrelevant;
    }

    /// Erasure of users in the conversations of a shard. Proposed by the owners of the users' shards.
    ErasureOp in Erasure {
        /// Ends the membership of the user, and removes the user from a bounded number of the conversation's rows. It is
        /// proposed again until the conversation does not name the user any more.
        EraseIn = 176, level 1, Irrelevant {
            conversation: ConversationId,
            user: UserId,
            /// Id that stands for the user in what stays.
            tombstone: UserId,
            messages: ErasedMessages,
        };
    }
}

//! Commands proposed to a shard: one version byte, then postcard.
//!
//! The order of variants and fields is the format on disk and between nodes. A new operation is a new variant at the
//! end. A changed one needs a new version, which nodes send only when the whole cluster reads it.

use bytes::Bytes;
use protocol::answer::LastEvent;
use protocol::{
    ClientMessageId, ConversationId, ConversationKind, GroupInvite, HistoryVisibility, Role, UserId,
};
use serde::{Deserialize, Serialize};

use super::consent::AdditionLimits;
use super::login::LoginCommand;
use super::outcome::OutboxId;

/// Version byte of the encoding.
const VERSION: u8 = 1;

/// Change proposed for a user or by the node itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ShardCommand {
    pub conv: ConversationId,
    pub user: UserId,
    /// Idempotency key; `None` only for operations that append no event.
    pub cid: Option<ClientMessageId>,
    /// Session that does not receive the event, because it sent the command; 0 for none.
    pub skip: u64,
    pub op: ShardOp,
}

/// Operations on a shard. Those of a conversation go to the shard of `conv`; those of a user ([`ShardOp::Reserve`],
/// [`ShardOp::IndexPut`], [`ShardOp::BlockPut`], [`ShardOp::Seen`], [`ShardOp::MayAdd`], [`ShardOp::Wish`]) to the
/// shard of `user`. Those of the shard owner ([`ShardOp::OutboxDone`], webhooks, activity) name their shard apart.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ShardOp {
    /// Appends a message to the conversation.
    Send {
        /// Peer of a direct conversation that is created if missing; `conv` is then [`ConversationId::direct`] of the
        /// two. `None` for an existing conversation.
        direct: Option<UserId>,
        /// JSON object, already checked ([`protocol::Body`]).
        body: Box<str>,
        /// Position of the answered message.
        reply_to: Option<u64>,
        mentions: Vec<UserId>,
    },
    /// Creates the conversation `conv`, whose prefix agrees with `kind`. Creating it again is a duplicate.
    Create {
        kind: ConversationKind,
        /// Initial members besides the creator.
        members: Vec<UserId>,
        title: Option<String>,
    },
    /// Makes `who` a member by invitation.
    Invite { who: UserId },
    /// Removes the member `who`.
    Kick { who: UserId },
    /// Removes the user itself.
    Leave,
    /// Moves the read cursor forward to `s`, and the delivered cursor with it.
    Read {
        /// Position of the last read event, inclusive.
        s: u64,
    },
    /// Moves the delivered cursor forward to `s`.
    Delivered {
        /// Position of the last delivered event, inclusive.
        s: u64,
    },
    /// Binds, in the user's shard, the key of a `create` to `conv`. A key bound before returns its conversation
    /// ([`super::ApplyEffect::Reserved`]). Precedes every [`ShardOp::Create`].
    Reserve,
    /// Writes the user's row for `conv`, unless a newer version exists.
    IndexPut {
        member: bool,
        /// Outbox entry of the change; the greater one wins.
        version: OutboxId,
        /// Time of the membership change, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Removes outbox entries that the other shard has applied.
    OutboxDone { ids: Vec<OutboxId> },
    /// Replaces the body of the message at `of`.
    Edit {
        of: u64,
        /// New body, a JSON object.
        body: Box<str>,
        /// New mentions; `None` leaves them unchanged.
        mentions: Option<Vec<UserId>>,
    },
    /// Deletes the message at `of`.
    Delete { of: u64 },
    /// Sets or removes a reaction to the message at `of`.
    React {
        of: u64,
        k: Box<str>,
        /// True to set, false to remove.
        on: bool,
        /// User whose reaction is removed; `None` means the user's own.
        who: Option<UserId>,
    },
    /// Makes the user a member of a channel.
    Join,
    /// Bans `who`, and removes it if it is a member.
    Ban { who: UserId },
    /// Lifts the ban of `who`.
    Unban { who: UserId },
    /// Changes the role of a member.
    SetRole { who: UserId, role: Role },
    /// Changes shared settings (`title`, `history`), which appends an event, and the member's own (`muted`, `pinned`),
    /// which appends none.
    Set {
        /// New title; an empty one removes it. `None` leaves it unchanged.
        title: Option<String>,
        /// Visibility of events before the membership.
        history: Option<HistoryVisibility>,
        /// Suppression of alerts for this member.
        muted: Option<bool>,
        /// Pinning at the top of the member's list.
        pinned: Option<bool>,
    },
    /// Refuses direct messages of `who` to the user, or accepts them again. `conv` is [`ConversationId::direct`] of the
    /// two and need not exist.
    Block {
        who: UserId,
        /// True to block, false to unblock.
        on: bool,
    },
    /// Writes the user's row for a block, unless a newer version exists.
    BlockPut {
        who: UserId,
        on: bool,
        /// Outbox entry of the change; the greater one wins.
        version: OutboxId,
        /// Time of the change, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Records, in the user's shard, the time at which the user was last seen, unless a later one exists.
    Seen {
        /// Milliseconds since the epoch.
        at_ms: u64,
    },
    /// Trims the events below `below`, at most a quarter of those retained. They are invisible at once; their rows are
    /// removed in bounded steps, so the owner proposes it again until all are removed.
    Retain {
        /// First event to retain. The last event keeps its place in any case; if `below` is above it, its text is
        /// redacted.
        below: u64,
    },
    /// Step of a login, in the shard of the id in `conv`.
    Login(LoginCommand),
    /// Adds or removes a webhook name of the conversation. Appends no event.
    Hook {
        name: Box<str>,
        /// True to add, false to remove.
        on: bool,
    },
    /// Records the webhook policy of the shard. Proposed by the owner.
    HooksOn {
        /// Size of the largest conversation whose messages are queued for absent members; 0 queues none.
        members: u64,
    },
    /// Removes queued webhook messages that were delivered or dropped. Proposed by the owner.
    WebhookDelivered { ids: Vec<OutboxId> },
    /// Decides, in the user's shard, whether `by` may make the user a member of `conv`, and counts a permitted
    /// addition. The result holds a [`verdict`](super::consent::verdict).
    MayAdd {
        by: UserId,
        /// Idempotency key of the addition: the same key counts once.
        cid: ClientMessageId,
        /// Conversation with both as members, according to the shard of `by`; `None` if not looked up.
        shared: Option<ConversationId>,
        bounds: AdditionLimits,
    },
    /// Takes the place of an [`ShardOp::Invite`] or an [`ShardOp::Create`] that lacks consent. It is refused, unless
    /// its key was applied before.
    NotAdded {
        /// Invited user; `None` means that the conversation was to be created.
        who: Option<UserId>,
        why: Box<str>,
    },
    /// Sets, in the user's shard, the users who may add the user to groups and channels.
    Wish { group_invite: GroupInvite },
    /// Moves conversations to the time of their last message, in the shard of their members. Proposed by the owners of
    /// the conversations.
    Active { items: Vec<ActivityNote> },
    /// Ends the activity watches of conversations whose members' shards have recorded the last message. Proposed by the
    /// owner.
    EndWatch {
        /// Conversations, each with the position of the last recorded message; a later message continues the watch.
        items: Vec<(ConversationId, u64)>,
    },
}

/// Last message of a conversation, sent to the shard of its members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ActivityNote {
    pub conv: ConversationId,
    pub last: LastEvent,
    /// True if the conversation has too many members for a note in every window.
    pub large: bool,
    /// Members whose rows are in the receiving shard.
    pub users: Vec<UserId>,
}

// === impl ShardCommand ===

impl ShardCommand {
    /// Returns the command that removes outbox entries of a shard. It concerns no conversation and no user; both ids
    /// are `-`.
    pub fn outbox_done(ids: Vec<OutboxId>) -> ShardCommand {
        let conv = ConversationId::parse("-").expect("a well-formed id");
        ShardCommand::of_the_owner(conv, ShardOp::OutboxDone { ids })
    }

    /// Returns a command on the webhook rows of a shard. It concerns no conversation and no user; both ids are `-`.
    pub fn hooks(op: ShardOp) -> ShardCommand {
        let conv = ConversationId::parse("-").expect("a well-formed id");
        ShardCommand::of_the_owner(conv, op)
    }

    /// Returns a command on activity notes or watches. It concerns no single conversation and no user; both ids are
    /// `-`.
    pub fn active(op: ShardOp) -> ShardCommand {
        let conv = ConversationId::parse("-").expect("a well-formed id");
        ShardCommand::of_the_owner(conv, op)
    }

    /// Returns the command that trims the events of a conversation below `below`. It concerns no user, whose id is `-`.
    pub fn retain(conv: ConversationId, below: u64) -> ShardCommand {
        ShardCommand::of_the_owner(conv, ShardOp::Retain { below })
    }

    fn of_the_owner(conv: ConversationId, op: ShardOp) -> ShardCommand {
        let user = UserId::parse("-").expect("a well-formed id");
        ShardCommand {
            conv,
            user,
            cid: None,
            skip: 0,
            op,
        }
    }

    /// Returns the command that records the time at which a user was last seen.
    pub fn seen(user: UserId, at_ms: u64) -> ShardCommand {
        ShardCommand::of_user(user, ShardOp::Seen { at_ms })
    }

    /// Returns a command on the rows of a user alone. It concerns no conversation, whose id is `-`.
    pub fn of_user(user: UserId, op: ShardOp) -> ShardCommand {
        let conv = ConversationId::parse("-").expect("a well-formed id");
        ShardCommand {
            conv,
            user,
            cid: None,
            skip: 0,
            op,
        }
    }

    /// Returns a login command for the id `name`, with a key if the step needs one. It has no user.
    pub fn login(name: ConversationId, cid: Option<ClientMessageId>, login: LoginCommand) -> ShardCommand {
        let user = UserId::parse("-").expect("a well-formed id");
        ShardCommand {
            conv: name,
            user,
            cid,
            skip: 0,
            op: ShardOp::Login(login),
        }
    }

    /// Returns the bytes to propose.
    pub fn encode(&self) -> Bytes {
        // The body dominates the size of a send; reserving it avoids copies while the buffer grows.
        let room = match &self.op {
            ShardOp::Send { body, .. } | ShardOp::Edit { body, .. } => body.len() + 192,
            _ => 192,
        };
        let mut bytes = Vec::with_capacity(room);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes)
            .expect("commands have only encodable fields")
            .into()
    }

    /// Decodes a proposed command. The error message becomes [`super::ShardOutcome::Bad`].
    pub fn decode(bytes: &[u8]) -> Result<ShardCommand, String> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((command, [])) => Ok(command),
                // Trailing bytes are refused: a newer format would otherwise be applied differently by replicas of two
                // versions.
                Ok(_) => Err("bytes after the command".to_owned()),
                Err(error) => Err(format!("malformed command: {error}")),
            },
            Some((version, _)) => Err(format!("command of version {version}, this node reads {VERSION}")),
            None => Err("empty command".to_owned()),
        }
    }
}

//! What is proposed to a shard: a [`Command`], one byte of version and then postcard.
//!
//! The order of the variants and fields is the format on disk and between nodes. A new operation is a new variant at
//! the end; a changed one is a new version, which nodes send only when the whole cluster reads it.

use bytes::Bytes;
use protocol::answer::Last;
use protocol::{Cid, ConvId, GroupInvite, History, Kind, Role, UserId};
use serde::{Deserialize, Serialize};

use super::consent::Bounds;
use super::login::Login;
use super::outcome::OutboxId;

/// The version of the encoding.
const VERSION: u8 = 1;

/// A change that a user, or the node itself, wants.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Command {
    /// The conversation concerned.
    pub conv: ConvId,
    /// Who wants it.
    pub user: UserId,
    /// The idempotency key; every operation that makes an event needs one.
    pub cid: Option<Cid>,
    /// The session that doesn't want the event echoed, 0 for none.
    pub skip: u64,
    /// What is wanted.
    pub op: Op,
}

/// The operations. Those of a conversation go to the shard of `conv`, those of a user ([`Op::Reserve`],
/// [`Op::IndexPut`], [`Op::BlockPut`], [`Op::Seen`]) to the shard of `user`, [`Op::OutboxDone`] to the shard whose outbox it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Appends a message.
    Send {
        /// The other user, if the conversation is a direct one to be created at need; `conv` is then
        /// [`ConvId::direct`] of the two.
        direct: Option<UserId>,
        /// The body: a JSON object, already checked ([`protocol::Body`]).
        body: Box<str>,
        /// The `s` of the message that is answered.
        reply_to: Option<u64>,
        /// Users to alert.
        mentions: Vec<UserId>,
    },
    /// Makes the conversation `conv`, whose prefix agrees with `kind`. Making it twice is a duplicate.
    Create {
        /// The kind.
        kind: Kind,
        /// The other initial members.
        members: Vec<UserId>,
        /// The title.
        title: Option<String>,
    },
    /// Makes `who` a member.
    Invite {
        /// The new member.
        who: UserId,
    },
    /// Removes `who`.
    Kick {
        /// The member.
        who: UserId,
    },
    /// Removes the user.
    Leave,
    /// Moves the read cursor forward to `s`, and the delivered cursor with it.
    Read {
        /// Up to and including this event.
        s: u64,
    },
    /// Moves the delivered cursor forward to `s`.
    Delivered {
        /// Up to and including this event.
        s: u64,
    },
    /// Fixes, in the user's shard, which conversation a `create` with this `cid` makes: `conv` if it is the first,
    /// otherwise the one of the first time ([`super::Effect::Reserved`]). Comes before every [`Op::Create`].
    Reserve,
    /// Writes the user's row for `conv`, unless a newer version is there.
    IndexPut {
        /// Whether the user is a member.
        member: bool,
        /// The outbox entry that says so: the later of two wins.
        version: OutboxId,
        /// When the membership changed, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Removes outbox entries that the other shard has applied.
    OutboxDone {
        /// The entries.
        ids: Vec<OutboxId>,
    },
    /// Changes the body of the message at `of`.
    Edit {
        /// The message.
        of: u64,
        /// The new body: a JSON object.
        body: Box<str>,
        /// Whom the message mentions from now on; `None`: whom it did.
        mentions: Option<Vec<UserId>>,
    },
    /// Deletes the message at `of`.
    Delete {
        /// The message.
        of: u64,
    },
    /// Sets or takes back a reaction to the message at `of`.
    React {
        /// The message.
        of: u64,
        /// The reaction.
        k: Box<str>,
        /// Whether it is set or taken back.
        on: bool,
        /// Whose reaction is taken back, if not the user's own.
        who: Option<UserId>,
    },
    /// Makes the user a member of a channel.
    Join,
    /// Removes `who`, if a member, and keeps it out.
    Ban {
        /// The user.
        who: UserId,
    },
    /// Lets `who` come again.
    Unban {
        /// The user.
        who: UserId,
    },
    /// Gives a member another role.
    SetRole {
        /// The member.
        who: UserId,
        /// The role.
        role: Role,
    },
    /// Changes what is everybody's (`title`, `history`), which makes an event, and what is the member's own (`muted`,
    /// `pinned`), which makes none.
    Set {
        /// The title; an empty one removes it.
        title: Option<String>,
        /// How far back a member may read.
        history: Option<History>,
        /// Whether the member wants no alerts.
        muted: Option<bool>,
        /// Whether the member keeps the conversation on top.
        pinned: Option<bool>,
    },
    /// Refuses what `who` writes to the user directly, or accepts it again. `conv` is [`ConvId::direct`] of the two,
    /// which need not exist.
    Block {
        /// The other user.
        who: UserId,
        /// Whether to refuse.
        on: bool,
    },
    /// Writes the user's row for a block, unless a newer version is there.
    BlockPut {
        /// The other user.
        who: UserId,
        /// Whether it is blocked.
        on: bool,
        /// The outbox entry that says so: the later of two wins.
        version: OutboxId,
        /// When that changed, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Notes, in the user's shard, when the user was seen last, unless a later time is there.
    Seen {
        /// When, in milliseconds since the epoch.
        at_ms: u64,
    },
    /// Lets go of the events below `below`, a quarter of what is there at most: they are gone at once, and their rows a
    /// bounded number at a time, so it is proposed again until all are removed. Proposed by the owner, for nobody.
    Retain {
        /// The first event that is to stay. The last event keeps its place in any case; above it, its words go too.
        below: u64,
    },
    /// A step of a login, in the shard of what `conv` names.
    Login(Login),
    /// Has the hook told of every message of the conversation under a name, or no longer. Makes no event.
    Hook {
        /// The name.
        name: Box<str>,
        /// Whether it is told.
        on: bool,
    },
    /// Says, to the shard, whether messages are told to the hook. Proposed by the owner.
    HooksOn {
        /// Members of the largest conversation whose messages are told for those who are away; 0: no message is told.
        members: u64,
    },
    /// Removes messages that the hook was told of, or that are given up. Proposed by the owner.
    HooksTold {
        /// The entries.
        ids: Vec<OutboxId>,
    },
    /// Asks, in the user's shard, whether `by` may make the user a member of `conv`, and counts it if so. The answer is
    /// a [`verdict`](super::consent::verdict).
    MayAdd {
        /// Who wants to.
        by: UserId,
        /// The key under which it is to be done: the same one is counted once.
        cid: Cid,
        /// A conversation that both are in, of which the shard of `by` has told.
        shared: Option<ConvId>,
        /// How many are permitted.
        bounds: Bounds,
    },
    /// Stands where an [`Op::Invite`] or an [`Op::Create`] would, had those to be added consented: it is refused, unless
    /// that was done before under its key.
    NotAdded {
        /// Who was to be invited; `None`: the conversation was to be made.
        who: Option<UserId>,
        /// The reason, for people.
        why: Box<str>,
    },
    /// Sets, in the user's shard, who may make the user a member of groups and channels.
    Wish {
        /// Who.
        group_invite: GroupInvite,
    },
    /// Moves conversations of users, in the shard of those, to the time of their last message. Proposed by the owners of
    /// the conversations.
    Active {
        /// What was sent where.
        items: Vec<Activity>,
    },
    /// Ends the watch over conversations of the shard whose members know of the message at that place, unless there is
    /// one behind it. Proposed by the owner.
    EndWatch {
        /// Each with the last message that was told.
        items: Vec<(ConvId, u64)>,
    },
}

/// A message in a conversation, as told to the shard of its members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Activity {
    /// The conversation.
    pub conv: ConvId,
    /// The last message.
    pub last: Last,
    /// There are more members than are told of every window.
    pub large: bool,
    /// Members of the shard.
    pub users: Vec<UserId>,
}

// === impl Command ===

impl Command {
    /// Returns the command that removes outbox entries of a shard. It concerns no conversation and no user; both are
    /// named `-`.
    pub fn outbox_done(ids: Vec<OutboxId>) -> Command {
        let conv = ConvId::parse("-").expect("a well-formed id");
        Command::of_the_owner(conv, Op::OutboxDone { ids })
    }

    /// Returns a command that concerns the hook's rows of a shard. It concerns no conversation and no user; both are
    /// named `-`.
    pub fn hooks(op: Op) -> Command {
        let conv = ConvId::parse("-").expect("a well-formed id");
        Command::of_the_owner(conv, op)
    }

    /// Returns a command about messages that are told to their members' shards. It concerns no conversation and no user;
    /// both are named `-`.
    pub fn active(op: Op) -> Command {
        let conv = ConvId::parse("-").expect("a well-formed id");
        Command::of_the_owner(conv, op)
    }

    /// Returns the command that lets go of the events of a conversation below `below`. It concerns no user, who is
    /// named `-`.
    pub fn retain(conv: ConvId, below: u64) -> Command {
        Command::of_the_owner(conv, Op::Retain { below })
    }

    fn of_the_owner(conv: ConvId, op: Op) -> Command {
        let user = UserId::parse("-").expect("a well-formed id");
        Command {
            conv,
            user,
            cid: None,
            skip: 0,
            op,
        }
    }

    /// Returns the command that notes when a user was seen last.
    pub fn seen(user: UserId, at_ms: u64) -> Command {
        Command::of_user(user, Op::Seen { at_ms })
    }

    /// Returns a command that concerns the user alone, and no conversation, which is named `-`.
    pub fn of_user(user: UserId, op: Op) -> Command {
        let conv = ConvId::parse("-").expect("a well-formed id");
        Command {
            conv,
            user,
            cid: None,
            skip: 0,
            op,
        }
    }

    /// Returns a step of a login that concerns `name`, under a key if it needs one. It has no user.
    pub fn login(name: ConvId, cid: Option<Cid>, login: Login) -> Command {
        let user = UserId::parse("-").expect("a well-formed id");
        Command {
            conv: name,
            user,
            cid,
            skip: 0,
            op: Op::Login(login),
        }
    }

    /// Returns the bytes to be proposed.
    pub fn encode(&self) -> Bytes {
        let room = match &self.op {
            Op::Send { body, .. } | Op::Edit { body, .. } => body.len() + 192,
            _ => 192,
        };
        let mut bytes = Vec::with_capacity(room);
        bytes.push(VERSION);
        postcard::to_extend(self, bytes)
            .expect("commands have only encodable fields")
            .into()
    }

    /// Reads a proposed command. The error says what is wrong; it becomes [`super::Outcome::Bad`].
    pub fn decode(bytes: &[u8]) -> Result<Command, String> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((command, [])) => Ok(command),
                Ok(_) => Err("bytes after the command".to_owned()),
                Err(error) => Err(format!("malformed command: {error}")),
            },
            Some((version, _)) => Err(format!("command of version {version}, this node reads {VERSION}")),
            None => Err("empty command".to_owned()),
        }
    }
}

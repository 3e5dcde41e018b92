//! Cost of a command in tokens of its user's rate limits. Pure functions of the command's size.
//!
//! Each command that counts costs at least one token. The largest command of each kind costs less than the default
//! burst of a node, so every permitted command can succeed. docs/protocol.md has the table (section 10), and a test
//! compares it with [`cost`].

use crate::command::{
    ClientCommand, CreateConversation, EditMessage, GetHistory, ListConversations, ListMembers,
    OpenConversation, SendMessage, SyncRequest, WatchUsers,
};
use crate::limits;

/// Body bytes per additional token: they are written by every replica and sent to every member.
const BODY_BYTES: usize = 4_096;
/// Mentions per additional token of a message.
const MENTIONS: usize = 10;
/// Initial members per additional token: each is an event, a row of its own, and an introduction.
const MEMBERS: usize = 5;
/// Rows or events of a page per token.
const ROWS: usize = 25;
/// Conversations in `have` per additional token.
const HAVE: usize = 25;
/// Base cost of a `sync` page, which holds up to 1 MiB of many conversations.
const SYNC: u32 = 4;
/// Users of `watch` per additional token.
const WATCHED: usize = 50;
/// Cost of the begin of a session: a token is verified, and up to 1,000 conversations are subscribed.
const SESSION: u32 = 5;

/// Rate limit from which a command's tokens are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandRate {
    /// Rate of commands that change state.
    Changes,
    /// Rate of commands that only read.
    Questions,
    /// No shared rate: the command has a rate of its own, or costs nothing.
    Free,
}

/// Cost of a command: a rate limit and a number of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandCost {
    /// The rate limit that is charged.
    pub rate: CommandRate,
    /// Number of tokens that the command takes.
    pub tokens: u32,
}

// === impl CommandCost ===

impl CommandCost {
    /// Cost of the smallest query.
    pub const QUESTION: CommandCost = questions(1);
    /// Cost of the smallest change. An unreadable command costs the same.
    pub const CHANGE: CommandCost = changes(1);
    /// Cost of the begin of a session, by any transport.
    pub const SESSION: CommandCost = questions(SESSION);
}

/// Returns the cost of a command for its user.
pub fn cost(command: &ClientCommand) -> CommandCost {
    match command {
        ClientCommand::Send(SendMessage {
            body: b, mentions, ..
        }) => changes(1 + parts(b.as_str().len(), BODY_BYTES) + parts(mentions.len(), MENTIONS)),
        ClientCommand::Edit(EditMessage {
            body: b, mentions, ..
        }) => {
            let mentions = mentions.as_ref().map_or(0, Vec::len);
            changes(1 + parts(b.as_str().len(), BODY_BYTES) + parts(mentions, MENTIONS))
        }
        ClientCommand::Create(CreateConversation { members, .. }) => {
            changes(1 + parts(members.len(), MEMBERS))
        }
        // No wildcard: a new command must not be free by accident.
        ClientCommand::Del(_)
        | ClientCommand::React(_)
        | ClientCommand::Invite(_)
        | ClientCommand::Kick(_)
        | ClientCommand::Ban(_)
        | ClientCommand::Unban(_)
        | ClientCommand::Role(_)
        | ClientCommand::Join(_)
        | ClientCommand::Leave(_)
        | ClientCommand::Set(_)
        | ClientCommand::Block(_)
        | ClientCommand::Unblock(_)
        | ClientCommand::Read(_)
        | ClientCommand::Recv(_)
        | ClientCommand::Me(_) => CommandCost::CHANGE,
        ClientCommand::Auth(_) => CommandCost::SESSION,
        ClientCommand::Open(OpenConversation { have, .. }) => questions(1 + u32::from(have.is_some())),
        ClientCommand::List(ListConversations { limit, .. })
        | ClientCommand::Hist(GetHistory { limit, .. })
        | ClientCommand::Members(ListMembers { limit, .. }) => page(*limit),
        ClientCommand::Sync(SyncRequest { have, .. }) => questions(SYNC + parts(have.len(), HAVE)),
        ClientCommand::Watch(WatchUsers { users }) | ClientCommand::Unwatch(WatchUsers { users }) => {
            questions(1 + parts(users.len(), WATCHED))
        }
        ClientCommand::Typing(_) | ClientCommand::Hb(_) => CommandCost {
            rate: CommandRate::Free,
            tokens: 0,
        },
    }
}

/// Returns the cost of a page of at most `limit` rows or events.
pub fn page(limit: Option<u64>) -> CommandCost {
    // Rounded up, unlike the size-dependent surcharges: a page of one row is a read too.
    questions(u32::try_from(limits::page(limit).div_ceil(ROWS)).unwrap_or(u32::MAX))
}

const fn changes(tokens: u32) -> CommandCost {
    let rate = CommandRate::Changes;
    CommandCost { rate, tokens }
}

const fn questions(tokens: u32) -> CommandCost {
    let rate = CommandRate::Questions;
    CommandCost { rate, tokens }
}

/// Returns the number of complete parts in `size`.
fn parts(size: usize, part: usize) -> u32 {
    u32::try_from(size / part).unwrap_or(u32::MAX)
}

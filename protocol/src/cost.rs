//! What a command costs of its user's rates. Pure, and by size: whatever does more work for more of it costs more.
//!
//! A command costs at least one token, and the largest of each kind less than the burst of a node with the default
//! settings, so that everything that is permitted is possible. docs/protocol.md has the table (section 10), and a test
//! compares it with [`cost`].

use crate::command::{Command, Create, Edit, Hist, List, Members, Open, Send, Sync, Users};
use crate::limits;

/// Bytes of a body that one more token pays for: they go to every replica's disk and to every member.
const BODY_BYTES: usize = 4_096;
/// Mentions that one more token pays for.
const MENTIONS: usize = 10;
/// Initial members that one more token pays for: each is an event, a row of its own, and an introduction.
const MEMBERS: usize = 5;
/// Rows or events of a page that one token pays for.
const ROWS: usize = 25;
/// Conversations of `have` that one more token pays for.
const HAVE: usize = 25;
/// What a page of `sync` costs before that: it is up to 1 MiB of many conversations.
const SYNC: u32 = 4;
/// Users of `watch` that one more token pays for.
const WATCHED: usize = 50;
/// What the begin of a session costs: a token is verified, and up to a thousand conversations are followed.
const SESSION: u32 = 5;

/// Which rate pays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// That of commands that change something.
    Changes,
    /// That of commands that only read.
    Questions,
    /// Neither: the command has a rate of its own, or asks for nothing.
    Free,
}

/// What a command costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Which rate pays.
    pub rate: Rate,
    /// How many tokens of it.
    pub tokens: u32,
}

// === impl Cost ===

impl Cost {
    /// A question of the least size.
    pub const QUESTION: Cost = questions(1);
    /// A change of the least size. What cannot be read costs this.
    pub const CHANGE: Cost = changes(1);
    /// The begin of a session, by whatever transport.
    pub const SESSION: Cost = questions(SESSION);
}

/// Returns what a command costs its user.
pub fn cost(command: &Command) -> Cost {
    match command {
        Command::Send(Send { b, mentions, .. }) => {
            changes(1 + parts(b.as_str().len(), BODY_BYTES) + parts(mentions.len(), MENTIONS))
        }
        Command::Edit(Edit { b, mentions, .. }) => {
            let mentions = mentions.as_ref().map_or(0, Vec::len);
            changes(1 + parts(b.as_str().len(), BODY_BYTES) + parts(mentions, MENTIONS))
        }
        Command::Create(Create { members, .. }) => changes(1 + parts(members.len(), MEMBERS)),
        Command::Del(_)
        | Command::React(_)
        | Command::Invite(_)
        | Command::Kick(_)
        | Command::Ban(_)
        | Command::Unban(_)
        | Command::Role(_)
        | Command::Join(_)
        | Command::Leave(_)
        | Command::Set(_)
        | Command::Block(_)
        | Command::Unblock(_)
        | Command::Read(_)
        | Command::Recv(_)
        | Command::Me(_) => Cost::CHANGE,
        Command::Auth(_) => Cost::SESSION,
        Command::Open(Open { have, .. }) => questions(1 + u32::from(have.is_some())),
        Command::List(List { limit, .. })
        | Command::Hist(Hist { limit, .. })
        | Command::Members(Members { limit, .. }) => page(*limit),
        Command::Sync(Sync { have, .. }) => questions(SYNC + parts(have.len(), HAVE)),
        Command::Watch(Users { users }) | Command::Unwatch(Users { users }) => {
            questions(1 + parts(users.len(), WATCHED))
        }
        Command::Typing(_) | Command::Hb(_) => Cost {
            rate: Rate::Free,
            tokens: 0,
        },
    }
}

/// Returns what a page of at most `limit` rows or events costs.
pub fn page(limit: Option<u64>) -> Cost {
    questions(u32::try_from(limits::page(limit).div_ceil(ROWS)).unwrap_or(u32::MAX))
}

const fn changes(tokens: u32) -> Cost {
    let rate = Rate::Changes;
    Cost { rate, tokens }
}

const fn questions(tokens: u32) -> Cost {
    let rate = Rate::Questions;
    Cost { rate, tokens }
}

/// Whole parts of `size`.
fn parts(size: usize, part: usize) -> u32 {
    u32::try_from(size / part).unwrap_or(u32::MAX)
}

//! Cost of a command in tokens of its user's rate limits. Pure functions of the command's size.
//!
//! Each command that counts costs at least one token. The largest command of each kind costs less than the default
//! burst of a node, so every permitted command can succeed. docs/protocol.md has the table (section 10), and a test
//! compares it with [`ClientCommand::cost`](crate::ClientCommand::cost). The surcharges are constants of the groups.

use crate::limits;

/// Rows or events of a page per token.
const ROWS: usize = 25;
/// Cost of the begin of a session: a token is verified, and up to 1,000 conversations are subscribed.
const SESSION: u32 = 5;

/// Rate limit from which a command's tokens are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommandRate {
    /// Rate of commands that change state.
    Changes,
    /// Rate of commands that only read.
    Queries,
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
    pub const QUERY: CommandCost = queries(1);
    /// Cost of the smallest change. An unreadable command costs the same.
    pub const CHANGE: CommandCost = changes(1);
    /// Cost of the begin of a session, by any transport.
    pub const SESSION: CommandCost = queries(SESSION);
    /// Cost of a command that no shared rate counts.
    pub const FREE: CommandCost = CommandCost {
        rate: CommandRate::Free,
        tokens: 0,
    };
}

/// Returns the cost of a page of at most `limit` rows or events.
pub fn page(limit: Option<u64>) -> CommandCost {
    // Rounded up, unlike the size-dependent surcharges: a page of one row is a read too.
    queries(u32::try_from(limits::page(limit).div_ceil(ROWS)).unwrap_or(u32::MAX))
}

pub(crate) const fn changes(tokens: u32) -> CommandCost {
    let rate = CommandRate::Changes;
    CommandCost { rate, tokens }
}

pub(crate) const fn queries(tokens: u32) -> CommandCost {
    let rate = CommandRate::Queries;
    CommandCost { rate, tokens }
}

/// Returns the number of complete parts in `size`.
pub(crate) fn parts(size: usize, part: usize) -> u32 {
    u32::try_from(size / part).unwrap_or(u32::MAX)
}

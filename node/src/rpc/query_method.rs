//! Queries that the owner of a shard answers from its rows, by their method numbers.

/// Declares the queries, one a line: number on the wire.
macro_rules! query_methods {
    ($($(#[$doc:meta])* $method:ident = $number:literal,)*) => {
        /// Query about the rows of a shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum QueryMethod {
            $($(#[$doc])* $method = $number,)*
        }

        impl QueryMethod {
            /// Returns the query with this method number; `None` for any other method.
            pub(crate) fn of(number: u16) -> Option<QueryMethod> {
                match number {
                    $($number => Some(QueryMethod::$method),)*
                    _ => None,
                }
            }
        }
    };
}

query_methods! {
    /// Conversation as a member sees it.
    Open = 4,
    /// Page of a conversation's log.
    History = 5,
    /// Page of messages in their present state.
    Messages = 6,
    /// Page of a conversation's members.
    Members = 7,
    /// Page of a conversation's banned users.
    Bans = 8,
    /// Page of the users whom a user blocks.
    Blocks = 9,
    /// User's own setting for invitations by others.
    Wishes = 10,
    /// Conversations of a user in the order of time.
    Index = 11,
    /// Page of a user's conversations in the order of their ids.
    IndexAfter = 12,
    /// First of several conversations that a user is a member of.
    SharedWith = 13,
    /// Missed events of several conversations.
    Sync = 14,
    /// Rows of the conversation list for several conversations.
    Summaries = 15,
    /// Authors of the unread messages that mention a user.
    Mentioning = 16,
    /// Range of a conversation's log, for the subscription manager of a node.
    Range = 17,
    /// Range of a conversation's log, for a user whose session continues.
    Missed = 18,
    /// Signing keys of the cluster.
    Keys = 23,
    /// Device tokens of a user.
    Devices = 28,
}

impl From<QueryMethod> for u16 {
    fn from(method: QueryMethod) -> u16 {
        method as u16
    }
}

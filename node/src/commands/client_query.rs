//! Interface of the queries that clients make, common to all transports.

use protocol::{ClientCommand, ConversationId, UserId};

use crate::shard_client::{CommandError, ShardClient};

/// Query of a client, as a transport decodes it. A transport runs it by its one function `ask`, which charges the cost
/// to the user's rate first.
pub trait ClientQuery {
    /// Response in the protocol's form.
    type Response;

    /// Returns the command that is validated and charged: the query itself, or for a query that only REST has, the
    /// command that costs as much.
    fn command(&self) -> ClientCommand;

    /// Executes the query, without a charge.
    ///
    /// # Errors
    /// A malformed cursor, the owner's refusal, or an unreachable shard.
    fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> impl Future<Output = Result<Self::Response, CommandError>>;
}

/// Surroundings of a query.
pub struct ClientQueryContext<'a, S> {
    pub conversations: &'a ShardClient,
    pub sessions: &'a S,
    pub user: &'a UserId,
}

/// Sessions of this node, for a query that must not overtake their subscriptions.
pub trait FollowingSessions {
    /// Waits until the user's new sessions on this node are subscribed to those of `convs` that they are about to
    /// follow.
    ///
    /// # Errors
    /// `unavailable` after a timeout, for example while the shard has no owner.
    fn all_follow(
        &self,
        user: &UserId,
        convs: &[ConversationId],
    ) -> impl Future<Output = Result<(), CommandError>>;
}

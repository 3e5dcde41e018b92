//! Queries of clients: the commands `open`, `list`, `hist`, `members` and `users`, and the lists that only REST has. A session
//! also subscribes after `open`, so it does not execute that one here.

use protocol::command::{GetHistory, GetUsers, ListConversations, ListMembers, OpenConversation};
use protocol::response::{
    ConversationList, ConversationSnapshot, HistoryResponse, MembersResponse, UsersResponse,
};
use protocol::rest::{BanList, BlockList, MessagePage};
use protocol::{ClientCommand, ErrorCode, UserId, limits};

use super::client_query::{ClientQuery, ClientQueryContext, FollowingSessions};
use super::named_users;
use crate::shard_client::{CommandError, malformed};
use crate::state_machine::query::{
    BansQuery, BlocksQuery, HistoryRange, HistoryRequest, MembersQuery, MessagesQuery,
};

/// Page of a conversation's banned users, with the fields of `members`.
pub struct ListBans(pub ListMembers);

/// Page of the users whom the user blocks, with the fields of `list`. A change is in force shortly before it is listed.
pub struct ListBlocks(pub ListConversations);

/// Page of a log as messages in their present state, with the fields of `hist`, for clients that keep no log.
pub struct ListMessages(pub GetHistory);

// === impl ClientQuery ===

impl ClientQuery for OpenConversation {
    type Response = ConversationSnapshot;

    fn command(&self) -> ClientCommand {
        ClientCommand::Open(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<ConversationSnapshot, CommandError> {
        let view = context
            .conversations
            .open(context.user, &self.conversation, self.have);
        let mut view = view.await?;
        view.users = context
            .conversations
            .cards(named_users::users_of_conversation(&view))
            .await;
        Ok(view)
    }
}

impl ClientQuery for ListConversations {
    type Response = ConversationList;

    fn command(&self) -> ClientCommand {
        ClientCommand::List(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<ConversationList, CommandError> {
        let limit = limits::page(self.limit);
        let filter = (self.cursor, self.data_kind.as_deref());
        let page = context.conversations.inbox_of_kind(context.user, filter, limit);
        let mut page = page.await?;
        page.users = context
            .conversations
            .cards(named_users::users_of_list(&page))
            .await;
        Ok(page)
    }
}

impl ClientQuery for GetHistory {
    type Response = HistoryResponse;

    fn command(&self) -> ClientCommand {
        ClientCommand::Hist(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<HistoryResponse, CommandError> {
        let question = HistoryRequest {
            page: range(&self),
            limit: page_size(self.limit),
            conv: self.conversation,
            user: context.user.clone(),
        };
        let page = context.conversations.query(&question).await?;
        page.page(&question.conv).map_err(malformed)
    }
}

impl ClientQuery for ListMessages {
    type Response = MessagePage;

    fn command(&self) -> ClientCommand {
        ClientCommand::Hist(self.0.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<MessagePage, CommandError> {
        let question = MessagesQuery {
            page: range(&self.0),
            limit: page_size(self.0.limit),
            conv: self.0.conversation,
            user: context.user.clone(),
        };
        let page = context.conversations.query(&question).await?;
        page.page(&question.conv).map_err(malformed)
    }
}

impl ClientQuery for ListMembers {
    type Response = MembersResponse;

    fn command(&self) -> ClientCommand {
        ClientCommand::Members(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<MembersResponse, CommandError> {
        let question = MembersQuery {
            conv: self.conversation,
            user: context.user.clone(),
            after: after(self.cursor)?,
            limit: page_size(self.limit),
        };
        let page = context.conversations.query(&question).await?;
        let mut page = page.page().map_err(malformed)?;
        page.users = context
            .conversations
            .cards(named_users::users_of_members(&page))
            .await;
        Ok(page)
    }
}

impl ClientQuery for ListBans {
    type Response = BanList;

    fn command(&self) -> ClientCommand {
        ClientCommand::Members(self.0.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<BanList, CommandError> {
        let question = BansQuery {
            conv: self.0.conversation,
            user: context.user.clone(),
            after: after(self.0.cursor)?,
            limit: page_size(self.0.limit),
        };
        Ok(context.conversations.query(&question).await?.page())
    }
}

impl ClientQuery for ListBlocks {
    type Response = BlockList;

    fn command(&self) -> ClientCommand {
        ClientCommand::List(self.0.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<BlockList, CommandError> {
        let question = BlocksQuery {
            user: context.user.clone(),
            after: after(self.0.cursor)?,
            limit: page_size(self.0.limit),
        };
        Ok(context.conversations.query(&question).await?.page())
    }
}

impl ClientQuery for GetUsers {
    type Response = UsersResponse;

    fn command(&self) -> ClientCommand {
        ClientCommand::Users(self.clone())
    }

    async fn run<S: FollowingSessions>(
        self,
        context: &ClientQueryContext<'_, S>,
    ) -> Result<UsersResponse, CommandError> {
        let items = context.conversations.profiles(self.ids).await;
        Ok(UsersResponse { items })
    }
}

/// Returns the range of the log that a query names.
fn range(hist: &GetHistory) -> HistoryRange {
    match (hist.before, hist.after) {
        (Some(before), _) => HistoryRange::Before(before),
        (None, Some(after)) => HistoryRange::After(after),
        (None, None) => HistoryRange::Newest,
    }
}

/// Returns the number of items for a requested one.
fn page_size(limit: Option<u64>) -> u32 {
    u32::try_from(limits::page(limit)).unwrap_or(1)
}

/// Parses a cursor: the id of the user behind whom the page begins.
fn after(cursor: Option<String>) -> Result<Option<UserId>, CommandError> {
    let after = cursor.map(|cursor| UserId::parse(&cursor)).transpose();
    after.map_err(|_| CommandError::new(ErrorCode::BadRequest, "unknown cursor"))
}

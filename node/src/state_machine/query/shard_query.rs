//! Queries as types: the fields of a query, its page and its read stand in one file.
//!
//! The encoding of a query is its fields in their order, see [`rpc`](crate::rpc). The method numbers are in the table of
//! `rpc/query_method.rs`, from which the owner's dispatch follows.

use protocol::{ConversationId, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{QueryContext, Result};
use crate::state_machine::row_store::RowReader;

/// Query that the owner of one shard answers from its rows.
pub trait ShardQuery: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Result, as the owner returns it.
    type Page: Serialize + DeserializeOwned + Send + 'static;

    /// Returns the key whose hash determines the shard.
    fn routing_key(&self) -> impl AsRef<[u8]>;

    /// Reads the page from one consistent view. Blocks.
    ///
    /// # Errors
    /// A refusal of the user, or a storage error.
    fn read(&self, rows: &impl RowReader) -> Result<Self::Page>;
}

/// Query of a member about one conversation. Non-members are refused before the read.
pub trait MemberQuery: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Result, as the owner returns it.
    type Page: Serialize + DeserializeOwned + Send + 'static;

    fn conv(&self) -> &ConversationId;

    fn user(&self) -> &UserId;

    /// Reads the page for the member. Blocks.
    ///
    /// # Errors
    /// A missing permission, or a storage error.
    fn read_as(&self, rows: &impl RowReader, member: &QueryContext) -> Result<Self::Page>;
}

/// Query about rows of many shards, one request per owner. Each item has a result of its own, so a shard that moved does
/// not fail the others.
pub trait ScatterQuery: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Object of the query, with the fields about it.
    type Item: Clone + Send + Sync + 'static;
    /// Result of one item.
    type Page: Serialize + DeserializeOwned + Send + 'static;

    fn items(&self) -> &[Self::Item];

    /// Returns the key whose hash determines the shard of an item.
    fn routing_key(item: &Self::Item) -> &[u8];

    /// Returns the same query about some of the items, for one owner.
    fn part(&self, items: Vec<Self::Item>) -> Self;

    /// Reads the result of one item. Blocks.
    ///
    /// # Errors
    /// A refusal of the user, or a storage error.
    fn read(&self, rows: &impl RowReader, item: &Self::Item) -> Result<Self::Page>;
}

/// Query of a member about many conversations, one request per owner. Non-members are refused before the read,
/// conversation by conversation.
pub trait MemberScatterQuery: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Conversation with the query's fields about it.
    type Item: Clone + Send + Sync + 'static;
    /// Result of one conversation.
    type Page: Serialize + DeserializeOwned + Send + 'static;

    fn user(&self) -> &UserId;

    fn items(&self) -> &[Self::Item];

    fn conv(item: &Self::Item) -> &ConversationId;

    /// Returns the same query about some of the items, for one owner.
    fn part(&self, items: Vec<Self::Item>) -> Self;

    /// Reads the result of one conversation for the member. Blocks.
    ///
    /// # Errors
    /// A missing permission, or a storage error.
    fn read_item(
        &self,
        rows: &impl RowReader,
        item: &Self::Item,
        member: &QueryContext,
    ) -> Result<Self::Page>;
}

impl<Q: MemberScatterQuery> ScatterQuery for Q {
    type Item = Q::Item;
    type Page = Q::Page;

    fn items(&self) -> &[Q::Item] {
        MemberScatterQuery::items(self)
    }

    fn routing_key(item: &Q::Item) -> &[u8] {
        Q::conv(item).as_ref()
    }

    fn part(&self, items: Vec<Q::Item>) -> Q {
        MemberScatterQuery::part(self, items)
    }

    fn read(&self, rows: &impl RowReader, item: &Q::Item) -> Result<Q::Page> {
        let member = QueryContext::of(rows, Q::conv(item), self.user())?;
        self.read_item(rows, item, &member)
    }
}

impl<Q: MemberQuery> ShardQuery for Q {
    type Page = Q::Page;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        self.conv()
    }

    fn read(&self, rows: &impl RowReader) -> Result<Q::Page> {
        let member = QueryContext::of(rows, self.conv(), self.user())?;
        self.read_as(rows, &member)
    }
}

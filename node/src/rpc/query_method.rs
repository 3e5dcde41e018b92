//! Table of the queries that the owner of a shard answers from its rows.
//!
//! A line gives a query its method number; the asking side and the owner's dispatch follow from it. The numbers are
//! frozen, and those of the other methods are in [`rpc`](crate::rpc).

use bytes::Bytes;

use super::RpcError;
use crate::state_machine::query::{
    ApiKeysQuery, AuditQuery, BansQuery, BlocksQuery, DeviceCursorsQuery, DevicesQuery, ErasureQuery,
    ExportedConversationQuery, ExportedConversationsQuery, ExportedUserQuery, HistoryRequest, IndexAfter,
    IndexQuery, KeyringQuery, MembersQuery, MentioningQuery, MessagesQuery, OpenQuery, ProfilesQuery,
    RangeQuery, ScatterQuery, ShardQuery, SharedWith, SinceQuery, SummariesQuery, SyncQuery, UserAccessQuery,
    WishesQuery,
};

/// Query with a method number.
pub trait NumberedQuery {
    const METHOD: u16;
}

/// Owner's side of the queries, called by [`QueryMethod::serve`] with the type of the query.
pub(crate) trait QueryServer {
    /// Answers a query about one shard.
    fn one<Q: ShardQuery>(&self, body: &[u8]) -> impl Future<Output = Result<Bytes, RpcError>> + Send;

    /// Answers a query about rows of several shards.
    fn each<Q: ScatterQuery>(&self, body: &[u8]) -> impl Future<Output = Result<Bytes, RpcError>> + Send;
}

/// Declares the queries, one a line: number on the wire, `one` or `each` of [`QueryServer`], type.
macro_rules! query_methods {
    ($($number:literal $serve:ident $query:ident,)*) => {
        /// Query about the rows of a shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub(crate) enum QueryMethod {
            $($query = $number,)*
        }

        impl QueryMethod {
            /// All queries, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &[QueryMethod] = &[$(QueryMethod::$query,)*];

            /// Returns the query with this method number; `None` for any other method.
            pub(crate) fn of(number: u16) -> Option<QueryMethod> {
                match number {
                    $($number => Some(QueryMethod::$query),)*
                    _ => None,
                }
            }

            /// Decodes the query of this method, and returns the encoded page.
            pub(crate) async fn serve(self, server: &impl QueryServer, body: &[u8]) -> Result<Bytes, RpcError> {
                match self {
                    $(QueryMethod::$query => server.$serve::<$query>(body).await,)*
                }
            }
        }

        $(impl NumberedQuery for $query {
            const METHOD: u16 = $number;
        })*
    };
}

query_methods! {
    5 one HistoryRequest,
    6 one MessagesQuery,
    7 one MembersQuery,
    8 one BansQuery,
    9 one BlocksQuery,
    10 one WishesQuery,
    11 one IndexQuery,
    12 one IndexAfter,
    13 one SharedWith,
    14 each SyncQuery,
    15 each SummariesQuery,
    16 each MentioningQuery,
    17 one RangeQuery,
    18 one SinceQuery,
    23 one KeyringQuery,
    28 one DevicesQuery,
    31 one DeviceCursorsQuery,
    32 one ApiKeysQuery,
    33 one AuditQuery,
    36 one UserAccessQuery,
    40 each ProfilesQuery,
    50 one ErasureQuery,
    51 one ExportedUserQuery,
    52 one ExportedConversationsQuery,
    53 one ExportedConversationQuery,
    57 one OpenQuery,
}

#[cfg(test)]
mod tests;

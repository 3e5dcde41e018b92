//! Server responses to client commands. Each shape carries the request's `id`, if it had one. `hello` opens a
//! connection and has none.

use crate::codec::splice;
pub use crate::groups::common_responses::{Ack, ErrorResponse, OkResponse};
pub use crate::groups::conversation::{ConversationSnapshot, DirectPeer, LastEvent};
pub use crate::groups::conversation_list::{ConversationList, ConversationListItem};
pub use crate::groups::history::HistoryResponse;
pub use crate::groups::member_list::{ConversationMember, MembersResponse};
pub use crate::groups::profile::MeResponse;
pub use crate::groups::session::{
    HeartbeatResponse, HelloResponse, NotResumed, ReadyResponse, SessionLimits,
};
pub use crate::groups::sync::{SyncResponse, SyncResponseItem};
pub use crate::groups::users::{UserCard, UserCards, UserProfile, UsersResponse};
use crate::shape::responses;

responses! {
    /// Everything that the server sends apart from events.
    #[derive(Clone, PartialEq, Debug)]
    pub enum Response {
        /// The first frame of every connection.
        Hello(HelloResponse) = "hello",
        /// The session has begun or was resumed.
        Ready(ReadyResponse) = "ready",
        /// The change is durable and applied.
        Ack(Ack) = "ack",
        /// The command was carried out and returns no data.
        Ok(OkResponse) = "ok",
        /// A conversation as its member sees it.
        Conv(ConversationSnapshot) = "conv",
        /// A page of the user's conversations.
        Inbox(ConversationList) = "inbox",
        /// A page of a conversation's events.
        Hist(HistoryResponse) = "hist",
        /// A page of a conversation's members.
        Members(MembersResponse) = "members",
        /// The missed events of a set of conversations.
        Delta(SyncResponse) = "delta",
        /// The profile and the settings of the user.
        Me(MeResponse) = "me",
        /// Profiles of the users that the command names.
        Users(UsersResponse) = "users",
        /// The server is alive and repeats its clock.
        Hb(HeartbeatResponse) = "hb",
        /// The command was refused; the error code names the reason.
        Err(ErrorResponse) = "err",
    }
}

// === impl Response ===

impl Response {
    /// Returns the JSON text of the response to the request with this `id`.
    pub fn encode(&self, id: Option<i64>) -> String {
        splice(self.tag(), id, &self.fields())
    }
}
